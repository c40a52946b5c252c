"""The worker: from the start of its pod to the first line of the process, and its memory.

``python -m tests.bench worker`` needs an installed release with the test processes. The pod's start
is that of the first process in it, as the kernel has it to a hundredth of a second: the kubelet's
``startedAt`` has whole seconds, and comes later.
"""

from __future__ import annotations

import json
import re

from tests.bench.figures import Figure, median, spread
from tests.deployment.release import Release
from tests.deployment.tools import get, kubectl
from tests.e2e.wps import Client, job_id, until

WARM_UP, REPEATS = 1, 10
MOST_SECONDS = 0.8
MOST_MEGABYTES = 25.0
_RECORDED = "/var/lib/wps/recorded"
"""Where the process ``Recorder`` writes down what it sees, as the pods mount it."""
_PEAK = re.compile(r"VmHWM:\s+(\d+) kB")


def figures(release: Release) -> list[Figure]:
    """Start and memory, on a cluster that does nothing else."""
    return [*_start(release), _memory(release)]


def _start(release: Release) -> list[Figure]:
    client = Client(release)
    jobs = []
    try:
        for _ in range(WARM_UP + REPEATS):
            jobs.append(job_id(client.finish(client.execute("Recorder"))))
        starts = [_recorded(release, job) for job in jobs[WARM_UP:]]
    finally:
        _in_web(release, "python", "manage.py", "wpsjobs", "purge", *jobs)
        _in_web(release, "rm", "-f", *(f"{_RECORDED}/{job}.jsonl" for job in jobs))
    seconds = [start["seconds"] for start in starts]
    computed = [start["cpu_seconds"] for start in starts]
    return [
        Figure(
            "pod started → first line of the process",
            median(seconds),
            "s",
            most=MOST_SECONDS,
            note=spread(seconds, "s"),
        ),
        Figure(
            "… processor time of supervisor and child",
            median(computed),
            "s",
            note=spread(computed, "s"),
        ),
    ]


def _recorded(release: Release, job: str) -> dict[str, float]:
    """What the process noted of its start."""
    lines = _in_web(release, "cat", f"{_RECORDED}/{job}.jsonl").splitlines()
    (start,) = [call["start"] for call in map(json.loads, lines) if "start" in call]
    return dict(start)


def _memory(release: Release) -> Figure:
    """The most that was resident of the supervisor, after some reports of progress."""
    client = Client(release)
    job = job_id(client.execute("Sleep", {"seconds": "20"}))
    try:
        until(lambda: _percent(client, job) >= 20, "some progress")
        selector = f"wps.eoxserver.org/job={job}"
        (pod,) = get("pods", "-n", release.namespace, "-l", selector)["items"]
        name = pod["metadata"]["name"]
        status = kubectl("exec", name, "-n", release.namespace, "--", "cat", "/proc/1/status")
    finally:
        _in_web(release, "python", "manage.py", "wpsjobs", "purge", job)
    found = _PEAK.search(status)
    if found is None:
        raise AssertionError(f"no memory in the status of the first process:\n{status}")
    megabytes = int(found.group(1)) / 1024
    return Figure(
        "supervisor's memory, resident, at its peak", megabytes, "MB", most=MOST_MEGABYTES
    )


def _percent(client: Client, job: str) -> int:
    return int(client.wpsjob(job).get("status", {}).get("progress", {}).get("percent", 0))


def _in_web(release: Release, *command: str) -> str:
    web = f"deployment/{release.name}-web"
    return kubectl("exec", web, "-c", "eoxserver", "-n", release.namespace, "--", *command)
