"""``kubectl wps submit``."""

from __future__ import annotations

import difflib
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import uuid4

import typer

from wpsjobs.api.names import (
    API_VERSION,
    DEFAULT_QUEUE,
    DEFAULT_WPS_VERSION,
    WPSJOB_KIND,
    is_valid_job_id,
    resource_name,
)
from wpsjobs.api.phases import Phase
from wpsjobs.api.request import ExecuteRequest
from wpsjobs.api.wpsjob import WpsJob
from wpsjobs.api.wpsprocess import WpsProcess
from wpsjobs.cli import completion, inputs, wps
from wpsjobs.cli.cluster import Cluster, Raw
from wpsjobs.cli.commands.status import check_success, watch_to_end
from wpsjobs.cli.common import Output, Queue, read_queues, say
from wpsjobs.cli.errors import (
    ConflictError,
    ForbiddenError,
    NotFoundError,
    RefusedError,
    TimedOutError,
    UnreachableError,
    UsageError,
)
from wpsjobs.cli.records import status_record
from wpsjobs.cli.render import Format, duration, print_data

VERDICT_SECONDS = 10.0
"""For which the operator's verdict is waited for; it comes within a fraction of a second."""


@dataclass(frozen=True)
class Order:
    """What is to be done besides the request itself."""

    process: str
    queue: str | None
    job_id: str | None
    priority: int
    timeout: int | None


def submit(
    cluster: Cluster,
    process: Annotated[
        str,
        typer.Argument(
            help="Identifier of the process.",
            autocompletion=completion.processes,
            show_default=False,
        ),
    ],
    given: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...",
            help="Inputs: a value, KEY=@FILE (- is standard input) for what a file has, "
            "KEY=@https://… for what the job is to fetch, KEY=@@… for a value that begins with @.",
            show_default=False,
        ),
    ] = None,
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            metavar="KEY=MIMETYPE[@encoding=…][@schema=…][@uom=…]",
            help="Format of an input; may be repeated.",
        ),
    ] = None,
    returns: Annotated[
        list[str] | None,
        typer.Option(
            "--return",
            metavar="OUTPUT[@mimeType=…][@asReference=true]",
            help="An output that is wanted, and how; may be repeated. By default all.",
        ),
    ] = None,
    queue: Queue = None,
    url: Annotated[
        str | None,
        typer.Option(
            "--url",
            help="Send it to this WPS, such as https://…/ows, which checks the inputs and takes "
            "large ones; by default the WpsJob is made in the cluster.",
        ),
    ] = None,
    job_id: Annotated[
        str | None, typer.Option("--id", help="WPS job identifier; by default a UUID.")
    ] = None,
    priority: Annotated[int, typer.Option("--priority", help="Higher ones start first.")] = 0,
    timeout: Annotated[
        int | None,
        typer.Option("--timeout", min=1, help="Seconds that an attempt may run for."),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", "-w", help="Watch it to its end; 5 means that it failed.")
    ] = False,
    output: Output = Format.TABLE,
) -> None:
    """Execute a process asynchronously. Prints the job's identifier."""
    if wait and output is not Format.TABLE:
        raise UsageError("--wait is for people: leave --output out, and see it by status.")
    request, complex_ids = inputs.parse_request(given or [], formats or [], returns or [])
    order = Order(process, queue, job_id, priority, timeout)
    if url is None:
        job = _create(cluster, order, request)
    else:
        job = _send(cluster, url, order, request, complex_ids)
    if output is not Format.TABLE:
        print_data(status_record(job, read_queues(cluster, job.spec.queue)), output)
        return
    print(job.id, flush=True)
    if wait:
        check_success(watch_to_end(cluster, job.metadata.name, None))
    else:
        _say_what_next(cluster, job)


def _create(cluster: Cluster, order: Order, request: ExecuteRequest) -> WpsJob:
    """Make the WpsJob in the cluster. Raises RefusedError where nothing is left of it."""
    inputs.check_fits(request)
    job_id = order.job_id or str(uuid4())
    if not is_valid_job_id(job_id):
        raise UsageError(
            f"--id {job_id!r} cannot be a job identifier: letters, digits, dots, dashes and "
            "underscores, 128 at most."
        )
    body = build_body(job_id, order, request, queue=_queue(cluster, order), user=cluster.user())
    return _verdict(cluster, _post(cluster, body))


