"""A WPS client for the tests: OWSLib, and plain HTTP for what OWSLib would not send."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import requests
from lxml import etree
from owslib.wps import ASYNC, WebProcessingService, WPSExecution

from tests.deployment.release import Release
from tests.deployment.tools import get

NAMESPACES = {
    "wps": "http://www.opengis.net/wps/1.0.0",
    "ows": "http://www.opengis.net/ows/1.1",
    "xlink": "http://www.w3.org/1999/xlink",
}
_T = TypeVar("_T")


def until(found: Callable[[], _T | None], what: str, seconds: float = 90.0) -> _T:
    """Poll *found* until it answers; fails with *what* was waited for."""
    deadline = time.monotonic() + seconds
    while True:
        answer = found()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not after {seconds:.0f} s: {what}")
        time.sleep(0.2)


@dataclass(frozen=True)
class Client:
    """A client of the service of a release."""

    release: Release

    def execute(
        self, process: str, inputs: Mapping[str, str] | None = None, *references: str
    ) -> WPSExecution:
        """Send an asynchronous Execute by POST, as OWSLib does."""
        service = WebProcessingService(self.release.wps_url, version="1.0.0", skip_caps=True)
        outputs = [(name, True) for name in references]
        return service.execute(
            process, inputs=list((inputs or {}).items()), output=outputs, mode=ASYNC
        )

    def kvp(self, process: str, data_inputs: str = "", **parameters: str) -> requests.Response:
        """Send an Execute by GET; *parameters* replace or, where empty, remove those of ours."""
        query = {
            "service": "WPS",
            "version": "1.0.0",
            "request": "Execute",
            "identifier": process,
            "storeExecuteResponse": "true",
            "status": "true",
            "DataInputs": data_inputs,
        } | parameters
        # EOxServer splits DataInputs in the raw query, so that = and ; must not be escaped.
        text = "&".join(f"{key}={value}" for key, value in query.items() if value)
        return requests.get(f"{self.release.wps_url}?{text}", timeout=30)

    def finish(self, execution: WPSExecution, seconds: float = 120.0) -> WPSExecution:
        """Poll the status document until it is final."""

        def final() -> bool:
            execution.checkStatus(sleepSecs=0)
            return bool(execution.isComplete())

        until(final, f"the end of {execution.process}", seconds)
        return execution

    def wpsjob(self, name: str) -> dict:
        """The WpsJob resource."""
        return get("wpsjob", name, "-n", self.release.namespace)

    def wpsjobs(self) -> set[str]:
        """Names of all WpsJobs."""
        items = get("wpsjobs", "-n", self.release.namespace)["items"]
        return {item["metadata"]["name"] for item in items}


def stored_status(execution: WPSExecution) -> str:
    """The status in the stored document; OWSLib says "Exception" for ProcessFailed."""
    document = etree.fromstring(requests.get(execution.statusLocation, timeout=30).content)
    return str(etree.QName(document.find("wps:Status", NAMESPACES)[0]).localname)


def job_id(execution: WPSExecution) -> str:
    """The job's identifier: the last folder of the status location."""
    return str(execution.statusLocation).rstrip("/").split("/")[-2]


def exception_of(response: requests.Response) -> tuple[str, str | None, str]:
    """Code, locator and text of an OWS exception report."""
    exception = etree.fromstring(response.content).find(".//ows:Exception", NAMESPACES)
    assert exception is not None, response.text
    text = exception.findtext("ows:ExceptionText", "", NAMESPACES)
    return exception.get("exceptionCode"), exception.get("locator"), text
