"""From an Execute to an accepted WpsJob, or to nothing at all."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from eoxserver.services.ows.wps.exceptions import NoApplicableCode, ServerBusy

from wpsjobs.api.names import API_VERSION, WPSJOB_KIND, resource_name
from wpsjobs.api.phases import Phase, Reason
from wpsjobs.api.times import format_time
from wpsjobs.eoxserver import crashpoints
from wpsjobs.eoxserver.client import (
    Cluster,
    ClusterError,
    ConflictError,
    NotFoundError,
    OverloadedError,
    UnreachableError,
)
from wpsjobs.eoxserver.crashpoints import CrashPoint
from wpsjobs.eoxserver.verdicts import Expectation, Verdicts

logger = logging.getLogger(__name__)

BUSY = "The server is busy. Please try again later."
RETRY_SECONDS = 0.1
"""Pause before a creation is repeated: its end is unknown (a kept connection that had died), or the
API server had no time for it."""
MIN_REQUEST_SECONDS = 0.2
"""Least time given to a request that clears away, however late it is."""


class RefusedError(Exception):
    """The WpsJob was refused and is gone. *error* is for a WPS client.

    *reason* is the operator's, where it has given one; *taken* says that there is another WpsJob of
    that name.
    """

    def __init__(
        self, error: Exception, *, reason: Reason | None = None, taken: bool = False
    ) -> None:
        super().__init__(str(error))
        self.error, self.reason, self.taken = error, reason, taken


class UnknownOutcomeError(Exception):
    """Nobody can say whether the WpsJob exists; the client is told "busy"."""


@dataclass(frozen=True)
class Deadline:
    """Until when an Execute may wait."""

    at: float
    """Of the monotonic clock."""

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        return cls(time.monotonic() + seconds)

    def left(self) -> float:
        return max(0.0, self.at - time.monotonic())

    def as_time(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.left())


def build_body(job_id: str, process_id: str, spec: dict[str, Any]) -> dict[str, Any]:
    """The WpsJob to create."""
    name = resource_name(job_id)
    identity = {} if name == job_id else {"id": job_id}
    return {
        "apiVersion": API_VERSION,
        "kind": WPSJOB_KIND,
        "metadata": {"name": name},
        "spec": {**identity, "process": process_id, **spec},
    }


def submit(
    cluster: Cluster, verdicts: Verdicts, body: dict[str, Any], deadline: Deadline
) -> dict[str, Any]:
    """Create the WpsJob and wait for the operator's verdict.

    The result is the WpsJob as accepted. Raises RefusedError where it is certain that none is
    left, UnknownOutcomeError where it is not.
    """
    body["spec"]["acceptBefore"] = format_time(deadline.as_time())
    with verdicts.expect(body["metadata"]["name"]) as expected:
        job = _create(cluster, body, deadline)
        crashpoints.pass_by(CrashPoint.CREATED)
        try:
            job, was_read = _await_verdict(cluster, expected, job, deadline)
        except ClusterError as error:
            logger.warning("no verdict on the WpsJob %s: %s", body["metadata"]["name"], error)
            was_read = False
    if was_read:
        verdicts.distrust()
    return _settle(cluster, job, body["spec"]["submission"])


def _create(cluster: Cluster, body: dict[str, Any], deadline: Deadline) -> dict[str, Any]:
    """Create the WpsJob; its submission's UUID lets an attempt with an unknown end be repeated."""
    name = body["metadata"]["name"]
    uncertain = False
    while True:
        try:
            return cluster.create_job(body, timeout=max(MIN_REQUEST_SECONDS, deadline.left()))
        except ConflictError as error:
            return _taken(cluster, body, deadline, error)
        except (OverloadedError, UnreachableError) as error:
            # An overloaded API server has done nothing; one that was asked and is silent may have.
            was_asked = isinstance(error, OverloadedError) or error.sent
            uncertain = uncertain or (isinstance(error, UnreachableError) and error.sent)
            if was_asked and deadline.left() > RETRY_SECONDS:
                time.sleep(RETRY_SECONDS)
                continue
            logger.error("the WpsJob %s cannot be created: %s", name, error)  # noqa: TRY400
            if uncertain:
                raise UnknownOutcomeError(str(error)) from error
            raise RefusedError(ServerBusy(BUSY)) from error
        except NotFoundError as error:
            logger.error(  # noqa: TRY400 (one line)
                "the WpsJob %s cannot be created, are the resource definitions installed? %s",
                name,
                error,
            )
            raise RefusedError(ServerBusy(BUSY)) from error
        except ClusterError as error:
            logger.error("the WpsJob %s cannot be created: %s", name, error)  # noqa: TRY400
            if uncertain:
                raise UnknownOutcomeError(str(error)) from error
            raise RefusedError(
                NoApplicableCode("The job cannot be queued; the server's log says why.")
            ) from error


