"""How an attempt ended: what its pod's exit code, words and conditions add up to."""

from __future__ import annotations

from dataclasses import dataclass

from wpsjobs.api.attempt import ExitCode, TerminationMessage
from wpsjobs.api.phases import Cause, Reason
from wpsjobs.controller.children import Attempt, Pod

_NO_MEMORY = "The process needed more memory than its limit allows"
NEVER_REPEATED = frozenset({Reason.CLIENT_ERROR, Reason.BAD_REQUEST, Reason.CANNOT_START})
"""Reasons of ends that another attempt would not better."""
BY_KUBELET = "TerminationByKubelet"
"""Reason of a disruption that is the pod's own doing (it used more than the node could give)."""


@dataclass(frozen=True)
class Outcome:
    """The end of an attempt."""

    reason: Reason
    message: str
    cause: Cause | None = None
    """As ``restartOn`` has it; None where a relaunch is out of the question, or not counted."""
    counted: bool = True
    """Whether a relaunch counts towards the restart limit."""
    exit_code: int | None = None

    @property
    def succeeded(self) -> bool:
        """Whether the process ended well; this wins over cancel and timeout (invariant 5)."""
        return self.reason is Reason.COMPLETED


def outcome(attempt: Attempt) -> Outcome:
    """The end of *attempt*, none of whose pods can run any more."""
    pod = attempt.pod
    if pod is not None:
        return _of_pod(pod)
    if attempt.job is not None and attempt.job.complete:
        reason, _, message = _WORKER_ENDS[ExitCode.SUCCEEDED]
        return Outcome(reason, message, exit_code=0)
    if attempt.job is not None and attempt.job.failure:
        return Outcome(
            Reason.CRASH, f"The Kubernetes Job failed: {attempt.job.failure}", Cause.CRASH
        )
    message = "The pod of the attempt is gone; somebody or something deleted it"
    return Outcome(Reason.CRASH, message, Cause.CRASH)


_WORKER_ENDS = {
    ExitCode.SUCCEEDED: (
        Reason.COMPLETED,
        None,
        "The process has ended and its response is stored",
    ),
    ExitCode.CLIENT_ERROR: (Reason.CLIENT_ERROR, None, "The request was refused"),
    ExitCode.BAD_REQUEST: (Reason.BAD_REQUEST, None, "The request cannot be read"),
    ExitCode.PROCESS_ERROR: (Reason.PROCESS_ERROR, Cause.PROCESS_ERROR, "The process raised"),
    ExitCode.TIMEOUT: (Reason.TIMEOUT, Cause.TIMEOUT, "The attempt took too long"),
    ExitCode.OUT_OF_MEMORY: (Reason.OUT_OF_MEMORY, Cause.OUT_OF_MEMORY, _NO_MEMORY),
    ExitCode.SUPERSEDED: (Reason.SUPERSEDED, None, "The pod was not that of the attempt"),
}
"""Reason, cause and words, where the worker gave none, of the ends that it tells apart."""


def _of_pod(pod: Pod) -> Outcome:
    code = pod.exit_code
    said = TerminationMessage.from_json(pod.termination_message or "")
    words = said.message if said else ""
    if code in _WORKER_ENDS:
        reason, cause, default = _WORKER_ENDS[ExitCode(code)]
        counted = reason is not Reason.SUPERSEDED
        message = default if reason is Reason.COMPLETED else words or default
        return Outcome(reason, message, cause, counted, code)
    if pod.container_reason == "OOMKilled":
        return Outcome(
            Reason.OUT_OF_MEMORY, words or _NO_MEMORY, Cause.OUT_OF_MEMORY, exit_code=code
        )
    if pod.disruption and pod.disruption != BY_KUBELET:
        message = f"The pod was disrupted: {pod.disruption}"
        return Outcome(Reason.DISRUPTED, message, None, False, code)
    # The worker was only told to end; the kubelet knows why.
    words = pod.eviction_message or words
    return Outcome(Reason.CRASH, _crash(pod, words), Cause.CRASH, exit_code=code)


def _crash(pod: Pod, words: str) -> str:
    if words:
        return words
    if pod.exit_code is None:
        return f"The pod failed: {pod.container_reason or 'no reason is given'}" + (
            f" ({pod.termination_message})" if pod.termination_message else ""
        )
    if pod.exit_code > 128:
        return f"The worker was ended by signal {pod.exit_code - 128} (exit code {pod.exit_code})"
    return f"The worker exited with code {pod.exit_code}, unexpectedly"
