"""The API server as the user of a kubeconfig sees it: one namespace, objects as raw JSON."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import urllib3

from wpsjobs.api.names import (
    GROUP,
    VERSION,
    WPSJOB_PLURAL,
    WPSPROCESS_PLURAL,
    WPSQUEUE_PLURAL,
    resource_name,
)
from wpsjobs.cli import access
from wpsjobs.cli.errors import (
    CliError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    UnreachableError,
)

Raw = dict[str, Any]

PAGE_SIZE = 500
WATCH_SECONDS = 300.0
"""Length of one watch; another one follows."""
_MERGE_PATCH = "application/merge-patch+json"


@dataclass(frozen=True)
class About:
    """What a request is about, for the words of its errors."""

    what: str
    """With its article: "the WpsJob 'a'"."""
    hint: str = ""
    """What to do where there is no such thing."""


class Cluster:
    """One namespace of one cluster. Methods raise CliError."""

    def __init__(self, wanted: access.Access) -> None:
        self._timeout = wanted.request_timeout
        self._api, self.namespace = access.connect(wanted)
        self._core = f"/api/v1/namespaces/{_q(self.namespace)}"
        self._wps = f"/apis/{GROUP}/{VERSION}/namespaces/{_q(self.namespace)}"

    def close(self) -> None:
        """Close the connections."""
        self._api.rest_client.pool_manager.clear()

    # WpsJobs

    def job(self, job: str) -> Raw:
        """The WpsJob of that WPS job identifier or name."""
        name = job_name(job)
        about = About(f"the WpsJob {name!r}", f"List them: kubectl wps list -n {self.namespace}")
        return self._json("GET", f"{self._wps}/{WPSJOB_PLURAL}/{_q(name)}", about)

    def jobs(self, selector: str | None = None, most: int | None = None) -> list[Raw]:
        """All WpsJobs, or those of a field selector; with *most* any so many."""
        return self._list(f"{self._wps}/{WPSJOB_PLURAL}", About("WpsJobs"), selector, most)

    def create_job(self, body: Raw) -> Raw:
        about = About(f"the WpsJob {body['metadata']['name']!r}")
        return self._json("POST", f"{self._wps}/{WPSJOB_PLURAL}", about, body=body)

    def patch_job(self, job: str, spec: Raw, resource_version: str | None = None) -> Raw:
        """Merge *spec*; raises ConflictError where it is of another *resource_version*."""
        patch: Raw = {"spec": spec}
        if resource_version is not None:
            patch["metadata"] = {"resourceVersion": resource_version}
        name = job_name(job)
        path, about = f"{self._wps}/{WPSJOB_PLURAL}/{_q(name)}", About(f"the WpsJob {name!r}")
        return self._json("PATCH", path, about, body=patch, content_type=_MERGE_PATCH)

    def delete_job(self, raw: Raw) -> None:
        """Delete this very version of a WpsJob; raises ConflictError where it has changed."""
        metadata = raw["metadata"]
        name = metadata["name"]
        body = {
            "preconditions": {
                "uid": metadata["uid"],
                "resourceVersion": metadata["resourceVersion"],
            },
            "propagationPolicy": "Background",
        }
        path, about = f"{self._wps}/{WPSJOB_PLURAL}/{_q(name)}", About(f"the WpsJob {name!r}")
        self._json("DELETE", path, about, body=body)

    def follow_job(self, job: str, seconds: float = WATCH_SECONDS) -> Iterator[Raw]:
        """The WpsJob as it is and each time it changes, for at most *seconds*.

        Ends early where the API server ends the watch. Raises NotFoundError once it is deleted.
        """
        raw = self.job(job)
        yield raw
        name = raw["metadata"]["name"]
        query = {
            "watch": "true",
            "fieldSelector": f"metadata.name={name}",
            "resourceVersion": raw["metadata"]["resourceVersion"],
            "timeoutSeconds": max(1, round(seconds)),
        }
        about = About(f"the WpsJob {name!r}")
        path = f"{self._wps}/{WPSJOB_PLURAL}"
        with self._open(path, about, query, read_timeout=seconds + self._timeout) as answer:
            for line in _lines(self._pieces(answer, about)):
                event = json.loads(line)
                if event["type"] == "DELETED":
                    raise NotFoundError(f"The WpsJob {name!r} was deleted.")
                if event["type"] == "ERROR":  # the version is too old by now: begin anew
                    return
                yield event["object"]

    # Queues and processes

    def queues(self) -> list[Raw]:
        return self._list(f"{self._wps}/{WPSQUEUE_PLURAL}", About("WpsQueues"))

    def queue(self, name: str) -> Raw:
        hint = f"List them: kubectl wps queue -n {self.namespace}"
        about = About(f"the WpsQueue {name!r}", hint)
        return self._json("GET", f"{self._wps}/{WPSQUEUE_PLURAL}/{_q(name)}", about)

    def patch_queue(self, name: str, spec: Raw) -> Raw:
        hint = f"List them: kubectl wps queue -n {self.namespace}"
        path, about = (
            f"{self._wps}/{WPSQUEUE_PLURAL}/{_q(name)}",
            About(f"the WpsQueue {name!r}", hint),
        )
        return self._json("PATCH", path, about, body={"spec": spec}, content_type=_MERGE_PATCH)

    def processes(self) -> list[Raw]:
        return self._list(f"{self._wps}/{WPSPROCESS_PLURAL}", About("WpsProcesses"))

    # What belongs to them

    def pods(self, selector: str) -> list[Raw]:
        """Pods of a label selector, the oldest first."""
        query = {"labelSelector": selector}
        pods = self._json("GET", f"{self._core}/pods", About("pods"), query=query)["items"]
        return sorted(pods, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))

    def pod_log(self, pod: str, container: str, *, follow: bool) -> Iterator[bytes]:
        """The output of a pod in pieces; with *follow* until it ends."""
        about = About(f"the log of the pod {pod!r}")
        query = {"container": container} | ({"follow": "true"} if follow else {})
        timeout = None if follow else self._timeout
        path = f"{self._core}/pods/{_q(pod)}/log"
        with self._open(path, about, query, read_timeout=timeout) as answer:
            yield from self._pieces(answer, about)

    def pod_metrics(self, selector: str) -> list[Raw] | None:
        """What pods use, from the metrics API; None where it cannot be had."""
        path = f"/apis/metrics.k8s.io/v1beta1/namespaces/{_q(self.namespace)}/pods"
        try:
            answer = self._json("GET", path, About("metrics"), query={"labelSelector": selector})
        except CliError:
            return None
        return list(answer["items"])

    def user(self) -> str | None:
        """Who the API server takes the user for; None where it does not say."""
        version = "authentication.k8s.io/v1"
        body = {"apiVersion": version, "kind": "SelfSubjectReview"}
        try:
            path = f"/apis/{version}/selfsubjectreviews"
            answer = self._json("POST", path, About("your name"), body=body)
        except CliError:
            return None
        return str(answer["status"]["userInfo"].get("username") or "") or None

    def services(self, selector: str) -> list[str]:
        """Names of the Services of a label selector."""
        query = {"labelSelector": selector}
        items = self._json("GET", f"{self._core}/services", About("Services"), query=query)["items"]
        return [str(service["metadata"]["name"]) for service in items]

    @contextlib.contextmanager
    def through_service(
        self, service: str, path: str, about: About
    ) -> Iterator[tuple[Mapping[str, str], Iterator[bytes]]]:
        """Headers and content of a Service's answer to GET, by the API server's proxy.

        *service* is ``name:port``, *path* begins with a slash.
        """
        proxy = f"{self._core}/services/{quote(service, safe=':')}/proxy{path}"
        with self._open(proxy, about, {}, read_timeout=self._timeout) as answer:
            yield answer.headers, self._pieces(answer, about)

    # Requests

    def _list(
        self, path: str, about: About, selector: str | None = None, most: int | None = None
    ) -> list[Raw]:
        items: list[Raw] = []
        query: Raw = {"limit": min(PAGE_SIZE, most or PAGE_SIZE)}
        if selector:
            query["fieldSelector"] = selector
        while True:
            page = self._json("GET", path, about, query=query)
            items += page["items"]
            rest = page["metadata"].get("continue")
            if not rest or (most is not None and len(items) >= most):
                return items[:most]
            query["continue"] = rest

    def _json(self, method: str, path: str, about: About, **options: Any) -> Raw:
        answer = self._request(method, path, about, read_timeout=self._timeout, **options)
        try:
            return dict(json.loads(b"".join(self._pieces(answer, about))))
        finally:
            answer.release_conn()

    @contextlib.contextmanager
    def _open(
        self, path: str, about: About, query: Raw, read_timeout: float | None
    ) -> Iterator[Any]:
        answer = self._request("GET", path, about, query=query, read_timeout=read_timeout)
        with contextlib.closing(answer):
            yield answer

    def _request(
        self,
        method: str,
        path: str,
        about: About,
        *,
        read_timeout: float | None,
        query: Raw | None = None,
        body: Raw | None = None,
        content_type: str = "application/json",
    ) -> Any:
        """The response, its body unread. Raises CliError for any status from 300 on."""
        headers = {"Accept": "application/json, */*", "Content-Type": content_type}
        with self._told(about):
            self._api.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
            answer = self._api.rest_client.pool_manager.request(
                method,
                self._api.configuration.host + path,
                fields=None if query is None else {k: str(v) for k, v in query.items()},
                body=None if body is None else json.dumps(body).encode(),
                headers=headers,
                timeout=urllib3.Timeout(connect=self._timeout, read=read_timeout),
                preload_content=False,
                retries=False,
            )
            if answer.status >= 300:
                text = answer.read(decode_content=True).decode(errors="replace")
                answer.release_conn()
                raise self._error(answer.status, text, about)
        return answer

    def _pieces(self, answer: Any, about: About) -> Iterator[bytes]:
        with self._told(about):
            yield from answer.stream(amt=None, decode_content=True)

    @contextlib.contextmanager
    def _told(self, about: About) -> Iterator[None]:
        """What the transport raises, in words."""
        try:
            yield
        except (urllib3.exceptions.HTTPError, OSError) as error:
            host = self._api.configuration.host
            raise UnreachableError(
                f"The API server at {host} does not answer, which was asked for {about.what}: "
                f"{_words(error)}. Is it the right one? kubectl config current-context"
            ) from error

    def _error(self, status: int, text: str, about: About) -> CliError:
        message = _message(text)
        if status == 404:
            return NotFoundError(self._absent(message, about))
        kind, words = {
            401: (
                ForbiddenError,
                f"The API server does not know you ({message}): log in again, or choose another "
                "user by --context.",
            ),
            403: (
                ForbiddenError,
                f"You may not do this: {message}. Ask the administrator of the namespace "
                f"{self.namespace!r} for a role that may, such as view or edit.",
            ),
            409: (ConflictError, f"Not changed, for it is another one by now: {message}"),
            502: (UnreachableError, f"This cannot be had now: {about.what}: {message}"),
            503: (UnreachableError, f"This cannot be had now: {about.what}: {message}"),
            504: (UnreachableError, f"This cannot be had now: {about.what}: {message}"),
        }.get(status, (CliError, f"The API server refuses this: {about.what}: {message}"))
        return kind(words)

    def _absent(self, message: str, about: About) -> str:
        if "could not find the requested resource" in message:
            return (
                "This cluster does not know such resources: are those of WpsJobs installed? See: "
                f"kubectl api-resources --api-group={GROUP}"
            )
        words = f"In the namespace {self.namespace!r} there is no such thing: {about.what}."
        return f"{words} {about.hint}".rstrip()


def job_name(job: str) -> str:
    """The name of a WpsJob from what the user types: an identifier, a name, a wpsjob/name."""
    kind, slash, name = job.rpartition("/")
    if slash and kind.partition(".")[0] in {"wpsjob", "wpsjobs", "wj"}:
        job = name
    return resource_name(job)


def _lines(pieces: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        yield from (line for line in lines if line)


def _message(text: str) -> str:
    """What the API server, or who is behind it, says."""
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text.strip() or "no reason is given"


def _words(error: BaseException) -> str:
    reason = getattr(error, "reason", None)
    return str(reason or error).rpartition(": ")[2].strip("'\"() ") or type(error).__name__


def _q(text: str) -> str:
    return quote(text, safe="")
