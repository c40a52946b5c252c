"""What ``kubectl wps status`` says of one WpsJob."""

from __future__ import annotations

from tests.unit.cli.objects import make_job, make_queues
from wpsjobs.cli.commands import status


def facts(**of_status: object) -> dict[str, object]:
    job = make_job("a", status={"phase": "Started", **of_status}, parts=["x"] * 8)
    return dict(status._facts(job, make_queues(job)))


def test_the_parts_of_a_fan_out_are_told_by_their_indexes() -> None:
    parts = {"attempt": 1, "total": 8, "succeeded": "0-2,5", "running": "3-4", "restarts": "3:2"}
    told = facts(attempt=1, parts=parts)
    assert told["Parts"] == "4 of 8 done; running: 3-4; restarts: 2"
    assert told["Attempt"] == "1", "it has no Kubernetes Job of its own yet"


def test_a_wpsjob_without_parts_says_nothing_of_them() -> None:
    assert facts(attempt=1, jobName="a-1")["Parts"] is None
