"""What the subcommands share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.core.management.base import CommandError

from wpsjobs.api.names import GROUP, VERSION, WPSQUEUE_PLURAL
from wpsjobs.api.queueing import Place, place
from wpsjobs.api.wpsjob import WpsJob
from wpsjobs.api.wpsqueue import WpsQueue
from wpsjobs.eoxserver import config
from wpsjobs.eoxserver.client import Cluster, ClusterError
from wpsjobs.eoxserver.jobs import find_job
from wpsjobs.eoxserver.storage import Storage


@dataclass(frozen=True)
class Instance:
    """Where this instance's jobs are."""

    config: config.Config
    cluster: Cluster
    storage: Storage

    @classmethod
    def load(cls) -> Instance:
        """Raises ImproperlyConfigured."""
        loaded = config.load()
        return cls(
            loaded,
            Cluster(loaded.namespace, loaded.context),
            Storage(loaded.path_temp, loaded.path_perm, loaded.path_task),
        )

    def queue(self, name: str) -> WpsQueue | None:
        """The WpsQueue of that name; None where it cannot be read."""
        path = f"/apis/{GROUP}/{VERSION}/namespaces/{self.cluster.namespace}/{WPSQUEUE_PLURAL}"
        try:
            return WpsQueue.from_raw(self.cluster.raw_get(f"{path}/{name}"))
        except ClusterError:
            return None

    def job(self, job_id: str) -> WpsJob:
        """The WpsJob of that job identifier. Raises CommandError where there is none."""
        job = find_job(self.cluster, job_id)
        if job is None:
            raise CommandError(
                f"There is no WpsJob of the job identifier {job_id!r} in the namespace "
                f"{self.cluster.namespace}."
            )
        return job


def place_of(job: WpsJob, jobs: Iterable[WpsJob], queue: WpsQueue | None) -> Place | None:
    """Where *job* waits in its queue; None where it does not."""
    own = [one for one in jobs if one.spec.queue == job.spec.queue]
    return place(job, own, queue, datetime.now(UTC))


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Text in columns, as kubectl prints it."""
    lines = [list(headings), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    return "\n".join(
        "   ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def age(moment: datetime | None) -> str:
    """How long ago, in one unit or two."""
    if moment is None:
        return ""
    seconds = int((datetime.now(UTC) - moment) / timedelta(seconds=1))
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{max(0, seconds)}s"