def _taken(
    cluster: Cluster, body: dict[str, Any], deadline: Deadline, error: ConflictError
) -> dict[str, Any]:
    """A WpsJob of this name exists: ours, where an answer was lost on the way, or another."""
    try:
        existing = cluster.get_job(
            body["metadata"]["name"], timeout=max(MIN_REQUEST_SECONDS, deadline.left())
        )
    except ClusterError as again:
        raise UnknownOutcomeError(str(again)) from again
    if existing.get("spec", {}).get("submission") == body["spec"]["submission"]:
        return existing
    raise RefusedError(
        NoApplicableCode(f"The job identifier {_job_id(body)!r} is already used.", "job_id"),
        taken=True,
    ) from error


def _await_verdict(
    cluster: Cluster, expected: Expectation, job: dict[str, Any], deadline: Deadline
) -> tuple[dict[str, Any], bool]:
    """The WpsJob once it has a phase, or as it was last seen at the deadline.

    The flag says that it was read while the watch, which should have told it, was silent.
    """
    name, uid = job["metadata"]["name"], job["metadata"]["uid"]
    while not _phase(job) and deadline.left() > 0:
        verdict = expected.wait(uid, deadline.left())
        if verdict.job is not None:
            return verdict.job, False
        job = cluster.get_job(name, timeout=max(MIN_REQUEST_SECONDS, deadline.left()))
        if job["metadata"]["uid"] != uid:
            raise NotFoundError("the WpsJob was deleted")
        if _phase(job) and verdict.is_silence:
            return job, True
    return job, False


def _settle(cluster: Cluster, job: dict[str, Any], submission: str) -> dict[str, Any]:
    """Accept, or delete what was not accepted. Accepted wins over our impatience."""
    name = job["metadata"]["name"]
    while True:
        if _was_accepted(job):
            return job
        try:
            cluster.delete_job(
                name,
                uid=job["metadata"]["uid"],
                resource_version=job["metadata"]["resourceVersion"],
                timeout=1.0,
            )
        except NotFoundError:
            pass
        except ConflictError:
            try:
                job = cluster.get_job(name, timeout=1.0)
            except NotFoundError:
                break
            except ClusterError as error:
                raise UnknownOutcomeError(str(error)) from error
            if job.get("spec", {}).get("submission") != submission:
                break
            continue
        except ClusterError as error:
            raise UnknownOutcomeError(str(error)) from error
        break
    crashpoints.pass_by(CrashPoint.DELETED)
    raise RefusedError(_refusal(job, name), reason=_reason(job))


def _was_accepted(job: dict[str, Any]) -> bool:
    """Whether the verdict was good; a job seen late may have failed since."""
    phase, accepted_at = _phase(job), (job.get("status") or {}).get("acceptedAt")
    refusals = {Phase.REJECTED, Phase.FAILED}
    return phase is not None and (phase not in refusals or accepted_at is not None)


def _refusal(job: dict[str, Any], name: str) -> NoApplicableCode | ServerBusy:
    status = job.get("status") or {}
    phase = _phase(job)
    if phase is Phase.FAILED:
        return NoApplicableCode(status.get("message") or "The job failed.", status.get("reason"))
    if phase is None:
        logger.warning("no verdict on the WpsJob %s in time: is the operator running?", name)
    else:
        logger.info("the WpsJob %s was rejected: %s", name, status.get("message"))
    return ServerBusy(BUSY)


def _phase(job: dict[str, Any]) -> Phase | None:
    value = (job.get("status") or {}).get("phase")
    return Phase(value) if value else None


def _job_id(body: dict[str, Any]) -> str:
    return str(body["spec"].get("id") or body["metadata"]["name"])


def _reason(job: dict[str, Any]) -> Reason | None:
    value = (job.get("status") or {}).get("reason")
    return Reason(value) if value in list(Reason) else None
