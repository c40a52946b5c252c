"""What is told of WpsJobs and queues."""

from __future__ import annotations

from datetime import timedelta

from tests.unit.cli.objects import NOW, make_job, make_queue, make_queues
from wpsjobs.api.phases import Phase
from wpsjobs.api.times import format_time
from wpsjobs.cli.records import chosen, job_record, queue_record, status_record


def test_a_waiting_job_is_told_its_place_and_its_expected_start() -> None:
    ended = make_job(
        "ended",
        1,
        {
            "phase": "Succeeded",
            "scheduledAt": format_time(NOW - timedelta(seconds=70)),
            "finishedAt": format_time(NOW - timedelta(seconds=10)),
        },
    )
    started = format_time(NOW - timedelta(seconds=20))
    runs = make_job("runs", 2, {"phase": "Started", "jobName": "runs-1", "startedAt": started})
    first = make_job("first", 3, {"phase": "Accepted"})
    urgent = make_job("urgent", 4, {"phase": "Accepted"}, priority=5)
    queues = make_queues(ended, runs, first, urgent, parallelism=1)

    record = job_record(first, queues)
    assert record["position"] == 2
    # The one that runs takes 60 s as the last one did, and the urgent one as much.
    assert record["expectedStart"] == format_time(NOW + timedelta(seconds=40 + 60))
    assert "position" not in job_record(runs, queues)


def test_what_is_unknown_is_left_out() -> None:
    record = job_record(make_job("new"), make_queues())
    assert record == {
        "job": "new",
        "name": "new",
        "process": "Echo",
        "queue": "default",
        "restarts": 0,
        "createdAt": format_time(NOW - timedelta(minutes=5)),
    }


def test_the_status_has_all() -> None:
    history = [{"time": format_time(NOW), "phase": "Failed", "message": "nope"}]
    status = {
        "phase": "Failed",
        "reason": "ProcessError",
        "message": "nope",
        "attempt": 2,
        "history": history,
        "progress": {"percent": 40, "message": "at work"},
    }
    owner = {"user": "ada"}
    record = status_record(make_job("a", 1, status, id="A.1", owner=owner), make_queues())
    assert record["job"] == "A.1"
    assert record["name"] == "a"
    assert (record["phase"], record["reason"], record["message"]) == (
        "Failed",
        "ProcessError",
        "nope",
    )
    assert (record["progress"], record["progressMessage"]) == (40, "at work")
    assert (record["attempt"], record["history"], record["owner"]) == (2, history, "ada")


def test_a_queue_is_counted_by_the_operators_rules() -> None:
    jobs = [
        make_job("runs", 1, {"phase": "Started", "jobName": "runs-1"}),
        make_job("starts", 2, {"phase": "Scheduled", "jobName": "starts-1"}),
        make_job("frozen", 3, {"phase": "Paused", "jobName": "frozen-1"}),
        make_job("aside", 4, {"phase": "Paused"}),
        make_job("next", 5, {"phase": "Accepted"}),
        make_job("urgent", 6, {"phase": "Accepted"}, priority=1),
        make_job("elsewhere", 7, {"phase": "Accepted"}, queue="night"),
        make_job("new", 8),
    ]
    queue = make_queue(parallelism=4, maxQueued=9, suspend=True)
    assert queue_record(queue, make_queues(*jobs)) == {
        "name": "default",
        "held": True,
        "running": 3,
        "parallelism": 4,
        "queued": 3,
        "maxQueued": 9,
        "paused": 1,
        "waiting": ["urgent", "next"],
    }


def test_filters_and_order() -> None:
    address = {"remoteAddress": "192.0.2.1"}
    jobs = [
        make_job("b", 2, {"phase": "Started"}, process="NDVI", owner={"user": "ada"}),
        make_job("a", 1, {"phase": "Accepted"}, queue="night", owner=address),
        make_job("c", 3, {"phase": "Failed"}),
        make_job("new", 4),
    ]

    def names(**filters: object) -> list[str]:
        return [job.metadata.name for job in chosen(jobs, **filters)]  # type: ignore[arg-type]

    assert names() == ["a", "b", "c", "new"]
    assert names(phases=[Phase.STARTED, Phase.FAILED]) == ["b", "c"]
    assert names(process="NDVI") == ["b"]
    assert names(queue="night") == ["a"]
    assert names(owner="192.0.2.1") == ["a"]
    assert names(owner="ada", phases=[Phase.FAILED]) == []
