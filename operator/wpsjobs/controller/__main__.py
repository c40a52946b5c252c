"""``python -m wpsjobs.controller``: the operator."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import uuid
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, cast

import kopf
import structlog

from wpsjobs import __version__
from wpsjobs.controller import handlers, logs
from wpsjobs.controller.cluster import Cluster
from wpsjobs.controller.lease import Holding, Lease
from wpsjobs.controller.loop import Loop
from wpsjobs.controller.probes import Probes
from wpsjobs.controller.settings import Settings

logger = structlog.get_logger(__name__)


NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
"""Where a pod finds the name of its namespace."""


async def serve(settings: Settings) -> None:
    """Run the operator until SIGTERM or SIGINT, or until a part of it fails.

    Raises LeaseLostError where another operator has taken over; the next start waits for it.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with Cluster(settings.request_timeout) as cluster:
        lease = Lease(cluster, _lease_namespace(settings), settings.lease_name, _identity(settings))
        cluster.fence = lease.check
        loop = Loop(cluster, settings)
        async with Probes(loop, settings):
            holding = await _unless(stop, lease.acquire())
            if holding is None:
                return
            loop.lead(settings.namespaces, clean=holding.clean)
            try:
                await _lead(loop, lease, settings, stop)
            finally:
                await lease.release()
    logger.info("operator ends")


async def _lead(loop: Loop, lease: Lease, settings: Settings, stop: asyncio.Event) -> None:
    """Serve as the leader, until told to stop or a part fails; then everything stops."""
    logger.info("operator begins", version=__version__, namespaces=settings.namespaces or "all")
    registry, watches_end = handlers.registry(loop), asyncio.Event()

    async def end_with_the_watches(**_: Any) -> None:
        stop.set()

    # kopf has taken the signals; it ends the watches and would wait for all other tasks in vain.
    kopf.on.cleanup(registry=registry)(end_with_the_watches)
    watching = asyncio.create_task(
        kopf.operator(
            registry=registry,
            settings=handlers.settings(),
            # Its own guess asks for the name of the user, which a container need not have.
            identity=cast(Any, "wpsjobs"),
            standalone=True,
            clusterwide=not settings.namespaces,
            namespaces=settings.namespaces,
            stop_flag=watches_end,
        )
    )
    ours = [asyncio.create_task(part) for part in (loop.run(), lease.keep(), _wait(stop))]
    await asyncio.wait({watching, *ours}, return_when=asyncio.FIRST_COMPLETED)
    for task in ours:
        task.cancel()
    results = await asyncio.gather(*ours, return_exceptions=True)
    watches_end.set()
    results += await asyncio.gather(watching, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


async def _unless(stop: asyncio.Event, wanted: Coroutine[Any, Any, Holding]) -> Holding | None:
    """What *wanted* answers, or None where *stop* comes first."""
    awaited, stopped = asyncio.create_task(wanted), asyncio.create_task(stop.wait())
    await asyncio.wait({awaited, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not awaited.done():
        awaited.cancel()
        return None
    return await awaited


def _lease_namespace(settings: Settings) -> str:
    """Raises ValueError where there is no telling."""
    if settings.lease_namespace:
        return settings.lease_namespace
    if NAMESPACE_FILE.exists():
        return NAMESPACE_FILE.read_text().strip()
    if settings.namespaces:
        return settings.namespaces[0]
    raise ValueError("WPSJOBS_LEASE_NAMESPACE must name the namespace of the operator's Lease")


def _identity(settings: Settings) -> str:
    place = settings.identity or f"{socket.gethostname()}-{os.getpid()}"
    return f"{place}_{uuid.uuid4().hex[:8]}"


def main() -> None:
    """Exit code 0 after a signal, 1 where a part of the operator failed, 2 for wrong settings."""
    try:
        settings = Settings.from_environment()
        logs.configure(settings.log_level)
    except ValueError as error:
        sys.exit(f"wpsjobs: {error}")
    asyncio.run(serve(settings))


if __name__ == "__main__":
    main()
