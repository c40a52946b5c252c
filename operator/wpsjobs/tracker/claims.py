"""The protocol of consumers: how a daemon takes a WpsJob, and says what has become of it.

For queues with ``executor: Consumers``. All of it goes through ``status.claim`` of the WpsJob:

* **A claim** is made on a free WpsJob (phase Accepted) at the version at which it was seen, so that
  of two consumers one gets a conflict. It names the consumer and the attempt, which is the one
  after ``status.attempt``. ``ClaimQueue.claim`` takes the head of the queue.
* **A report** (``report``) changes ``claim.state`` and ``claim.message``, and adds to
  ``claim.reports``, of which the operator makes phases and history. It is a JSON Patch that tests
  consumer, attempt and state, so that it is about the very claim it means, or is refused.
  The operator removes the claim where the attempt is over without the consumer's word (time-out,
  dismissal): what an old consumer says later finds no claim, or another one's, and has no effect.
  It raises ``ClaimLostError``, on which a consumer drops what it does.
* **States** are those of ``wpsjobs.api.phases.ClaimState``. Claimed, Running and Paused come and
  go; Succeeded, Failed, Crashed and Released (given back) are a consumer's last word.
* **A heartbeat** (``beat``) is optional: without any, the time-out alone ends a dead consumer's
  attempt. Who has sent one has to go on, see ``HEARTBEAT_SECONDS``.

WpsJobs are the API server's JSON here. All functions raise ``ClusterError`` where the API server
does not do what it is asked.
"""

from __future__ import annotations

import os
import random
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from wpsjobs.api.attempt import Environment
from wpsjobs.api.phases import CLAIM_ENDED, ClaimState
from wpsjobs.api.times import format_time
from wpsjobs.api.wpsjob import Claim, WpsJob
from wpsjobs.eoxserver.client import (
    Cluster,
    ClusterError,
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    OverloadedError,
    Raw,
    UnreachableError,
)

MAX_CONSUMER, MAX_MESSAGE, MAX_REPORTS = 256, 1024, 32
"""Characters of a name and of a message, and number of reports, by the schema."""
PATIENCE = 30.0
"""Seconds for which a report is tried again while the API server does not answer."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0


class ClaimLostError(Exception):
    """The WpsJob is not this consumer's any more: dismissed, timed out, ended or deleted."""


def consumer_name(server_id: str) -> str:
    """The name of the consumer *server_id* of this pod: ``<pod>/<server_id>``.

    The chart's admission policy lets a consumer claim in the name of its own pod alone.
    """
    host = os.environ.get(Environment.POD_NAME) or socket.gethostname()
    return f"{host}/{server_id}"[:MAX_CONSUMER]


def take(
    cluster: Cluster,
    job: Raw,
    consumer: str,
    *,
    state: ClaimState = ClaimState.CLAIMED,
    message: str = "",
    heartbeat: bool = False,
) -> Raw | None:
    """Claim *job* as it was seen; None where it has changed or gone meanwhile, or may not be.

    With *heartbeat*, the claim promises more of them.
    """
    attempt = WpsJob.from_raw(job).status.attempt + 1
    words = message[:MAX_MESSAGE]
    claim = {
        "consumer": consumer,
        "attempt": attempt,
        "state": state,
        "message": words,
        "heartbeat": _now() if heartbeat else None,
        "reports": [{"state": state, "message": words}],
    }
    metadata = {key: job["metadata"][key] for key in ("uid", "resourceVersion")}
    patch = {"metadata": metadata, "status": {"claim": claim}}
    name = job["metadata"]["name"]
    try:
        return cluster.patch_job_status(name, patch)
    except (ConflictError, NotFoundError):
        return None
    except UnreachableError as error:
        if not error.sent:
            raise
        # It may have been done all the same.
        there = _read_again(cluster, name)
        mine = there is not None and _is_of(there, job, consumer, attempt)
        return there if mine else None


def report(
    cluster: Cluster,
    job: Raw,
    state: ClaimState,
    message: str = "",
    *,
    patience: float = PATIENCE,
) -> Raw:
    """Say that the attempt claimed in *job* stands at *state*; returns the WpsJob after it.

    *job* may be an old version of it, but has to have the claim. It is tried again for *patience*
    seconds. Raises ClaimLostError.
    """
    words = message[:MAX_MESSAGE]

    def operations(known: Raw) -> list[Raw]:
        one = {"state": state, "message": words}
        return [
            _set("claim/state", state),
            _set("claim/message", words),
            _reported(known, one),
        ]

    return _say(cluster, job, operations, lambda claim: claim.state is state, patience)


