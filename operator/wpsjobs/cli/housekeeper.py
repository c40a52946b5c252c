"""What is read of the shared volume, through the housekeeper: docs/decisions/0030."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote

from wpsjobs.api.wpsjob import WpsJob
from wpsjobs.cli.cluster import About, Cluster
from wpsjobs.cli.errors import NotFoundError

SELECTOR = "app.kubernetes.io/name=wpsjobs,app.kubernetes.io/component=housekeeper"
PORT = "http"
RESPONSE = "executeResponse.xml"


@dataclass(frozen=True)
class Published:
    """A published file: its content in pieces, and its public URL where it is known."""

    content: Iterator[bytes]
    url: str | None


class Housekeeper:
    """The housekeeper of a namespace. Methods raise CliError."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._service: str | None = None

    @contextlib.contextmanager
    def log(self, job: WpsJob, attempt: int) -> Iterator[Iterator[bytes]]:
        """The kept log of an attempt, in pieces."""
        about = About(f"the kept log of attempt {attempt} of the WpsJob {job.id!r}")
        with self._read(job, f"logs/{attempt}", about) as published:
            yield published.content

    @contextlib.contextmanager
    def file(self, job: WpsJob, path: str) -> Iterator[Published]:
        """A file that the job has published, such as its response document."""
        about = About(f"the file {path!r} of the WpsJob {job.id!r}")
        with self._read(job, f"files/{path}", about) as published:
            yield published

    @contextlib.contextmanager
    def _read(self, job: WpsJob, rest: str, about: About) -> Iterator[Published]:
        # Its UID shows that the user may read the WpsJob: others do not know it.
        path = f"/jobs/{job.metadata.name}/{job.metadata.uid}/{quote(rest)}"
        service = f"{self._name()}:{PORT}"
        with self._cluster.through_service(service, path, about) as (headers, content):
            yield Published(content, headers.get("Content-Location"))

    def _name(self) -> str:
        """Name of its Service."""
        if self._service is None:
            found = self._cluster.services(SELECTOR)
            if not found:
                raise NotFoundError(
                    f"There is no housekeeper in the namespace {self._cluster.namespace!r}, which "
                    f"has the kept logs and results: no Service has the labels {SELECTOR}."
                )
            self._service = found[0]
        return self._service
