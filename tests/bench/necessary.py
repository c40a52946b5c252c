"""WpsJobs by a driver that makes the necessary writes and nothing else, which no operator betters.

It knows what it has created and what comes next, so that it watches nothing but the ends of the
Kubernetes Jobs, decides nothing, and could not survive a restart. Its writes are those of the
operator.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from tests.bench.api import MERGE_PATCH, Api, Raw
from tests.bench.stand import PROCESS, wpsjob
from wpsjobs.api.names import kubernetes_job_name
from wpsjobs.api.phases import Phase, Reason
from wpsjobs.api.times import format_time
from wpsjobs.api.wpsjob import WpsJob
from wpsjobs.api.wpsprocess import WpsProcess
from wpsjobs.api.wpsqueue import WpsQueue
from wpsjobs.controller.manifests import Assignment, kubernetes_job
from wpsjobs.controller.transitions import Transition, attempt_entry, transit

WRITES_AT_ONCE = 32
SERVICE_ACCOUNT = "default"


class Driver:
    """Takes WpsJobs of one queue through all phases."""

    def __init__(self, api: Api, queue: Raw, process: Raw) -> None:
        self._api = api
        self._queue = WpsQueue.from_raw(queue)
        self._process = WpsProcess.from_raw(process)
        self._started: dict[str, asyncio.Future[WpsJob]] = {}

    @staticmethod
    async def make(api: Api, queue: str) -> Driver:
        """One for *queue* and the process of the benchmarks."""
        return Driver(
            api,
            await api.get(api.path("wpsqueues", queue)),
            await api.get(api.path("wpsprocesses", PROCESS.lower())),
        )

    async def run(
        self, count: int, at_once: int, ends: Callable[[str], Any], room: int
    ) -> tuple[int, float]:
        """*count* WpsJobs, *at_once* with a Kubernetes Job and *room* at all; the seconds it took.

        *ends* gives the names of ended Kubernetes Jobs whose names begin with its argument.
        """
        run = f"necessary-{uuid.uuid4().hex[:6]}"
        ended, began = await ends(run), time.perf_counter()
        free, slots = asyncio.Semaphore(room), asyncio.Semaphore(at_once)
        writes = asyncio.Semaphore(WRITES_AT_ONCE)
        accepted = asyncio.Queue[WpsJob]()

        async def accept(number: int) -> None:
            async with writes:
                accepted.put_nowait(await self._accept(f"{run}-{number}"))

        async def create() -> None:
            async with asyncio.TaskGroup() as group:
                for number in range(count):
                    await free.acquire()
                    group.create_task(accept(number))

        async def admit() -> None:
            async with asyncio.TaskGroup() as group:
                for _ in range(count):
                    await slots.acquire()
                    group.create_task(self._launch(await accepted.get()))

        async def conclude() -> float:
            names = set[str]()
            async with asyncio.TaskGroup() as group:
                async for name in ended:
                    if name in names:
                        continue
                    names.add(name)
                    slots.release()
                    free.release()
                    group.create_task(self._conclude(name))
                    if len(names) == count:
                        break
            return time.perf_counter()

        async with asyncio.TaskGroup() as group:
            group.create_task(create())
            group.create_task(admit())
            finish = group.create_task(conclude())
        return count, finish.result() - began

    async def _accept(self, name: str) -> WpsJob:
        job = WpsJob.from_raw(
            await self._api.create("wpsjobs", wpsjob(name, self._queue.metadata.name))
        )
        return await self._patch(job, Phase.ACCEPTED, Reason.QUEUED, {"acceptedAt": _now()})

    async def _launch(self, job: WpsJob) -> None:
        job_name = kubernetes_job_name(job.metadata.name, 1)
        started = self._started[job_name] = asyncio.get_running_loop().create_future()
        fields = {
            "scheduledAt": _now(),
            "attempt": 1,
            "jobName": job_name,
            "attempts": attempt_entry((), 1, {"jobName": job_name}),
        }
        job = await self._patch(job, Phase.SCHEDULED, Reason.ADMITTED, fields)
        manifest = kubernetes_job(Assignment(job, 1), self._queue, self._process, SERVICE_ACCOUNT)
        await self._api.create("jobs", manifest)
        entry = {"podName": f"{job_name}-abcde", "node": "kwok-node-0", "startedAt": _now()}
        fields = {"startedAt": _now(), "attempts": attempt_entry(job.status.attempts, 1, entry)}
        started.set_result(await self._patch(job, Phase.STARTED, Reason.POD_RUNNING, fields))

    async def _conclude(self, job_name: str) -> None:
        job = await self._started.pop(job_name)
        entry = {"finishedAt": _now(), "exitCode": 0, "reason": "Completed"}
        fields = {"finishedAt": _now(), "attempts": attempt_entry(job.status.attempts, 1, entry)}
        await self._patch(job, Phase.SUCCEEDED, Reason.COMPLETED, fields)
        await self._api.delete("jobs", job_name)

    async def _patch(
        self, job: WpsJob, phase: Phase, reason: Reason, fields: dict[str, Any]
    ) -> WpsJob:
        message = f"The WpsJob is {phase}, and this says why in the usual number of words"
        status = transit(job, Transition(phase, reason, message, fields), datetime.now(UTC)).patch
        version = {"resourceVersion": str(job.metadata.resource_version), "uid": job.metadata.uid}
        path = self._api.path("wpsjobs", job.metadata.name, "status") + "?fieldValidation=Ignore"
        body = {"metadata": version, "status": status}
        answer = await self._api.request("PATCH", path, body, MERGE_PATCH)
        return WpsJob.from_raw(json.loads(answer))


def _now() -> str:
    return format_time(datetime.now(UTC))
