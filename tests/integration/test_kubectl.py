"""What kubectl alone makes of WpsJobs: it describes, waits, and shows how it stands."""

from __future__ import annotations

import re
import subprocess
import uuid
from collections.abc import Iterator

import pytest

from tests.deployment.tools import environment, kubectl
from tests.integration.kube import Space

pytestmark = pytest.mark.usefixtures("operator")

FAST = {"initialSeconds": 0.1, "factor": 1, "maxSeconds": 0.1}
SIGKILLED = 137


@pytest.fixture(scope="module", autouse=True)
def echo(space: Space) -> None:
    space.custom("wpsprocesses", "echo", identifier="Echo")


@pytest.fixture
def queue(space: Space) -> str:
    name = f"q-{uuid.uuid4().hex[:8]}"
    space.queue(name, backoff=FAST, parallelism=1)
    return name


@pytest.fixture
def job(space: Space, queue: str) -> str:
    name = f"j-{uuid.uuid4().hex[:8]}"
    space.custom("wpsjobs", name, process="Echo", queue=queue, restartLimit=1)
    return name


@pytest.fixture
def waiting(space: Space, job: str, request: pytest.FixtureRequest) -> Iterator[subprocess.Popen]:  # type: ignore[type-arg]
    """``kubectl wait`` for a condition of the WpsJob, which goes on beside the test."""
    process = subprocess.Popen(
        [
            *("kubectl", "wait", f"wpsjob/{job}", "-n", space.name),
            *(f"--for=condition={request.param}", "--timeout=30s"),
        ],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    yield process
    process.kill()
    process.communicate()


def run(space: Space, job: str, attempt: int, code: int) -> None:
    space.run_pod(f"{job}-{attempt}")
    space.wait(lambda: space.status(job).get("phase") == "Started", "the attempt to start")
    space.end_pod(f"{job}-{attempt}", code)


def test_describe_tells_a_story_from_the_first_event_to_the_last(space: Space, job: str) -> None:
    run(space, job, 1, SIGKILLED)
    run(space, job, 2, 0)
    space.wait_phase(job, "Succeeded")
    expected = ["Scheduled", "Started", "Relaunched", "Scheduled", "Started", "Succeeded"]

    def story() -> list[tuple[str, str]]:
        # Relaunched and scheduled again come within one second, which is all that kubectl sorts by.
        told = kubectl("describe", "wpsjob", job, "-n", space.name).partition("\nEvents:")[2]
        lines = [re.split(r"\s{2,}", line.strip(), maxsplit=4) for line in told.splitlines()[3:]]
        return [(line[1], line[4]) for line in lines]

    space.wait(lambda: len(story()) == len(expected), "all Events")
    reasons, messages = zip(*story(), strict=True)
    assert list(reasons) == expected
    assert "Attempt 1" in messages[0]
    assert "repeated (restart 1 of at most 1)" in messages[2]
    assert "Attempt 2" in messages[3]
    assert all(message[0].isupper() for message in messages)


@pytest.mark.parametrize("waiting", ["Complete"], indirect=True)
def test_kubectl_waits_for_the_success(
    space: Space,
    job: str,
    waiting: subprocess.Popen,  # type: ignore[type-arg]
) -> None:
    run(space, job, 1, 0)
    out, err = waiting.communicate(timeout=30)
    assert (waiting.returncode, err) == (0, "")
    assert out == f"wpsjob.wps.eoxserver.org/{job} condition met\n"
    assert space.status(job)["phase"] == "Succeeded"


@pytest.mark.parametrize("waiting", ["Failed"], indirect=True)
def test_kubectl_waits_for_the_failure(
    space: Space,
    job: str,
    waiting: subprocess.Popen,  # type: ignore[type-arg]
) -> None:
    run(space, job, 1, SIGKILLED)
    run(space, job, 2, SIGKILLED)
    out, _ = waiting.communicate(timeout=30)
    assert waiting.returncode == 0, out
    assert space.status(job)["phase"] == "Failed"


def test_get_shows_jobs_and_queues_as_they_stand(space: Space, queue: str, job: str) -> None:
    space.custom("wpsjobs", f"{job}-b", process="Echo", queue=queue, owner={"user": "ada"})
    space.run_pod(f"{job}-1")
    space.wait_phase(job, "Started")

    def rows(*words: str) -> list[list[str]]:
        shown = kubectl("get", *words, "-n", space.name, "--no-headers")
        return [line.split() for line in shown.splitlines()]

    by_queue = ("wpsjobs", "--field-selector", f"spec.queue={queue}", "-o", "wide")
    first, second = rows(*by_queue)
    assert first[:3] == [job, "Echo", "Started"]
    assert f"{job}-1" in first
    assert second[:3] == [f"{job}-b", "Echo", "Accepted"]
    assert {"ada", "Queued"} <= set(second)
    # Queued, running, the limit of those that wait, parallelism.
    space.wait(lambda: rows("wpsqueue", queue)[0][1:5] == ["1", "1", "256", "1"], "the counts")
    (left,) = rows("wpsjobs", "--field-selector", f"spec.queue={queue},status.phase=Accepted")
    assert left[0] == f"{job}-b"
