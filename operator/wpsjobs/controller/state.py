"""What is known of one namespace: filled by watches, lists and the answers to our own writes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Generic, Protocol, TypeVar

import structlog

from wpsjobs.api.fields import Raw
from wpsjobs.api.metadata import Metadata
from wpsjobs.api.wpsjob import WpsJob
from wpsjobs.api.wpsprocess import WpsProcess
from wpsjobs.api.wpsqueue import WpsQueue
from wpsjobs.controller.children import Children, KubernetesJob, Pod
from wpsjobs.controller.shelf import Shelf, lean
from wpsjobs.controller.view import View

logger = structlog.get_logger(__name__)


class Kind(StrEnum):
    """The kinds of objects that the operator looks at."""

    WPSJOB = "WpsJob"
    WPSQUEUE = "WpsQueue"
    WPSPROCESS = "WpsProcess"
    KUBERNETES_JOB = "Job"
    POD = "Pod"


class _HasMetadata(Protocol):
    @property
    def metadata(self) -> Metadata: ...


_T = TypeVar("_T", bound=_HasMetadata)


class Store(Generic[_T]):
    """The objects of one kind by name; of each the newest version that was seen.

    Versions come out of order (a watch lags behind the answer to a write), and an object can be
    seen again after its deletion, so that a resourceVersion decides, as a number.
    """

    def __init__(
        self,
        parse: Callable[[Raw], _T],
        changed: Callable[[_T | None, _T | None], None] = lambda _old, _new: None,
    ) -> None:
        """*changed* is told of each change: what was known, and what is known now."""
        self._parse, self._changed = parse, changed
        self._objects: dict[str, _T] = {}
        self._deleted: dict[str, int] = {}
        """The version at which an object was last seen deleted, by UID, until the next list."""
        self._listed = -1
        """The version of the last list, and of which selection it was."""
        self._within: Callable[[_T], bool] = lambda _: False

    @property
    def listed_at(self) -> int:
        """The resourceVersion of the last list; negative before the first."""
        return self._listed

    def values(self) -> Iterable[_T]:
        """All objects."""
        return self._objects.values()

    def get(self, name: str) -> _T | None:
        """The object of this name."""
        return self._objects.get(name)

    def put(self, raw: Raw) -> _T | None:
        """Take note of a version of an object; returns it as parsed if it is news.

        An object that is not ours (no proper labels) is passed over.
        """
        try:
            item = self._parse(raw)
        except (KeyError, ValueError, TypeError, AttributeError, ArithmeticError) as error:
            logger.debug("object passed over", error=repr(error))
            return None
        metadata = item.metadata
        if self._deleted.get(metadata.uid, -1) >= 0:
            return None
        if metadata.resource_version <= self._listed and self._within(item):
            return None  # a list was complete without it: a watch lags behind its deletion
        old = self._objects.get(metadata.name)
        if old is not None and old.metadata.resource_version >= metadata.resource_version:
            return None
        self._objects[metadata.name] = item
        self._changed(old, item)
        return item

    def remove(self, raw: Raw) -> _T | None:
        """Take note of a deletion; returns the object as it was last known, if it was."""
        try:
            metadata = Metadata.from_raw(raw)
        except (KeyError, ValueError):
            return None
        return self.forget(metadata)

    def forget(self, metadata: Metadata) -> _T | None:
        """The same by metadata."""
        self._deleted[metadata.uid] = metadata.resource_version
        old = self._objects.get(metadata.name)
        if old is not None and old.metadata.uid == metadata.uid:
            del self._objects[metadata.name]
            self._changed(old, None)
            return old
        return None

    def replace(self, raws: Iterable[Raw], version: int, within: Callable[[_T], bool]) -> None:
        """Take a complete list, of resourceVersion *version*, of the objects *within* a selection.

        What is known of that selection, is not in the list and is no younger than it, is gone:
        a watch may have missed its deletion.
        """
        names = set()
        self._listed = -1
        for raw in raws:
            names.add(raw["metadata"]["name"])
            self.put(raw)
        self.prune(names, version, within)
        self._deleted = {uid: seen for uid, seen in self._deleted.items() if seen > version}
        self._listed, self._within = version, within

    def prune(self, names: Collection[str], version: int, within: Callable[[_T], bool]) -> None:
        """Forget what of a selection is not among *names*, which were all at *version*."""
        for item in list(self._objects.values()):
            metadata = item.metadata
            if metadata.name in names or metadata.resource_version > version:
                continue
            if within(item):
                logger.info("gone without a word of a watch", object=metadata.key)
                del self._objects[metadata.name]
                self._changed(item, None)


class NamespaceState:
    """All that is known of one namespace."""

    def __init__(self, namespace: str, worker_service_account: str) -> None:
        self.namespace = namespace
        self._worker_service_account = worker_service_account
        self._shelf = Shelf()
        self.wpsjobs: Store[WpsJob] = Store(lean, self._shelf.changed)
        self.finished_known = True
        """Whether finished WpsJobs have been listed, so that those of a process can be counted."""
        self.queues: Store[WpsQueue] = Store(WpsQueue.from_raw)
        self.processes: Store[WpsProcess] = Store(WpsProcess.from_raw)
        self.kubernetes_jobs: Store[KubernetesJob] = Store(KubernetesJob.from_raw)
        self.pods: Store[Pod] = Store(Pod.from_raw)
        self._gone_pods: dict[str, Pod] = {}
        self._heard: dict[str, tuple[str, datetime]] = {}
        """By UID of the WpsJob: the last heartbeat of its consumer, and when it was first seen.

        The heartbeat's own time is that of another machine, whose clock may differ.
        """
        self.refusals: dict[str, str] = {}
        """By UID of the WpsJob: why the API server does not take its Kubernetes Job."""
        self.late_pods: dict[str, str] = {}
        """By UID: why a pod does not start, in the words of the Events on it."""
        self.stores: dict[Kind, Store[Any]] = {
            Kind.WPSJOB: self.wpsjobs,
            Kind.WPSQUEUE: self.queues,
            Kind.WPSPROCESS: self.processes,
            Kind.KUBERNETES_JOB: self.kubernetes_jobs,
            Kind.POD: self.pods,
        }

    def remove(self, kind: Kind, raw: Raw) -> bool:
        """Take note that an object was deleted; returns whether that is news.

        A pod that is gone is kept for its last words until its attempt is concluded: they may have
        come with the very event of its deletion.
        """
        gone = self.stores[kind].remove(raw)
        if gone is not None and kind is Kind.POD:
            try:
                last = Pod.from_raw(raw)
            except (KeyError, ValueError, TypeError):
                last = gone
            self._gone_pods[gone.metadata.uid] = replace(last, ended=True)
        return gone is not None

    def _pods(self) -> list[Pod]:
        """The pods that there are, and those gone ones whose attempts are not concluded."""
        current = {job.metadata.uid: job for job in self._shelf.out() if not job.finished}
        self._gone_pods = {
            uid: pod
            for uid, pod in self._gone_pods.items()
            if pod.origin.uid in current and _is_current(pod, current[pod.origin.uid])
        }
        pods = [*self.pods.values(), *self._gone_pods.values()]
        return [
            replace(pod, cannot_start=pod.cannot_start or self.late_pods.get(pod.metadata.uid))
            if pod.metadata.uid in self.late_pods
            else pod
            for pod in pods
        ]

    def _listen(self, now: datetime) -> dict[str, datetime]:
        """When each consumer that holds a WpsJob, and has sent heartbeats, was last heard of."""
        heard: dict[str, tuple[str, datetime]] = {}
        for job in self._shelf.out():
            claim, uid = job.status.claim, job.metadata.uid
            if claim is not None and claim.heartbeat and not job.finished:
                known = self._heard.get(uid)
                is_news = known is None or known[0] != claim.heartbeat
                heard[uid] = (claim.heartbeat, now) if known is None or is_news else known
        self._heard = heard
        return {uid: since for uid, (_, since) in heard.items()}

    def view(self, now: datetime) -> View:
        """The namespace as it is known at the moment *now*, read only."""
        self._shelf.take_out(
            now, self.wpsjobs.values(), self.queues.values(), self.processes.values()
        )
        jobs = tuple(self._shelf.out())
        if self.refusals:
            there = {job.metadata.uid for job in jobs}
            self.refusals = {uid: why for uid, why in self.refusals.items() if uid in there}
        view = View(
            jobs=jobs,
            queues={queue.metadata.name: queue for queue in self.queues.values()},
            processes={process.identifier: process for process in self.processes.values()},
            children=Children(self.kubernetes_jobs.values(), self._pods()),
            worker_service_account=self._worker_service_account,
            refusals=dict(self.refusals),
            names_listed_at=min(self.queues.listed_at, self.processes.listed_at),
            heard=self._listen(now),
            job_counts=dict(self._shelf.counts) if self.finished_known else None,
        )
        return replace(view, next_expiry=self._shelf.put_back(view, now))


def _is_current(pod: Pod, job: WpsJob) -> bool:
    """Whether *pod* is of the current attempt of *job*, or of a part that runs."""
    if pod.origin.attempt != job.status.attempt:
        return False
    parts = job.status.parts
    return pod.origin.part is None or (parts is not None and pod.origin.part in parts.running)