def beat(cluster: Cluster, job: Raw, *, patience: float = PATIENCE) -> Raw:
    """Say that the consumer that *job* is claimed by is at work; returns the WpsJob after it.

    Raises ClaimLostError.
    """
    now = _now()
    return _say(
        cluster,
        job,
        lambda _: [_set("claim/heartbeat", now)],
        lambda claim: claim.heartbeat == now,
        patience,
    )


def _say(
    cluster: Cluster,
    job: Raw,
    operations: Callable[[Raw], list[Raw]],
    is_said: Callable[[Claim], bool],
    patience: float,
) -> Raw:
    """Carry out *operations* on the claim of *job*, whatever else changes of the WpsJob.

    A refusal is tried again, too: an API server that has just begun knows no rights yet.
    """
    deadline, pause, unanswered = time.monotonic() + patience, _FIRST_PAUSE, False
    _raise_if_ended(job)
    known = job
    failure: ClusterError
    while True:
        try:
            return cluster.operate_on_job_status(
                job["metadata"]["name"], [*_tests(known), *operations(known)]
            )
        except NotFoundError:
            raise _lost(job, "it was deleted") from None
        except (ConflictError, InvalidError, ForbiddenError) as error:
            failure = error
            with suppress(ForbiddenError):  # by an API server that has just begun
                now = _holding(cluster, job)
                if unanswered and is_said(_claim(now)):
                    return now  # what was not answered had been done
                _raise_if_ended(now)
                is_news = now["metadata"]["resourceVersion"] != known["metadata"]["resourceVersion"]
                if not is_news and not isinstance(error, ForbiddenError):
                    raise  # it will not help to say it again
                known = now
                if is_news and time.monotonic() < deadline:
                    continue  # what was known was old
        except (UnreachableError, OverloadedError) as error:
            unanswered, failure = unanswered or isinstance(error, UnreachableError), error
        if time.monotonic() + pause > deadline:
            raise failure
        time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 (no secret)
        pause = min(_LONGEST_PAUSE, 2 * pause)


def _tests(job: Raw) -> list[Raw]:
    """What has to hold for a report: it is the claim in *job*, in the state that it had there."""
    claim = job["status"]["claim"]
    return [
        {"op": "test", "path": "/metadata/uid", "value": job["metadata"]["uid"]},
        *(
            {"op": "test", "path": f"/status/claim/{key}", "value": claim[key]}
            for key in ("consumer", "attempt", "state")
        ),
    ]


def _set(path: str, value: Any) -> Raw:
    return {"op": "add", "path": f"/status/{path}", "value": value}


def _reported(job: Raw, one: Raw) -> Raw:
    """Add to the reports; the last makes room for it where the operator has not come for long."""
    reports = job["status"]["claim"].get("reports")
    if reports is None:
        return _set("claim/reports", [one])
    if len(reports) < MAX_REPORTS:
        return _set("claim/reports/-", one)
    return {"op": "replace", "path": f"/status/claim/reports/{len(reports) - 1}", "value": one}


def _holding(cluster: Cluster, job: Raw) -> Raw:
    """*job* as it is now, still claimed as it was. Raises ClaimLostError."""
    now = _read_again(cluster, job["metadata"]["name"])
    if now is None:
        raise _lost(job, "it was deleted")
    claim = _claim(job)
    if not _is_of(now, job, claim.consumer, claim.attempt):
        parsed = WpsJob.from_raw(now)
        phase, words = parsed.status.phase or "new", parsed.status.message or ""
        raise _lost(job, f"it is {phase}: {words}")
    return now


def _is_of(now: Raw, job: Raw, consumer: str, attempt: int) -> bool:
    """Whether *now* is the same WpsJob as *job*, claimed by *consumer* for *attempt*."""
    claim = WpsJob.from_raw(now).status.claim
    return (
        now["metadata"]["uid"] == job["metadata"]["uid"]
        and claim is not None
        and (claim.consumer, claim.attempt) == (consumer, attempt)
    )


def _raise_if_ended(job: Raw) -> None:
    claim = _claim(job)
    if claim.state in CLAIM_ENDED:
        raise _lost(job, f"its end was reported before ({claim.state})")


def _lost(job: Raw, why: str) -> ClaimLostError:
    claim, name = _claim(job), job["metadata"]["name"]
    return ClaimLostError(
        f"the consumer {claim.consumer!r} has no claim any more to attempt {claim.attempt} of the "
        f"WpsJob {name!r}: {why}"
    )


def _claim(job: Raw) -> Claim:
    claim = WpsJob.from_raw(job).status.claim
    if claim is None:
        name = job["metadata"]["name"]
        raise ClaimLostError(f"no consumer has claimed the WpsJob {name!r}; claim it first")
    return claim


def _read_again(cluster: Cluster, name: str) -> Raw | None:
    try:
        return cluster.get_job(name)
    except NotFoundError:
        return None


def _now() -> str:
    return format_time(datetime.now(UTC))
