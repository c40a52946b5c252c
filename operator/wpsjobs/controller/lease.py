"""One leader: a Lease of coordination.k8s.io, and the fence that its age is.

``kubernetes.aio.leaderelection`` tells neither the age of the last renewal, which has to be checked
before each write, nor whether the last holder released the Lease or fell silent.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog

from wpsjobs.api.times import format_time
from wpsjobs.controller.cluster import Cluster, ClusterError, ConflictError, GoneError

logger = structlog.get_logger(__name__)

DURATION_SECONDS = 10
"""After as long without a renewal, another operator takes over."""
STALE_SECONDS = 7.0
"""After as long without a renewal, the leader itself writes no more."""
RENEW_SECONDS = 2.0
LOOK_SECONDS = 1.0
"""How often one that waits looks at the Lease."""


class LeaseStaleError(ClusterError):
    """The Lease was not renewed for so long that another operator may lead now."""


class LeaseLostError(Exception):
    """Another operator leads now; this one has to begin anew, as the one that waits."""


@dataclass(frozen=True)
class Holding:
    """How the Lease was taken."""

    clean: bool
    """Its last holder had released it, or there was none: no late write of it can come."""


class Lease:
    """The Lease of one operator, for as long as it runs."""

    def __init__(self, cluster: Cluster, namespace: str, name: str, identity: str) -> None:
        """*identity* is ``<pod UID>_<something unique to the process>``."""
        self._cluster = cluster
        self._namespace = namespace
        self._name = name
        self.identity = identity
        self._version = ""
        self._renewed_at = float("-inf")

    def check(self) -> None:
        """The fence: raises LeaseStaleError where this operator may lead no more.

        By the monotonic clock, which also runs while the process is stopped.
        """
        age = time.monotonic() - self._renewed_at
        if age > STALE_SECONDS:
            raise LeaseStaleError(f"the Lease was renewed {age:.1f} s ago; nothing is written")

    async def acquire(self) -> Holding:
        """Wait until the Lease is free and take it."""
        seen, seen_at = "", time.monotonic()
        while True:
            try:
                raw = await self._read()
                version = raw["metadata"]["resourceVersion"]
                if version != seen:
                    seen, seen_at = version, time.monotonic()
                holding = self._may_take(raw, time.monotonic() - seen_at)
                if holding is not None:
                    await self._write(raw, self.identity)
                    logger.info("leading", identity=self.identity, clean=holding.clean)
                    return holding
            except ConflictError:
                continue
            except ClusterError as error:
                logger.warning("Lease not taken yet", error=str(error))
            await asyncio.sleep(LOOK_SECONDS)

    async def keep(self) -> None:
        """Renew the Lease until cancelled; raises LeaseLostError where another one has it.

        An API server that does not answer is waited for: nothing is written meanwhile, and the
        operator is not restarted for it.
        """
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            try:
                await self._renew()
            except ConflictError:
                await self._find_out()
            except ClusterError as error:
                logger.warning("Lease not renewed", error=str(error))

    async def release(self) -> None:
        """Let the next operator take over at once, and cleanly."""
        self._renewed_at = float("-inf")
        body = {"metadata": {"resourceVersion": self._version}, "spec": {"holderIdentity": ""}}
        try:
            await self._cluster.patch_lease(self._namespace, self._name, body)
        except ClusterError as error:
            logger.warning("Lease not released", error=str(error))

    def _may_take(self, raw: Mapping[str, Any], unchanged: float) -> Holding | None:
        spec = raw.get("spec") or {}
        holder = spec.get("holderIdentity") or ""
        if not holder:
            return Holding(clean=True)
        # The same pod: its process before this one is dead, but its writes may still be under way.
        same_pod = holder.partition("_")[0] == self.identity.partition("_")[0]
        if same_pod or unchanged > (spec.get("leaseDurationSeconds") or DURATION_SECONDS):
            return Holding(clean=False)
        return None

    async def _read(self) -> Mapping[str, Any]:
        try:
            return await self._cluster.get_lease(self._namespace, self._name)
        except GoneError:
            return await self._cluster.create_lease(self._namespace, self._name)

    async def _write(self, raw: Mapping[str, Any], holder: str) -> None:
        now = format_time(datetime.now(UTC))
        spec = raw.get("spec") or {}
        body = {
            "metadata": {"resourceVersion": raw["metadata"]["resourceVersion"]},
            "spec": {
                "holderIdentity": holder,
                "leaseDurationSeconds": DURATION_SECONDS,
                "acquireTime": now,
                "renewTime": now,
                "leaseTransitions": (spec.get("leaseTransitions") or 0) + 1,
            },
        }
        await self._patch(body)

    async def _renew(self) -> None:
        now = format_time(datetime.now(UTC))
        body = {"metadata": {"resourceVersion": self._version}, "spec": {"renewTime": now}}
        await self._patch(body)

    async def _patch(self, body: Mapping[str, Any]) -> None:
        # The age counts from before the request, for another one may see it as late as its answer.
        sent_at = time.monotonic()
        answer = await self._cluster.patch_lease(self._namespace, self._name, body)
        self._version = answer["metadata"]["resourceVersion"]
        self._renewed_at = sent_at

    async def _find_out(self) -> None:
        """After a conflict: was it our own renewal, of which the answer was lost?"""
        raw = await self._read()
        if (raw.get("spec") or {}).get("holderIdentity") != self.identity:
            raise LeaseLostError("another operator has the Lease")
        self._version = raw["metadata"]["resourceVersion"]
