"""/healthz, /readyz and /metrics over HTTP."""

from __future__ import annotations

import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from wpsjobs.controller import metrics
from wpsjobs.controller.loop import Loop
from wpsjobs.controller.settings import Settings

logger = structlog.get_logger(__name__)

READY_LISTS = 3
"""/readyz fails when the lists are older than as many times the interval at which they are taken.

The loop goes on through an outage of the API server, so that this must not be the liveness.
"""


class Probes:
    """The HTTP server of the probes. Use it as an asynchronous context manager."""

    def __init__(self, loop: Loop, settings: Settings) -> None:
        self._loop = loop
        self._settings = settings
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Probes:
        application = web.Application()
        application.router.add_get("/healthz", self._healthz)
        application.router.add_get("/readyz", self._readyz)
        application.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        address, port = self._settings.probe_address, self._settings.probe_port
        await web.TCPSite(self._runner, address, port).start()
        logger.info("probes are served", address=address, port=port)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _healthz(self, _: web.Request) -> web.Response:
        still = self._loop.still_for()
        if still is None:
            return web.Response(text="waiting for the Lease\n")
        if still > self._settings.stuck_seconds:
            return web.Response(status=500, text=f"the loop has not turned for {still:.0f} s\n")
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        age, most = self._loop.list_age(), READY_LISTS * self._settings.list_seconds
        if age > most:
            return web.Response(
                status=503, text=f"the lists are {age:.0f} s old, {most:.0f} s at most is fresh\n"
            )
        return web.Response(text="ok\n")

    async def _metrics(self, _: web.Request) -> web.Response:
        metrics.LIST_AGE.set(self._loop.list_age())
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})
