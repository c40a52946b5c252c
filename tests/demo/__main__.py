"""``make demo``: three Executes sent with OWSLib, watched, fetched and rendered."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
from owslib.wps import ASYNC, WebProcessingService, WPSExecution
from rich.console import Console

from tests.cluster.settings import REPOSITORY
from tests.demo.pictures import render_grey, render_ndvi
from tests.deployment.release import Release
from tests.deployment.tools import kubectl

OUTPUT = REPOSITORY / "demo-output"
DEADLINE_SECONDS = 120.0
POLL_SECONDS = 0.5
console = Console(highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class Request:
    """One Execute of the demonstration."""

    process: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    references: tuple[str, ...] = ()
    """Outputs asked for by reference."""


REQUESTS = (
    Request("Hillshade", {"azimuth": "315", "altitude": "45"}, ("hillshade",)),
    Request("NDVI", references=("ndvi",)),
    Request("Statistics"),
    Request("Sleep", {"seconds": "5"}),
    Request("Fail", {"message": "as asked, to show what a failure looks like"}),
)


def main() -> None:
    """Exit code 1 where an Execute does not end as it should."""
    release = Release()
    OUTPUT.mkdir(exist_ok=True)
    console.rule("Executes")
    wps = WebProcessingService(release.wps_url, version="1.0.0", skip_caps=True)
    executions = {request.process: _send(wps, request) for request in REQUESTS}
    console.rule("kubectl get wpsjobs, as they move")
    _watch(release, executions)
    console.rule("Results")
    for request in REQUESTS:
        _report(request.process, executions[request.process])
    console.rule("What to try next")
    console.print(_hints(release), markup=False)
    failed = {name for name, execution in executions.items() if not execution.isSucceded()}
    if failed != {"Fail"}:
        raise SystemExit(f"these should have succeeded and did not: {sorted(failed - {'Fail'})}")


def _send(wps: WebProcessingService, request: Request) -> WPSExecution:
    execution = wps.execute(
        request.process,
        inputs=list(request.inputs.items()),
        output=[(name, True) for name in request.references],
        mode=ASYNC,
    )
    words = " ".join(f"{key}={value}" for key, value in request.inputs.items())
    console.print(f"{request.process} {words} → {execution.status}, {execution.statusLocation}")
    return execution


def _watch(release: Release, executions: Mapping[str, WPSExecution]) -> None:
    """Print the table of WpsJobs whenever it changes, until all are done."""
    names = [str(one.statusLocation).split("/")[-2] for one in executions.values()]
    shown, deadline = "", time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        table = kubectl("get", "wpsjobs", *names, "-n", release.namespace)
        ages_off = "\n".join(line.rsplit(maxsplit=1)[0] for line in table.splitlines())
        if ages_off != shown:
            console.print(table, markup=False)
            shown = ages_off
        waiting = [one for one in executions.values() if not one.isComplete()]
        if not waiting:
            return
        for execution in waiting:
            execution.checkStatus(sleepSecs=0)
        time.sleep(POLL_SECONDS)
    hint = f"kubectl -n {release.namespace} describe wpsjobs"
    raise SystemExit(f"not done after {DEADLINE_SECONDS:.0f} s; see {hint}")


def _report(process: str, execution: WPSExecution) -> None:
    if not execution.isSucceded():
        words = "; ".join(error.text.strip() for error in execution.errors)
        console.print(f"{process}: {execution.status}: {words}", markup=False)
        return
    for output in execution.processOutputs:
        console.print(f"{process}.{output.identifier}: {_fetch(process, output)}", markup=False)


def _fetch(process: str, output: Any) -> str:
    """The value of an output in words; a raster is saved and rendered."""
    if not output.reference:
        value = " ".join(str(part) for part in output.data)
        return value if len(value) <= 200 else f"{value[:200]} …"
    answer = requests.get(output.reference, timeout=30)
    answer.raise_for_status()
    raster = OUTPUT / f"{process.lower()}.tif"
    raster.write_bytes(answer.content)
    picture = raster.with_suffix(".png")
    (render_ndvi if process == "NDVI" else render_grey)(raster, picture)
    return f"{output.reference}\n  saved as {_relative(raster)}, rendered as {_relative(picture)}"


def _relative(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def _hints(release: Release) -> str:
    execute = "service=WPS&version=1.0.0&request=Execute&storeExecuteResponse=true&status=true"
    return f"""\
  eval "$(.venv/bin/python -m tests.cluster env)"      # kubectl and helm for this cluster
  kubectl get wpsjobs -n {release.namespace} -o wide
  kubectl describe wpsjobs -n {release.namespace}
  curl '{release.wps_url}?service=WPS&version=1.0.0&request=GetCapabilities'
  curl '{release.wps_url}?{execute}&identifier=Sleep&DataInputs=seconds=20'
  make cluster-down                                    # stop it all and leave nothing behind"""


if __name__ == "__main__":
    main()
