"""What is refused, in which words, and that nothing is left of it."""

from __future__ import annotations

import time

import pytest
import requests
from owslib.util import ServiceException

from tests.cluster.settings import ClusterError
from tests.deployment.release import Release
from tests.deployment.tools import get, kubectl
from tests.e2e.wps import Client, exception_of, until

pytestmark = pytest.mark.usefixtures("nothing_left")


def test_an_unknown_process(client: Client) -> None:
    response = client.kvp("Nonsense")
    code, locator, text = exception_of(response)
    assert (response.status_code, code) == (400, "InvalidParameterValue")
    assert "Nonsense" in (locator or "") + text


def test_a_missing_input(client: Client) -> None:
    response = client.kvp("Echo")
    code, locator, text = exception_of(response)
    assert response.status_code == 400
    assert code in ("MissingParameterValue", "InvalidParameterValue")
    assert "text" in (locator or "") + text


@pytest.mark.parametrize(
    ("process", "inputs", "name"),
    [
        ("Sleep", "seconds=soon", "seconds"),
        ("Hillshade", "azimuth=north", "azimuth"),
        ("Hillshade", "azimuth=720", "azimuth"),
        ("Hillshade", "altitude=-5", "altitude"),
    ],
)
def test_a_malformed_input(client: Client, process: str, inputs: str, name: str) -> None:
    response = client.kvp(process, inputs)
    code, locator, text = exception_of(response)
    assert (response.status_code, code) == (400, "InvalidParameterValue")
    assert name in (locator or "") + text


def test_owslib_is_told_what_is_wrong(client: Client) -> None:
    with pytest.raises(ServiceException, match=r"InvalidParameterValue.*azimuth"):
        client.execute("Hillshade", {"azimuth": "north"})


def test_an_unknown_input(client: Client) -> None:
    response = client.kvp("Echo", "text=a;colour=red")
    code, locator, text = exception_of(response)
    assert (response.status_code, code) == (400, "InvalidParameterValue")
    assert "colour" in (locator or "") + text


def test_status_without_storage(client: Client) -> None:
    response = client.kvp("Echo", "text=a", storeExecuteResponse="")
    code, locator, _ = exception_of(response)
    assert (response.status_code, code, locator) == (400, "InvalidParameterValue", "status")


def test_storage_without_status(client: Client) -> None:
    response = client.kvp("Echo", "text=a", status="")
    code, locator, _ = exception_of(response)
    assert (response.status_code, code, locator) == (400, "InvalidParameterValue", "status")


def test_a_synchronous_execute_of_an_asynchronous_process(client: Client) -> None:
    response = client.kvp("Hillshade", storeExecuteResponse="", status="")
    code, locator, _ = exception_of(response)
    assert (response.status_code, code) == (400, "InvalidParameterValue")
    assert locator == "storeExecuteResponse"


def test_an_operator_that_is_away_means_busy(client: Client, release: Release) -> None:
    operator = f"deployment/{release.name}-operator"
    kubectl("scale", operator, "--replicas=0", "-n", release.namespace)
    try:
        kubectl(
            "wait",
            "--for=delete",
            "pod",
            "-n",
            release.namespace,
            "-l",
            "app.kubernetes.io/component=operator",
        )
        began = time.monotonic()
        response = client.kvp("Echo", "text=a")
        took = time.monotonic() - began
        code, _, text = exception_of(response)
        assert (response.status_code, code) == (503, "ServerBusy")
        assert int(response.headers["Retry-After"]) > 0
        assert "Traceback" not in text
        assert 4 < took < 8, "the accept timeout is 5 s"
    finally:
        kubectl("scale", operator, "--replicas=1", "-n", release.namespace)
        kubectl("rollout", "status", operator, "-n", release.namespace)


def _create(release: Release, spec: str) -> str:
    manifest = f"""
apiVersion: wps.eoxserver.org/v1alpha1
kind: WpsJob
metadata: {{generateName: bad-, namespace: {release.namespace}}}
spec: {spec}
"""
    return kubectl("create", "-f", "-", "-o", "name", stdin=manifest).strip()


def test_a_wpsjob_of_an_unknown_process_fails_and_names_those_there_are(release: Release) -> None:
    resource = _create(release, "{process: Nonsense}")
    try:
        kubectl("wait", "--for=condition=Failed", resource, "-n", release.namespace)
        status = get(resource, "-n", release.namespace)["status"]
        assert (status["phase"], status["reason"]) == ("Failed", "UnknownProcess")
        for process in ("Nonsense", "Hillshade", "NDVI", "Statistics", "Echo"):
            assert process in status["message"]
    finally:
        kubectl("delete", resource, "-n", release.namespace)


@pytest.mark.parametrize("field", ["image: evil", "command: [sh]", "serviceAccountName: admin"])
def test_a_wpsjob_that_names_an_image_or_a_command_is_refused(release: Release, field: str) -> None:
    with pytest.raises(ClusterError, match="names a process only"):
        _create(release, f"{{process: Echo, {field}}}")


def test_a_malformed_request_in_a_wpsjob_made_by_hand(client: Client, release: Release) -> None:
    spec = "{process: Sleep, execute: {inputs: [{id: seconds, data: soon}]}}"
    resource = _create(release, spec)
    try:
        kubectl("wait", "--for=condition=Failed", resource, "-n", release.namespace)
        status = get(resource, "-n", release.namespace)["status"]
        assert (status["phase"], status["reason"]) == ("Failed", "ClientError")
        assert "seconds" in status["message"]
        assert status["restarts"] == 0
    finally:
        kubectl("delete", resource, "-n", release.namespace)
        name = resource.partition("/")[2]
        response = f"{release.url}/results/{name}/executeResponse.xml"
        until(lambda: _gone(response), "the results of the deleted WpsJob to go")


def _gone(url: str) -> bool:
    return requests.get(url, timeout=30).status_code == 404