def build_body(
    job_id: str, order: Order, request: ExecuteRequest, *, queue: str, user: str | None
) -> Raw:
    """The WpsJob, as the EOxServer plugin makes it for a request that fits.

    There is no response URL, which only the instance knows, and no time to be accepted before: the
    user sees what becomes of it.
    """
    name = resource_name(job_id)
    spec: dict[str, Any] = {} if name == job_id else {"id": job_id}
    spec |= {
        "process": order.process,
        "version": DEFAULT_WPS_VERSION,
        "queue": queue,
        # So that a creation can be repeated whose answer was lost.
        "submission": str(uuid4()),
    }
    if execute := request.to_json():
        spec["execute"] = execute
    if user is not None:
        spec["owner"] = {"user": user[:256]}
    if order.priority:
        spec["priority"] = order.priority
    if order.timeout is not None:
        spec["timeoutSeconds"] = order.timeout
    return {
        "apiVersion": API_VERSION,
        "kind": WPSJOB_KIND,
        "metadata": {"name": name},
        "spec": spec,
    }


def _queue(cluster: Cluster, order: Order) -> str:
    """The queue that was asked for, else that of the process. Raises NotFoundError."""
    try:
        processes = [WpsProcess.from_raw(raw) for raw in cluster.processes()]
    except ForbiddenError:
        return order.queue or DEFAULT_QUEUE  # the operator will say whether there is one
    known = {one.identifier: one for one in processes}
    if order.process not in known:
        close = difflib.get_close_matches(order.process, known, 1, 0.5)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise NotFoundError(
            f"There is no process {order.process!r} in the namespace {cluster.namespace!r}.{hint} "
            f"There are: {', '.join(sorted(known)) or 'none'}."
        )
    return order.queue or known[order.process].queue or DEFAULT_QUEUE


def _post(cluster: Cluster, body: Raw) -> Raw:
    try:
        return cluster.create_job(body)
    except UnreachableError:
        # It may have been made all the same.
        try:
            existing = cluster.job(body["metadata"]["name"])
        except NotFoundError:
            return cluster.create_job(body)
        if existing["spec"].get("submission") == body["spec"]["submission"]:
            return existing
        raise
    except ConflictError as error:
        raise ConflictError(
            f"The job identifier {body['metadata']['name']!r} is already used in the namespace "
            f"{cluster.namespace!r}: choose another --id."
        ) from error


def _verdict(cluster: Cluster, raw: Raw) -> WpsJob:
    """The WpsJob as the operator has accepted it."""
    name, end = raw["metadata"]["name"], time.monotonic() + VERDICT_SECONDS
    while True:
        for raw in cluster.follow_job(name, max(1.0, end - time.monotonic())):  # noqa: PLR1704 (the newest counts)
            job = WpsJob.from_raw(raw)
            if job.status.phase is not None:
                _take_back_refused(cluster, raw, job)
                return job
        if time.monotonic() >= end:
            raise TimedOutError(
                f"The WpsJob {name!r} is made, but the operator has not said within "
                f"{VERDICT_SECONDS:.0f} s whether it accepts it; it will when it is back. Does it "
                f"run? kubectl get pods -n {cluster.namespace}. To take the WpsJob back: kubectl "
                f"delete wpsjob {name} -n {cluster.namespace}"
            )


def _take_back_refused(cluster: Cluster, raw: Raw, job: WpsJob) -> None:
    """As after a refused Execute, nothing is left."""
    refused = job.status.phase in {Phase.REJECTED, Phase.FAILED} and job.status.accepted_at is None
    if not refused:
        return
    left = ""
    try:
        cluster.delete_job(raw)
    except NotFoundError:
        pass
    except (ForbiddenError, ConflictError, UnreachableError) as error:
        left = f" The refused WpsJob {job.metadata.name!r} is still there: {error}"
    raise RefusedError(
        f"The process {job.spec.process!r} is not executed ({job.status.reason}): "
        f"{(job.status.message or '').rstrip('.')}.{left}"
    )


def _send(
    cluster: Cluster,
    url: str,
    order: Order,
    request: ExecuteRequest,
    complex_ids: frozenset[str],
) -> WpsJob:
    """Send an Execute to the service."""
    options = {
        "--queue": order.queue,
        "--id": order.job_id,
        "--priority": order.priority,
        "--timeout": order.timeout,
    }
    if given := [name for name, value in options.items() if value]:
        raise UsageError(f"{given[0]} goes without --url: a WPS knows of no such thing.")
    job_id = wps.send_execute(url, wps.execute_document(order.process, request, complex_ids))
    try:
        return WpsJob.from_raw(cluster.job(job_id))
    except NotFoundError as error:
        raise NotFoundError(
            f"The service at {url} has accepted the job {job_id!r}, but it is not in the namespace "
            f"{cluster.namespace!r}: name the service's own by --namespace and --context."
        ) from error


def _say_what_next(cluster: Cluster, job: WpsJob) -> None:
    place = read_queues(cluster, job.spec.queue).place(job)
    if place is not None:
        words = f"It waits at place {place.position} of the queue {job.spec.queue!r}."
        if place.expected_start is not None:
            left = (place.expected_start - datetime.now(UTC)).total_seconds()
            words += f" It starts in about {duration(left)}."
        say(words)
    say(f"Follow it: kubectl wps status {job.id} --watch -n {cluster.namespace}")
