"""Locks for those who need exclusion: within a process, or across machines by a Lease."""

from __future__ import annotations

import logging
import os
import random
import socket
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ParamSpec, Protocol, TypeVar
from urllib.parse import quote
from uuid import uuid4

from wpsjobs.api.times import format_time
from wpsjobs.tracker.access import store

if TYPE_CHECKING:
    from wpsjobs.eoxserver.client import Cluster, Raw

logger = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

LEASE_SECONDS = 15
"""After which without a renewal a holder is taken for dead."""
_RENEWALS = 3
"""Tries to renew a Lease within its time."""
_POLL = 0.5
"""Longest pause in seconds between two looks at a Lease that somebody else holds."""


class Lock(Protocol):
    """What can be given as *dbLock*: a lock of ``threading`` or ``multiprocessing``, LeaseLock."""

    def acquire(self) -> object:
        """Wait until it is the caller's."""

    def release(self) -> object:
        """Give it back."""


class DummyLock:
    """A lock that excludes nobody: the default."""

    def acquire(self) -> None:
        """Do nothing."""

    def release(self) -> None:
        """Do nothing."""


def dbLocker(dbLock: Lock, func: Callable[P, R], *prm: P.args, **kprm: P.kwargs) -> R:
    """Call *func* with the lock held; the result is what it returns."""
    dbLock.acquire()
    try:
        return func(*prm, **kprm)
    finally:
        dbLock.release()


class LeaseLostError(Exception):
    """The Lease could not be renewed in time, so that somebody else may have held it, too."""


class LeaseLock:
    """A lock that excludes the programs of all machines: a Lease of Kubernetes in the namespace.

    Use it in a ``with`` statement, or as *dbLock*. A thread renews it while it is held; a holder
    that dies loses it after *seconds*. Not reentrant; safe for threads, of which one holds it.

    No Lease can stop a holder that was frozen for longer than *seconds* and goes on then. So
    ``release``, and the end of the ``with`` statement, raise LeaseLostError where it was lost
    meanwhile, and ``is_held`` tells beforehand.
    """

    def __init__(self, name: str, seconds: int = LEASE_SECONDS) -> None:
        """*name* is that of the Lease, which is made where there is none."""
        if seconds < 1:
            raise ValueError(f"a Lease lasts at least 1 second, not {seconds!r}")
        self._name, self._seconds = name, seconds
        self._lease = _Lease(name, seconds)
        self._local = threading.Lock()
        self._hold: _Hold | None = None

    def __enter__(self) -> LeaseLock:
        self.acquire()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self.release()
        except LeaseLostError:
            if kind is None:
                raise
            logger.warning("the Lease %s was lost", self._name)

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Wait until it is this caller's, for *timeout* seconds at most; whether it is.

        Without *timeout* as long as it takes. Raises ClusterError where the API server refuses.
        """
        deadline = None if timeout < 0 else time.monotonic() + timeout
        if not self._local.acquire(blocking, timeout if blocking else -1):
            return False
        try:
            began = time.monotonic()
            while (taken := self._lease.take()) is None:
                left = None if deadline is None else deadline - time.monotonic()
                if not blocking or (left is not None and left <= 0):
                    self._local.release()
                    return False
                pause = _POLL * random.uniform(0.2, 1.0)  # noqa: S311 (no secret)
                time.sleep(pause if left is None else min(pause, left))
                began = time.monotonic()
        except BaseException:
            self._local.release()
            raise
        self._hold = _Hold(self._lease, taken, began)
        self._hold.start()
        return True

    def release(self) -> None:
        """Give it back. Raises LeaseLostError, and RuntimeError where it is not held."""
        hold, self._hold = self._hold, None
        if hold is None:
            raise RuntimeError(f"the Lease {self._name} is not held")
        try:
            hold.end()
        finally:
            self._local.release()

    def is_held(self) -> bool:
        """Whether it is this object's, and renewed in time."""
        hold = self._hold
        return hold is not None and hold.is_valid()


