"""``kubectl wps result``."""

from __future__ import annotations

import contextlib
import mimetypes
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote

import typer

from wpsjobs.api.phases import Phase
from wpsjobs.api.wpsjob import WpsJob
from wpsjobs.cli import wps
from wpsjobs.cli.cluster import Cluster
from wpsjobs.cli.commands.status import check_success
from wpsjobs.cli.common import Job, say
from wpsjobs.cli.errors import (
    CliError,
    NotFoundError,
    UnreachableError,
    UsageError,
    WrongPhaseError,
)
from wpsjobs.cli.housekeeper import RESPONSE, Housekeeper
from wpsjobs.cli.render import Column, Format, print_data, print_table

COLUMNS = (
    Column("OUTPUT"),
    Column("KIND", 2),
    Column("FORMAT", 1),
    Column("VALUE"),
)
MOST_SHOWN = 200
"""Characters of a value in the table."""


def result(
    cluster: Cluster,
    job: Job,
    wanted: Annotated[
        str | None,
        typer.Argument(metavar="[OUTPUT]", help="Identifier of one output.", show_default=False),
    ] = None,
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="table|json|yaml|FILE|FOLDER/",
            help="What to print, or the file to download to: the output, or all into a folder.",
        ),
    ] = Format.TABLE.value,
    document: Annotated[
        bool, typer.Option("--document", help="The whole response document, as it is.")
    ] = False,
) -> None:
    """Print what a WpsJob came to: values, URLs, the document; or download it."""
    if document and wanted:
        raise UsageError("--document is the whole response: leave the OUTPUT out.")
    found = WpsJob.from_raw(cluster.job(job))
    _check_finished(cluster, found)
    if not document:
        check_success(found)
    store = Store(cluster, found)
    if document:
        _deliver(store.document, output)
        return
    results = _chosen(wps.read_results(store.document), wanted, found)
    if output in list(Format):
        _print(results, Format(output), only=wanted is not None)
        return
    target = Path(output)
    if output.endswith("/") or target.is_dir():
        for one in results:
            _save(store, one, target / _file_name(one))
    elif len(results) != 1:
        names = ", ".join(one.id for one in results)
        raise UsageError(
            f"The WpsJob {found.id!r} has {len(results)} outputs: name one of {names}, or a folder "
            f"for all: --output {output}/"
        )
    else:
        _save(store, results[0], target)


class Store:
    """Where the results of one WpsJob are: behind the housekeeper, or at their URLs."""

    def __init__(self, cluster: Cluster, job: WpsJob) -> None:
        self._job = job
        self._housekeeper = Housekeeper(cluster)
        self.document, self._base = self._read_document()

    def _read_document(self) -> tuple[bytes, str | None]:
        """The response, and the URL of the folder it is in, as far as it is known."""
        url = self._job.spec.response_url
        try:
            with self._housekeeper.file(self._job, RESPONSE) as published:
                document = b"".join(published.content)
                url = published.url or url
        except CliError as error:
            if url is None:
                raise CliError(
                    f"The response of the WpsJob {self._job.id!r} cannot be read: {error}"
                ) from error
            with _both(error), wps.fetch(url) as content:
                document = b"".join(content)
        return document, url.rpartition("/")[0] + "/" if url else None

    @contextlib.contextmanager
    def open(self, href: str) -> Iterator[Iterable[bytes]]:
        """What is at the URL *href*: from there, else from the housekeeper, if it has it."""
        with contextlib.ExitStack() as stack:
            try:
                content: Iterable[bytes] = stack.enter_context(wps.fetch(href))
            except UnreachableError as error:
                if self._base is None or not href.startswith(self._base):
                    raise
                path = unquote(href.removeprefix(self._base))
                with _both(error):
                    content = stack.enter_context(self._housekeeper.file(self._job, path)).content
            yield content


@contextlib.contextmanager
def _both(first: CliError) -> Iterator[None]:
    """An error of the second way says what was wrong with the first."""
    try:
        yield
    except CliError as error:
        raise type(error)(f"{error} Before: {first}") from error


def _check_finished(cluster: Cluster, job: WpsJob) -> None:
    if job.status.phase is Phase.REJECTED:
        check_success(job)
    if not job.finished:
        raise WrongPhaseError(
            f"The WpsJob {job.id!r} is {job.status.phase or 'new'} and has no result yet. Wait for "
            f"it: kubectl wps status {job.id} --watch -n {cluster.namespace}"
        )


def _chosen(results: Sequence[wps.Result], wanted: str | None, job: WpsJob) -> list[wps.Result]:
    chosen = [one for one in results if wanted in {None, one.id}]
    if wanted is not None and not chosen:
        names = ", ".join(one.id for one in results) or "none"
        raise NotFoundError(
            f"The WpsJob {job.id!r} has no output {wanted!r}. Its outputs: {names}."
        )
    return chosen


def _print(results: Sequence[wps.Result], form: Format, *, only: bool) -> None:
    if form is not Format.TABLE:
        print_data([_record(one) for one in results], form)
    elif only:
        (one,) = results
        sys.stdout.write(one.value if one.value.endswith("\n") else f"{one.value}\n")
    else:
        print_table(COLUMNS, (_row(one) for one in results))


def _row(one: wps.Result) -> list[str]:
    value = " ".join(one.value.split())
    shown = value if one.kind == "reference" or len(value) <= MOST_SHOWN else _cut(value)
    unit = f" {one.uom}" if one.uom else ""
    return [one.id, one.kind, one.mime_type or "", f"{shown}{unit}"]


def _cut(value: str) -> str:
    return f"{value[:MOST_SHOWN]}… ({len(value)} characters)"


def _record(one: wps.Result) -> dict[str, str]:
    record = {
        "output": one.id,
        "kind": one.kind,
        "mimeType": one.mime_type,
        "encoding": one.encoding,
        "uom": one.uom,
        "value": one.value,
    }
    return {key: value for key, value in record.items() if value is not None}


def _deliver(document: bytes, output: str) -> None:
    if output == Format.TABLE:
        sys.stdout.buffer.write(document)
        sys.stdout.buffer.flush()
    elif output in list(Format):
        raise UsageError("The document is XML: leave --output out, or name a file.")
    else:
        _write(Path(output), [document], "the response document")


def _save(store: Store, one: wps.Result, path: Path) -> None:
    if one.kind != "reference":
        _write(path, [one.content], f"the output {one.id!r}")
        return
    with store.open(one.value) as content:
        _write(path, content, f"the output {one.id!r}")


def _write(path: Path, content: Iterable[bytes], what: str) -> None:
    """Write a file, or standard output for ``-``; half a file is never left under its name."""
    if str(path) == "-":
        for piece in content:
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        return
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            size = sum(file.write(piece) for piece in content)
        part.replace(path)
    except OSError as error:
        raise CliError(f"{path} cannot be written: {error.strerror}.") from error
    finally:
        part.unlink(missing_ok=True)
    say(f"{path}: {size} bytes, {what}")


def _file_name(one: wps.Result) -> str:
    """Of a reference its own, else the identifier with what fits its format."""
    if one.kind == "reference":
        name = one.value.partition("?")[0].rstrip("/").rpartition("/")[2]
    else:
        suffix = mimetypes.guess_extension(one.mime_type or "text/plain") or ""
        name = f"{one.id}{suffix}".replace("/", "_")
    return name if name.strip(".") else "output"
