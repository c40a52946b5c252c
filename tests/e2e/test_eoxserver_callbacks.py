"""The callbacks of a process, in their order, whatever becomes of the job."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import requests

from tests.deployment.tools import kubectl
from tests.e2e.own import Own, accepted_job, status_of
from tests.e2e.wps import exception_of, until

ACCEPTED = ["initialize", "on_accepted"]
AT_WORK = ["on_started", "execute", "on_progress_update"]
MOST_START_SECONDS = 0.8


@pytest.fixture(autouse=True)
def go_on(own: Own) -> Iterator[None]:
    """The queue is not held after the test."""
    yield
    own.hold(False)


def start(own: Own, act: str, **spec: int) -> str:
    """A Recorder's job, with its spec set before it starts."""
    own.hold(True)
    job = accepted_job(own.client.kvp("Recorder", f"act={act}"))
    if spec:
        own.patch("wpsjob", job, **spec)
    own.hold(False)
    return job


def until_called(own: Own, job: str, name: str, seconds: float = 90.0) -> None:
    until(lambda: name in own.names(job), f"{name} of {job}", seconds)


def test_success(own: Own) -> None:
    job = start(own, "succeed")
    assert status_of(own.until_final(job)) == "ProcessSucceeded"
    calls = own.calls(job)
    assert own.names(job) == [*ACCEPTED, *AT_WORK, "on_succeeded"]
    assert calls[0] == {"callback": "initialize", "inputs": ["\\address", "act"], "parts": []}
    assert calls[1]["location"] == f"{own.release.url}/results/{job}/executeResponse.xml"
    assert calls[2]["progress"] == 0
    assert calls[3]["address"]["address"], "the hidden input came through with its object"
    assert (calls[4]["progress"], calls[4]["message"]) == (50, "hälfte")
    assert calls[5]["outputs"] == ["url"]
    published = requests.get(f"{own.release.url}/results/{job}/result.txt", timeout=30)
    assert published.content.decode() == "déjà vu"


def test_a_raise(own: Own) -> None:
    job = start(own, "raise")
    assert status_of(own.until_final(job)) == "ProcessFailed"
    until_called(own, job, "on_failed")
    assert own.names(job) == [*ACCEPTED, *AT_WORK, "on_failed"]
    assert own.calls(job)[-1]["message"] == "nothing of the kind, 見つからない"
    assert own.calls(job)[-1]["locator"] == "LookupError"


def test_the_clients_error(own: Own) -> None:
    job = start(own, "client")
    assert status_of(own.until_final(job)) == "ProcessFailed"
    assert own.names(job) == [*ACCEPTED, *AT_WORK, "on_failed"]
    assert own.calls(job)[-1]["locator"] == "act"
    assert own.until_phase(job, "Failed")["reason"] == "ClientError"


def test_a_crash_until_the_restarts_are_used_up(own: Own) -> None:
    job = start(own, "crash", restartLimit=1)
    assert status_of(own.until_final(job, 180)) == "ProcessFailed"
    until_called(own, job, "on_failed")
    assert own.names(job) == [*ACCEPTED, *AT_WORK, *AT_WORK, "on_failed"]
    assert "SIGKILL" in own.calls(job)[-1]["message"]
    assert own.until_phase(job, "Failed")["restarts"] == 1


def test_a_timeout(own: Own) -> None:
    # Long enough for Django to be loaded where the processors are busy.
    job = start(own, "sleep", timeoutSeconds=12, restartLimit=0)
    assert status_of(own.until_final(job)) == "ProcessFailed"
    until_called(own, job, "on_failed")
    assert own.names(job) == [*ACCEPTED, *AT_WORK, "on_failed"]
    assert "12 s" in own.calls(job)[-1]["message"]


