"""Position and expected start, as those who wait are told."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tests.unit.controller.objects import NOW, queue, wpsjob
from wpsjobs.api.queueing import place
from wpsjobs.api.times import format_time


def _at(seconds: float) -> str:
    return format_time(NOW + timedelta(seconds=seconds))


def _done(name: str, seconds: float, ended: float = -10.0) -> Any:
    status = {
        "phase": "Succeeded",
        "scheduledAt": _at(ended - seconds),
        "finishedAt": _at(ended),
    }
    return wpsjob(name, status=status)


def _waiting(name: str, sequence: int, **spec: Any) -> Any:
    return wpsjob(name, spec=spec, status={"phase": "Accepted", "sequence": sequence})


def test_the_position_is_that_of_admission() -> None:
    jobs = [
        _waiting("third", 2),
        _waiting("second", 1),
        _waiting("first", 9, priority=5),
        wpsjob("aside", status={"phase": "Paused", "sequence": 1}),
    ]
    places = [place(job, jobs, queue(), NOW) for job in jobs]
    assert [one and one.position for one in places] == [3, 2, 1, None]


def test_a_relaunched_one_is_the_head() -> None:
    relaunched = wpsjob("again", status={"phase": "Accepted", "sequence": 7, "attempt": 1})
    jobs = [_waiting("older", 1), relaunched]
    assert place(relaunched, jobs, queue(), NOW).position == 1
    assert place(jobs[0], jobs, queue(), NOW).position == 2


def test_one_that_does_not_wait_has_no_place() -> None:
    started = wpsjob("s", status={"phase": "Started", "jobName": "s-1"})
    assert place(started, [started], queue(), NOW) is None


def test_the_expected_start_follows_the_slots() -> None:
    running = wpsjob(
        "running", status={"phase": "Started", "jobName": "r-1", "startedAt": _at(-40)}
    )
    jobs = [_done("a", 100), running, *(_waiting(f"w{i}", i) for i in range(1, 5))]
    two_slots = queue(parallelism=2)
    starts = [place(job, jobs, two_slots, NOW).expected_start for job in jobs[2:]]
    assert starts == [NOW + timedelta(seconds=s) for s in (0, 60, 100, 160)]


def test_nothing_is_promised_without_experience_or_by_a_held_queue() -> None:
    waiting = _waiting("w", 1)
    assert place(waiting, [waiting], queue(), NOW).expected_start is None
    jobs = [waiting, _done("a", 100)]
    assert place(waiting, jobs, queue(suspend=True), NOW).expected_start is None
    assert place(waiting, jobs, queue(parallelism=0), NOW).expected_start is None
