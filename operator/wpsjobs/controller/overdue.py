"""How long the operator waits for what: a pod to start, to be heard of, to end."""

from __future__ import annotations

from datetime import datetime, timedelta

from wpsjobs.api.phases import Phase
from wpsjobs.api.wpsjob import WpsJob
from wpsjobs.controller.actions import Plan
from wpsjobs.controller.children import Attempt, Pod
from wpsjobs.controller.view import View

MAX_UNCOUNTED = 10
"""Relaunches after disruptions that do not count; one more is taken as a crash."""
POD_NEWS_SECONDS = 5.0
"""How far the news of a pod, which has the exit code, may lag behind that of its Kubernetes Job."""
BACKSTOP_SECONDS = 60.0
"""After its timeout, an attempt is ended by its own supervisor; as much later by the operator."""
LOST_SECONDS = 10.0
"""A pod that has not ended as long after its grace period is on a node that is not heard of."""


def pod_to_come(attempt: Attempt, now: datetime) -> float:
    """Seconds for which the pod of a failed Kubernetes Job may yet be heard of."""
    job = attempt.job
    if job is None or job.complete or job.finished_at is None or attempt.pods:
        return 0.0
    return POD_NEWS_SECONDS - (now - job.finished_at).total_seconds()


def start(view: View, job: WpsJob, since: datetime | None, now: datetime, plan: Plan) -> bool:
    """Whether what was launched *since* then had the queue's time to start, and did not."""
    queue = view.queues.get(job.spec.queue)
    if since is None or queue is None:
        return False
    left = queue.start_deadline_seconds - (now - since).total_seconds()
    if left > 0:
        plan.wake(left)
    return left <= 0


def run(view: View, job: WpsJob, since: datetime | None, now: datetime, plan: Plan) -> str | None:
    """Why an attempt that runs *since* then is to be ended: the backstop of its timeout.

    A frozen attempt has all the time that it needs.
    """
    if since is None or job.status.phase is Phase.PAUSED or job.spec.suspend:
        return None
    timeout = view.policy(job).timeout_seconds
    left = timeout + BACKSTOP_SECONDS - ((now - since).total_seconds() - job.status.paused_seconds)
    if left > 0:
        plan.wake(left)
        return None
    return (
        f"Attempt {job.status.attempt} ran for longer than its timeout of {timeout} s, "
        "and its own supervisor did not end it"
    )


def lost_pod(pod: Pod, now: datetime, plan: Plan) -> str | None:
    """Words on a pod that is being deleted and takes longer to end than it should."""
    if pod.metadata.deletion_due is None:
        return None
    lost_at = pod.metadata.deletion_due + timedelta(seconds=LOST_SECONDS)
    if now < lost_at:
        plan.wake((lost_at - now).total_seconds())
        return None
    return (
        f"Waiting for pod {pod.metadata.name!r} on node {pod.node!r} to end, as it may still write "
        "to the shared volume; if the node is lost for good, delete the node, or taint it "
        "node.kubernetes.io/out-of-service"
    )
