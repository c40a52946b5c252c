"""``kubectl wps suspend``, ``resume``, ``cancel`` and ``retry``."""

from __future__ import annotations

from wpsjobs.api.phases import Phase
from wpsjobs.api.wpsjob import WpsJob
from wpsjobs.cli.cluster import Cluster
from wpsjobs.cli.common import Jobs, for_each
from wpsjobs.cli.errors import ConflictError, WrongPhaseError

_TRIES = 5
"""Of a change that must not be made on top of another one's."""


def suspend(cluster: Cluster, jobs: Jobs) -> None:
    """Pause WpsJobs: one that waits steps aside, one that runs is frozen."""

    def act(job: str) -> None:
        found = _unfinished(cluster, job, "suspended")
        if found.spec.suspend:
            print(f"{found.id} is suspended already")
            return
        cluster.patch_job(found.metadata.name, {"suspend": True})
        print(f"{found.id} suspended")

    for_each(jobs, act)


def resume(cluster: Cluster, jobs: Jobs) -> None:
    """Let suspended WpsJobs go on from where they were."""

    def act(job: str) -> None:
        found = _unfinished(cluster, job, "resumed")
        if not found.spec.suspend:
            print(f"{found.id} is not suspended")
            return
        cluster.patch_job(found.metadata.name, {"suspend": False})
        print(f"{found.id} resumed")

    for_each(jobs, act)


def cancel(cluster: Cluster, jobs: Jobs) -> None:
    """Dismiss WpsJobs: pods end, outputs go, the record stays. There is no way back."""

    def act(job: str) -> None:
        found = _unfinished(cluster, job, "cancelled")
        cluster.patch_job(found.metadata.name, {"cancel": True})
        print(f"{found.id} cancelled")

    for_each(jobs, act)


def retry(cluster: Cluster, jobs: Jobs) -> None:
    """Put finished WpsJobs back into their queue, past its limit."""

    def act(job: str) -> None:
        for remaining in reversed(range(_TRIES)):
            raw = cluster.job(job)
            found = WpsJob.from_raw(raw)
            _check_retry(cluster, found)
            # Against the very version that was looked at: two at once are to be one retry.
            version = raw["metadata"]["resourceVersion"]
            try:
                cluster.patch_job(found.metadata.name, {"retries": found.spec.retries + 1}, version)
            except ConflictError:
                if not remaining:
                    raise
                continue
            print(f"{found.id} is queued again")
            return

    for_each(jobs, act)


def _unfinished(cluster: Cluster, job: str, done: str) -> WpsJob:
    found = WpsJob.from_raw(cluster.job(job))
    if found.finished:
        raise WrongPhaseError(
            f"The WpsJob {found.id!r} is {found.status.phase} and cannot be {done} any more. To "
            f"remove it: kubectl delete wpsjob {found.metadata.name} -n {cluster.namespace}"
        )
    return found


def _check_retry(cluster: Cluster, job: WpsJob) -> None:
    if job.status.phase is Phase.REJECTED:
        raise WrongPhaseError(
            f"The WpsJob {job.id!r} was rejected: its queue never had it. Submit it again."
        )
    if not job.finished:
        raise WrongPhaseError(
            f"The WpsJob {job.id!r} is {job.status.phase or 'new'}; only one that is finished can "
            f"be retried. To end it first: kubectl wps cancel {job.id} -n {cluster.namespace}"
        )
    if job.spec.retries > job.status.retries_seen:
        raise WrongPhaseError(f"A retry of the WpsJob {job.id!r} is asked for already.")