def test_a_dismissal_in_the_queue(own: Own) -> None:
    own.hold(True)
    job = accepted_job(own.client.kvp("Recorder"))
    own.patch("wpsjob", job, cancel=True)
    assert status_of(own.until_final(job)) == "ProcessFailed"
    until_called(own, job, "on_failed")
    assert own.names(job) == [*ACCEPTED, "on_failed"]


def test_a_pause_and_a_dismissal_at_work(own: Own) -> None:
    job = start(own, "sleep")
    until_called(own, job, "on_progress_update")
    own.patch("wpsjob", job, suspend=True)
    until_called(own, job, "on_paused")
    own.patch("wpsjob", job, cancel=True)
    assert status_of(own.until_final(job)) == "ProcessFailed"
    until_called(own, job, "on_failed")
    assert own.names(job) == [*ACCEPTED, *AT_WORK, "on_paused", "on_failed"]


def test_a_refusal_by_initialize_leaves_nothing(own: Own) -> None:
    before = own.folders()
    recorded = set((own.volume / "recorded").iterdir())
    answer = own.client.kvp("Recorder", "refuse=nein, не")
    code, locator, text = exception_of(answer)
    assert (answer.status_code, code, locator) == (400, "InvalidParameterValue", "refuse")
    assert "nein, не" in text
    assert own.folders() == before
    (path,) = set((own.volume / "recorded").iterdir()) - recorded
    assert own.names(path.stem) == ["initialize", "discard"]


def in_queue(own: Own) -> str:
    own.hold(True)
    return accepted_job(own.client.kvp("Recorder"))


def at_work(own: Own) -> str:
    job = start(own, "sleep")
    until_called(own, job, "on_progress_update")
    return job


def paused(own: Own) -> str:
    job = in_queue(own)
    own.patch("wpsjob", job, suspend=True)
    own.until_phase(job, "Paused")
    return job


def frozen(own: Own) -> str:
    job = at_work(own)
    own.patch("wpsjob", job, suspend=True)
    until_called(own, job, "on_paused")
    return job


def dismissed(own: Own) -> str:
    job = in_queue(own)
    own.patch("wpsjob", job, cancel=True)
    own.until_phase(job, "Dismissed")
    until_called(own, job, "on_failed")
    return job


def succeeded(own: Own) -> str:
    job = start(own, "succeed")
    own.until_phase(job, "Succeeded")
    return job


def failed(own: Own) -> str:
    job = start(own, "raise")
    own.until_phase(job, "Failed")
    until_called(own, job, "on_failed")
    return job


@pytest.mark.parametrize("phase", [in_queue, at_work, paused, frozen, succeeded, failed, dismissed])
def test_purge_in_every_phase_discards_once_and_leaves_nothing(
    own: Own, phase: Callable[[Own], str]
) -> None:
    job = phase(own)
    before = own.names(job)
    assert "removed" in own.manage("purge", job)
    assert job not in own.wpsjobs()
    until(lambda: job not in own.folders(), "the folders to go")
    until_called(own, job, "discard")
    assert own.names(job) == [*before, "discard"]


def test_a_deletion_is_discarded_by_the_housekeeper(own: Own) -> None:
    job = succeeded(own)
    kubectl("delete", "wpsjob", job, "-n", own.release.namespace)
    until_called(own, job, "discard")
    until(lambda: job not in own.folders(), "the folders to go")
    assert own.names(job)[-2:] == ["on_succeeded", "discard"]


def test_the_start_of_a_process_is_cheap(own: Own) -> None:
    """Processor time until its first line: others share the processors, so that seconds vary."""
    jobs = [path.stem for path in (own.volume / "recorded").iterdir()]
    starts = [call["start"] for job in jobs for call in own.calls(job) if "start" in call]
    assert len(starts) >= 5, "run with the other tests of this file"
    costs = sorted(start["cpu_seconds"] for start in starts)
    print(f"processor seconds {costs}, seconds {sorted(start['seconds'] for start in starts)}")
    assert costs[len(costs) // 2] <= MOST_START_SECONDS, costs