class _Lease:
    """One Lease, as one who wants it sees it."""

    def __init__(self, name: str, seconds: int) -> None:
        self.name, self.seconds = name, seconds
        self.identity = ""
        """Of who has taken it last: a new one each time, in whichever process."""
        self._seen: tuple[str, float] | None = None
        """Version of the Lease, and when it was first seen: clocks of machines differ."""

    def take(self) -> Raw | None:
        """The Lease, if it is this one's now."""
        from wpsjobs.eoxserver.client import ConflictError, NotFoundError

        self.identity = f"{socket.gethostname()}/{os.getpid()}/{uuid4()}"
        try:
            lease = self._cluster.raw_get(self._path())
        except NotFoundError:
            try:
                return self._cluster.raw_post(
                    self._folder(),
                    {
                        "apiVersion": "coordination.k8s.io/v1",
                        "kind": "Lease",
                        "metadata": {"name": self.name},
                        "spec": self._spec(),
                    },
                )
            except ConflictError:
                return None
        if not self._is_free(lease):
            return None
        try:
            return self.patch(lease, self._spec())
        except ConflictError:
            return None

    @property
    def _cluster(self) -> Cluster:
        return store().cluster

    def _folder(self) -> str:
        space = quote(self._cluster.namespace, safe="")
        return f"/apis/coordination.k8s.io/v1/namespaces/{space}/leases"

    def _path(self) -> str:
        return f"{self._folder()}/{quote(self.name, safe='')}"

    def _is_free(self, lease: Raw) -> bool:
        if not lease["spec"].get("holderIdentity"):
            return True
        version, now = lease["metadata"]["resourceVersion"], time.monotonic()
        if self._seen is None or self._seen[0] != version:
            self._seen = version, now
        lasts = lease["spec"].get("leaseDurationSeconds") or self.seconds
        return now - self._seen[1] > float(lasts)

    def _spec(self) -> dict[str, object]:
        now = format_time(datetime.now(UTC))
        return {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": self.seconds,
            "acquireTime": now,
            "renewTime": now,
        }

    def patch(self, lease: Raw, spec: dict[str, object]) -> Raw:
        """Change *lease* as it was seen. Raises ConflictError where it is another one now."""
        version = lease["metadata"]["resourceVersion"]
        return self._cluster.raw_patch(
            self._path(), {"metadata": {"resourceVersion": version}, "spec": spec}
        )

    def renew(self, lease: Raw) -> Raw:
        """Raises ConflictError where it has become somebody else's."""
        from wpsjobs.eoxserver.client import ConflictError

        spec: dict[str, object] = {"renewTime": format_time(datetime.now(UTC))}
        try:
            return self.patch(lease, spec)
        except ConflictError:
            now = self._cluster.raw_get(self._path())
            if now["spec"].get("holderIdentity") != self.identity:
                raise
            return self.patch(now, spec)  # an answer was lost on the way


class _Hold(threading.Thread):
    """Renews a Lease until its end."""

    def __init__(self, lease: _Lease, taken: Raw, began: float) -> None:
        """*began*: of the monotonic clock, before it was *taken*."""
        super().__init__(name=f"wpsjobs-lease-{lease.name}", daemon=True)
        self._lease, self._taken = lease, taken
        self._ended = threading.Event()
        self._renewed = began
        self._lost = False

    def is_valid(self) -> bool:
        """Whether nobody else can have taken it."""
        return not self._lost and time.monotonic() - self._renewed < self._lease.seconds

    def run(self) -> None:
        from wpsjobs.eoxserver.client import (
            ClusterError,
            ConflictError,
            NotFoundError,
        )

        pause = self._lease.seconds / _RENEWALS
        while not self._ended.wait(pause):
            began = time.monotonic()
            try:
                self._taken = self._lease.renew(self._taken)
            except (ConflictError, NotFoundError) as error:
                self._lost = True
                logger.warning("the Lease %s is lost: %s", self._lease.name, error)
                return
            except ClusterError as error:
                logger.warning("the Lease %s is not renewed yet: %s", self._lease.name, error)
                pause = min(1.0, self._lease.seconds / _RENEWALS)
            else:
                self._renewed, pause = began, self._lease.seconds / _RENEWALS

    def end(self) -> None:
        """Stop renewing and let go. Raises LeaseLostError."""
        from wpsjobs.eoxserver.client import ClusterError

        self._ended.set()
        self.join()
        was_valid = self.is_valid()
        if not self._lost:
            try:
                self._lease.patch(self._taken, {"holderIdentity": ""})
            except ClusterError as error:
                # Others get it once its time is over.
                logger.warning("the Lease %s is not given back: %s", self._lease.name, error)
        if not was_valid:
            raise LeaseLostError(
                f"The Lease {self._lease.name!r} was not renewed within {self._lease.seconds} s; "
                "somebody else may have held it at the same time."
            )
