"""``kubectl wps logs``."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Annotated, Any

import typer

from wpsjobs.api.names import LABEL_WPSJOB, WORKER_CONTAINER
from wpsjobs.api.origin import Origin
from wpsjobs.api.wpsjob import WpsJob
from wpsjobs.cli.cluster import Cluster, Raw
from wpsjobs.cli.commands.status import follow as follow_job
from wpsjobs.cli.common import Job, say
from wpsjobs.cli.errors import NotFoundError, UnreachableError, WrongPhaseError
from wpsjobs.cli.housekeeper import Housekeeper


def logs(
    cluster: Cluster,
    job: Job,
    attempt: Annotated[
        int | None,
        typer.Option("--attempt", min=1, help="Number of the attempt; by default the last."),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the attempt ends.")
    ] = False,
) -> None:
    """Print the output of an attempt: of its pod while that is there, else the kept log."""
    found = WpsJob.from_raw(cluster.job(job))
    if follow:
        found = _until_started(cluster, found, attempt)
    number = attempt or found.status.attempt
    _check_attempt(cluster, found, number)
    pod = _pod_with_log(cluster, found, number)
    if pod is not None:
        try:
            container = _container(pod)
            _write(cluster.pod_log(pod["metadata"]["name"], container, follow=follow))
        except NotFoundError:
            pass  # it went this very moment
        else:
            return
    _write_kept(cluster, found, number)


def _until_started(cluster: Cluster, job: WpsJob, attempt: int | None) -> WpsJob:
    """The WpsJob once a pod of the attempt can be asked for its log."""
    told = False
    for now in follow_job(cluster, job.metadata.name, None):
        wanted = attempt or now.status.attempt
        if now.finished or (wanted and now.status.attempt >= wanted):
            pod = _pod(cluster, now, wanted) if wanted else None
            if now.finished or now.status.attempt > wanted or _has_log(pod):
                return now
        if not told:
            say(f"The WpsJob {now.id!r} has no such output yet; waiting for it to start.")
            told = True
    return job


def _check_attempt(cluster: Cluster, job: WpsJob, number: int) -> None:
    status = job.status
    if not status.attempt:
        words = "ended without" if job.finished else "has not had"
        raise WrongPhaseError(
            f"The WpsJob {job.id!r} is {status.phase or 'new'} and {words} an attempt, so there "
            f"is no log. See why: kubectl wps status {job.id} -n {cluster.namespace}"
        )
    if number > status.attempt:
        raise NotFoundError(
            f"There is no attempt {number} of the WpsJob {job.id!r}; its last one has the number "
            f"{status.attempt}."
        )


def _pod_with_log(cluster: Cluster, job: WpsJob, number: int) -> Raw | None:
    pod = _pod(cluster, job, number)
    if pod is None or _has_log(pod):
        return pod
    raise WrongPhaseError(
        f"The pod {pod['metadata']['name']!r} of attempt {number} of the WpsJob {job.id!r} has not "
        "started yet. Wait for it by --follow, or see what holds it up: kubectl describe pod "
        f"{pod['metadata']['name']} -n {cluster.namespace}"
    )


def _pod(cluster: Cluster, job: WpsJob, number: int) -> Raw | None:
    """The last pod of that attempt; of a fan-out it may be a part's."""
    pods = cluster.pods(f"{LABEL_WPSJOB}={job.metadata.name}")
    ours = [pod for pod in pods if _is_of(pod, job, number)]
    return ours[-1] if ours else None


def _is_of(pod: Raw, job: WpsJob, number: int) -> bool:
    """Whether it is of this very WpsJob, for one of its name may have been deleted before."""
    try:
        origin = Origin.from_metadata(pod["metadata"])
    except (KeyError, ValueError):
        return False
    return (origin.uid, origin.attempt) == (job.metadata.uid, number)


def _has_log(pod: Raw | None) -> bool:
    """Whether its container runs or has run."""
    statuses: list[dict[str, Any]] = ((pod or {}).get("status") or {}).get("containerStatuses", [])
    return any(set(status.get("state", {})) & {"running", "terminated"} for status in statuses)


def _container(pod: Raw) -> str:
    names = [str(container["name"]) for container in pod["spec"]["containers"]]
    return WORKER_CONTAINER if WORKER_CONTAINER in names else names[0]


def _write_kept(cluster: Cluster, job: WpsJob, number: int) -> None:
    try:
        with Housekeeper(cluster).log(job, number) as content:
            _write(content)
    except NotFoundError as error:
        raise NotFoundError(
            f"The pod of attempt {number} of the WpsJob {job.id!r} is gone, and no log of it is "
            "kept. To keep logs from now on: kubectl patch wpsqueue "
            f"{job.spec.queue} -n {cluster.namespace} --type=merge -p "
            """'{"spec":{"keepLogs":true}}'"""
        ) from error
    except UnreachableError as error:
        raise UnreachableError(
            f"The pod of attempt {number} of the WpsJob {job.id!r} is gone, and the housekeeper, "
            f"which has the kept log, does not answer: {error}"
        ) from error


def _write(pieces: Iterable[bytes]) -> None:
    for piece in pieces:
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
