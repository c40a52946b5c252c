"""From Execute to Succeeded on an idle cluster, side by side with a bare Kubernetes Job.

``python -m tests.bench.latency`` prints a table in Markdown, for docs/benchmarks.md.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from typing import Any

from tests.bench.figures import Figure, table
from tests.deployment.release import Release
from tests.deployment.tools import get, kubectl
from tests.e2e.wps import Client, job_id, until

REPEATS = 10
MOST_RATIO = 1.5


def measure() -> tuple[list[float], list[float]]:
    """Seconds of bare Kubernetes Jobs and of Executes, one of each in turn."""
    release = Release()
    client, bare, executes = Client(release), [], []
    for _ in range(REPEATS):
        bare.append(_timed(lambda: _bare(release)))
        executes.append(_timed(lambda: _execute(client)))
    return bare, executes


def _timed(action: Callable[[], None]) -> float:
    began = time.monotonic()
    action()
    return time.monotonic() - began


def _bare(release: Release) -> None:
    """A Kubernetes Job of the very pod template of the queue, that does nothing."""
    queue = get("wpsqueue", "default", "-n", release.namespace)
    template: dict[str, Any] = queue["spec"]["template"]
    container = template["spec"]["containers"][0] | {"command": ["true"]}
    spec = template["spec"] | {
        "containers": [container],
        "restartPolicy": "Never",
        "serviceAccountName": f"{release.name}-worker",
    }
    manifest = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"generateName": "bare-", "namespace": release.namespace},
        "spec": {"backoffLimit": 0, "template": {"spec": spec}},
    }
    name = kubectl("create", "-f", "-", "-o", "name", stdin=json.dumps(manifest)).strip()
    kubectl("wait", "--for=condition=Complete", name, "-n", release.namespace)
    kubectl("delete", name, "-n", release.namespace, "--wait=false")


def _execute(client: Client) -> None:
    """An Execute of the process that does nothing, until its phase is final."""
    execution = client.execute("Echo", {"text": "a"})
    name = job_id(execution)
    kubectl("wait", "--for=condition=Complete", f"wpsjob/{name}", "-n", client.release.namespace)
    until(lambda: execution.checkStatus(sleepSecs=0) or execution.isComplete(), "the document")
    assert execution.isSucceded()


def figures(bare: list[float], executes: list[float]) -> list[Figure]:
    """Both medians, and their ratio with its limit."""
    ratio = statistics.median(executes) / statistics.median(bare)
    return [
        Figure("bare Kubernetes Job (`true`)", statistics.median(bare), "s", note=_range(bare)),
        Figure("Execute of Echo until Succeeded", statistics.median(executes), "s",
               note=_range(executes)),
        Figure("Execute to bare Kubernetes Job", ratio, most=MOST_RATIO,
               note=f"medians of {REPEATS} each, in turn"),
    ]  # fmt: skip


def _range(times: list[float]) -> str:
    return f"{min(times):.2f}-{max(times):.2f} s"


def main() -> None:
    """Exit code 1 where the ratio of the medians is over the limit."""
    measured = figures(*measure())
    print(table(measured))
    if not all(figure.kept for figure in measured):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
