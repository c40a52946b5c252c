"""An independent watcher: sees all that happens in a namespace, and has it judged at the end.

It outlives the API server. What no watch could see while it was down is made up for by a list; the
gap is then judged in the operator's favour, and what the status says of itself is judged too.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import urllib3
from kubernetes import config

from tests.deployment.tools import environment
from tests.faults.history import GROUP, Change, Ledger, Raw

PATHS = {
    "wpsjobs": f"/apis/{GROUP}/v1alpha1",
    "wpsqueues": f"/apis/{GROUP}/v1alpha1",
    "jobs": "/apis/batch/v1",
    "pods": "/api/v1",
}
OURS = f"labelSelector={GROUP}/job"
WATCH_SECONDS = 2
"""After which a watch is renewed; so long may a stop take."""
AGAIN_SECONDS = 0.1
CATCH_UP_SECONDS = 20.0
GONE = 410


class ExpiredError(Exception):
    """The API server does not know any more what has changed since; only a list tells."""


class Recorder:
    """What is known of the objects of one kind, and how it came to be."""

    def __init__(self, plural: str, changes: list[Change]) -> None:
        self._plural = plural
        self._changes = changes
        self.version: int | None = None
        """The version up to which all is known."""
        self.objects: dict[str, Raw] = {}

    def event(self, kind: str, raw: Raw) -> None:
        """Take what a watch says."""
        version, uid = _version(raw), raw["metadata"].get("uid", "")
        self.version = version
        if kind == "BOOKMARK":
            return
        if kind == "DELETED":
            self.objects.pop(uid, None)
            self._note(version, uid, None, gone=True)
        else:
            self._note(version, uid, raw, begins=kind == "ADDED")
            self.objects[uid] = raw

    def listed(self, items: Iterable[Raw], version: int) -> None:
        """Take a complete list: the first, or one after a gap."""
        seen = self.version or 0
        new = {raw["metadata"]["uid"]: raw for raw in items}
        for uid in self.objects.keys() - new.keys():
            self._note(seen, uid, None, gone=True)
        for uid, raw in new.items():
            old = self.objects.get(uid)
            if old is not None and _version(old) == _version(raw):
                continue
            if old is not None and self._plural == "wpsjobs":
                self._note(seen, uid, None)
                self._note(_version(raw), uid, raw)
            else:
                # What ended did so at some time since; the earliest is assumed.
                self._note(_version(raw) if old is None else seen, uid, raw)
        self.objects, self.version = new, version

    def knows(self, wanted: Mapping[str, int], as_of: int) -> bool:
        """Whether all *wanted* objects are known in such a version, and none that had gone."""
        versions = {uid: _version(raw) for uid, raw in dict(self.objects).items()}
        return all(versions.get(uid, -1) >= version for uid, version in wanted.items()) and not any(
            version <= as_of for uid, version in versions.items() if uid not in wanted
        )

    def _note(
        self, version: int, uid: str, raw: Raw | None, *, gone: bool = False, begins: bool = False
    ) -> None:
        self._changes.append(Change(version, self._plural, uid, raw, gone, begins))


class Watcher:
    """Watches a namespace for as long as it is used as a context manager."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.changes: list[Change] = []
        self.recorders = {plural: Recorder(plural, self.changes) for plural in PATHS}
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._follow, args=(plural,), name=f"watch {plural}")
            for plural in PATHS
        ]

    def __enter__(self) -> Watcher:
        for thread in self._threads:
            thread.start()
        self._poll(lambda: all(one.version is not None for one in self.recorders.values()))
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def check(
        self, *, finished: bool = True, deleted: Collection[str] = (), only: Collection[str] = ()
    ) -> Ledger:
        """Fails with all that broke a rule so far. *finished*: nothing may be under way now.

        *deleted* names WpsJobs that the test itself deleted; *only* are the queues to judge.
        """
        self._catch_up()
        changes = list(self.changes)
        if only:
            changes = [change for change in changes if self._queue_of(change) in only]
        ledger = Ledger(deleted_by_test=deleted).read(changes)
        problems = ledger.close(finished=finished)
        assert not problems, "\n".join(problems)
        for queue in only or ledger.limits:
            self._compare_counts(ledger, queue)
        return ledger

    def _queue_of(self, change: Change) -> str | None:
        """Of which queue an object is; None where it is not known."""
        raw = change.raw or next(
            (one.raw for one in self.changes if one.uid == change.uid and one.raw), None
        )
        if raw is None:
            return None
        if change.plural == "wpsqueues":
            return str(raw["metadata"]["name"])
        if change.plural == "wpsjobs":
            return str(raw["spec"]["queue"])
        return str(raw["metadata"]["labels"].get(f"{GROUP}/queue"))

    def _compare_counts(self, ledger: Ledger, queue: str) -> None:
        """The slots in use are those that the queue's status counts."""
        in_use = {"running": len(ledger.holders(queue)), "queued": ledger.queued(queue)}
        counted: dict[str, Any] = {}

        def equal() -> bool:
            for raw in self.recorders["wpsqueues"].objects.values():
                if raw["metadata"]["name"] == queue:
                    counted.update(raw.get("status") or {})
                    return all(counted.get(key) == count for key, count in in_use.items())
            return True  # the queue itself is gone

        try:
            self._poll(equal)
        except AssertionError:
            raise AssertionError(f"in use in {queue}: {in_use}, counted: {counted}") from None

    def _catch_up(self) -> None:
        """Wait until all is known that is there now."""
        api = _Api()
        for plural, recorder in self.recorders.items():
            answer = api.get(self._path(plural))
            wanted = {raw["metadata"]["uid"]: _version(raw) for raw in answer["items"]}
            as_of = int(answer["metadata"]["resourceVersion"])
            self._poll(partial(recorder.knows, wanted, as_of))

    def _poll(self, question: Callable[[], bool]) -> None:
        deadline = time.monotonic() + CATCH_UP_SECONDS
        while not question():
            assert time.monotonic() < deadline, "the watcher does not hear what there is"
            time.sleep(0.05)

    def _path(self, plural: str) -> str:
        query = f"?{OURS}" if plural in ("jobs", "pods") else "?"
        return f"{PATHS[plural]}/namespaces/{self.namespace}/{plural}{query}"

    def _follow(self, plural: str) -> None:
        recorder, api = self.recorders[plural], _Api()
        while not self._stop.is_set():
            try:
                if recorder.version is None:
                    self._list(api, plural)
                for kind, raw in api.watch(self._path(plural), recorder.version or 0):
                    recorder.event(kind, raw)
            except ExpiredError:
                with contextlib.suppress(OSError, ValueError, urllib3.exceptions.HTTPError):
                    self._list(api, plural)
            except (OSError, ValueError, urllib3.exceptions.HTTPError):
                self._stop.wait(AGAIN_SECONDS)  # the API server is away

    def _list(self, api: _Api, plural: str) -> None:
        answer = api.get(self._path(plural))
        self.recorders[plural].listed(answer["items"], int(answer["metadata"]["resourceVersion"]))


