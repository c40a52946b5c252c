"""The tracker of this process, with its tasks in a namespace of the tests' own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from tests.deployment.tools import environment
from tests.integration.kube import Space
from wpsjobs import tracker
from wpsjobs.tracker.names import task_name

HANDLER = "tests.contract.handlers.note"


class Tracked:
    """A queue of tasks and what a test does beside the tracker's functions."""

    def __init__(self, space: Space, folder: Path, queue: str) -> None:
        self.space, self.folder, self.queue = space, folder, queue

    def type(self, **parameters: float) -> str:
        """A new task type."""
        identifier = f"Type {uuid4().hex[:8]}"
        tracker.registerTaskType(identifier, HANDLER, **parameters)  # type: ignore[arg-type]
        return identifier

    def finish(self, kind: str, identifier: str, code: int = 0, attempt: int = 1) -> None:
        """Let the pod of an attempt run and end, as its worker would."""
        kubernetes_job = f"{task_name(kind, identifier)}-{attempt}"
        self.space.run_pod(kubernetes_job)
        self.space.end_pod(kubernetes_job, code)

    def until(self, kind: str, identifier: str, text: str) -> None:
        """Wait until the task has that status."""
        self.space.wait(
            lambda: tracker.getTaskStatusByIdentifier(kind, identifier)[1] == text,
            f"{identifier} {text}",
        )

    def environment(self) -> dict[str, str]:
        """Of a process that is to have the same tasks."""
        # Without the instance that tests of the plugin in the same process may have chosen.
        inherited = environment()
        inherited.pop("DJANGO_SETTINGS_MODULE", None)
        return {
            **inherited,
            "WPSJOBS_NAMESPACE": self.space.name,
            "WPSJOBS_PATH_TASK": str(self.folder / "task"),
            "WPSJOBS_TRACKER_QUEUE": self.queue,
        }


@contextmanager
def tracked(space: Space, folder: Path, queue: str) -> Iterator[Tracked]:
    """The tracker's functions are about that namespace and queue meanwhile."""
    (folder / "task").mkdir(exist_ok=True)
    (folder / "temp").mkdir(exist_ok=True)
    one = Tracked(space, folder, queue)
    with pytest.MonkeyPatch.context() as patch:
        for key, value in one.environment().items():
            patch.setenv(key, value)
        # Kubernetes' client reads KUBECONFIG when it is imported.
        location = "kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION"
        patch.setattr(location, environment()["KUBECONFIG"])
        tracker.close()
        try:
            yield one
        finally:
            tracker.close()
