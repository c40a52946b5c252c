"""From Execute to Succeeded on an idle cluster, side by side with a bare Kubernetes Job.

``python -m tests.bench.latency`` prints a table in Markdown, for docs/benchmarks.md.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from typing import Any

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


def main() -> None:
    """Exit code 1 where the ratio of the medians is over the limit."""
    bare, executes = measure()
    medians = statistics.median(bare), statistics.median(executes)
    ratio = medians[1] / medians[0]
    print("| what | median | fastest | slowest |")
    print("|---|---|---|---|")
    for what, times in (("bare Kubernetes Job (`true`)", bare), ("Execute of Echo", executes)):
        middle = statistics.median(times)
        print(f"| {what} | {middle:.2f} s | {min(times):.2f} s | {max(times):.2f} s |")
    print(f"\nRatio of the medians: {ratio:.2f} (limit {MOST_RATIO}), {REPEATS} of each in turn")
    if ratio > MOST_RATIO:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