class _Api:
    """One connection to the API server."""

    def __init__(self) -> None:
        self._api = config.new_client_from_config(config_file=environment()["KUBECONFIG"])

    def get(self, path: str) -> dict[str, Any]:
        """A list. Raises ValueError where the API server answers otherwise."""
        response = self._open(path, 20.0)
        try:
            answer = json.loads(response.data)
        finally:
            response.release_conn()
        if response.status != 200:
            raise ValueError(f"{path}: {answer}")
        return dict(answer)

    def watch(self, path: str, version: int) -> Iterator[tuple[str, Raw]]:
        """What changes from *version* on, for a short while. Raises ExpiredError."""
        query = f"&watch=1&allowWatchBookmarks=true&timeoutSeconds={WATCH_SECONDS}"
        response = self._open(f"{path}{query}&resourceVersion={version}", WATCH_SECONDS + 10.0)
        try:
            if response.status == GONE:
                raise ExpiredError(path)
            if response.status != 200:
                raise ValueError(f"{path}: {response.status}")
            rest = b""
            for data in response.stream(65536):
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        if event["object"].get("code") == GONE:
                            raise ExpiredError(path)
                        raise ValueError(str(event["object"]))
                    yield event["type"], event["object"]
        finally:
            response.close()

    def _open(self, path: str, seconds: float) -> Any:
        method, url, headers, *_ = self._api.param_serialize(
            "GET",
            path,
            header_params={"Accept": "application/json"},
            auth_settings=["BearerToken"],
        )
        return self._api.rest_client.pool_manager.request(
            method,
            url,
            headers=headers,
            preload_content=False,
            retries=False,
            timeout=urllib3.Timeout(connect=3.0, read=seconds),
        )


def _version(raw: Raw) -> int:
    return int(raw["metadata"]["resourceVersion"])
