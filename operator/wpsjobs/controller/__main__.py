"""``python -m wpsjobs.controller``: the operator."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import Any, cast

import kopf
import structlog

from wpsjobs import __version__
from wpsjobs.controller import handlers, logs
from wpsjobs.controller.cluster import Cluster
from wpsjobs.controller.loop import Loop
from wpsjobs.controller.probes import Probes
from wpsjobs.controller.settings import Settings

logger = structlog.get_logger(__name__)


async def serve(settings: Settings) -> None:
    """Run the operator until SIGTERM or SIGINT, or until a part of it fails."""
    stop = asyncio.Event()
    running = asyncio.get_running_loop()
    async with Cluster(settings.request_timeout) as cluster:
        loop = Loop(cluster, settings)
        loop.serve(settings.namespaces)
        async with Probes(loop, settings):
            logger.info(
                "operator begins", version=__version__, namespaces=settings.namespaces or "all"
            )
            operator = asyncio.create_task(
                kopf.operator(
                    registry=handlers.registry(loop),
                    settings=handlers.settings(clusterwide=not settings.namespaces),
                    # Its own guess asks for the name of the user, which a container need not have.
                    identity=cast(Any, "wpsjobs"),
                    standalone=True,
                    clusterwide=not settings.namespaces,
                    namespaces=settings.namespaces,
                    stop_flag=stop,
                )
            )
            turning = asyncio.create_task(loop.run())
            for number in (signal.SIGTERM, signal.SIGINT):
                running.add_signal_handler(number, stop.set)
            await asyncio.wait({operator, turning}, return_when=asyncio.FIRST_COMPLETED)
            stop.set()
            turning.cancel()
            results = await asyncio.gather(operator, turning, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result
    logger.info("operator ends")


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
