"""The main job: an Execute becomes a WpsJob, a pod runs it, the client gets the result."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import requests
from lxml import etree
from osgeo import gdal

from tests.cluster.settings import REPOSITORY
from tests.demo.pictures import render_grey
from tests.deployment.release import Release
from tests.deployment.tools import get, kubectl
from tests.e2e.wps import NAMESPACES, Client, job_id, stored_status, until

gdal.UseExceptions()
DATA = REPOSITORY / "examples" / "data"


def _download(url: str, path: Path) -> Path:
    answer = requests.get(url, timeout=30)
    answer.raise_for_status()
    assert answer.headers["Content-Type"].startswith("image/tiff")
    path.write_bytes(answer.content)
    return path


def test_hillshade_is_the_relief_of_olinda(client: Client, tmp_path: Path) -> None:
    execution = client.finish(
        client.execute("Hillshade", {"azimuth": "315", "altitude": "45"}, "hillshade")
    )
    assert execution.isSucceded(), [error.text for error in execution.errors]
    (output,) = execution.processOutputs
    assert output.reference.startswith(client.release.url)
    result = gdal.Open(str(_download(output.reference, tmp_path / "hillshade.tif")))
    dem = str(DATA / "olinda_dem_utm25s.tif")
    expected = gdal.DEMProcessing(
        "/vsimem/expected.tif", dem, "hillshade", azimuth=315, altitude=45, computeEdges=True
    )
    assert result.GetGeoTransform() == expected.GetGeoTransform()
    assert result.GetSpatialRef().IsSame(expected.GetSpatialRef())
    np.testing.assert_array_equal(result.ReadAsArray(), expected.ReadAsArray())
    picture = render_grey(tmp_path / "hillshade.tif", tmp_path / "hillshade.png")
    assert picture.stat().st_size > 10_000


def test_ndvi_and_its_mean_are_those_of_the_scene(client: Client, tmp_path: Path) -> None:
    execution = client.finish(client.execute("NDVI", {}, "ndvi"))
    assert execution.isSucceded(), [error.text for error in execution.errors]
    outputs = {output.identifier: output for output in execution.processOutputs}
    ndvi = gdal.Open(str(_download(outputs["ndvi"].reference, tmp_path / "n.tif"))).ReadAsArray()
    bands = gdal.Open(str(DATA / "L7_ETMs.tif")).ReadAsArray().astype(float)
    red, near_infrared = bands[2], bands[3]
    expected = (near_infrared - red) / (near_infrared + red)
    np.testing.assert_allclose(ndvi, expected, atol=1e-5)
    assert float(outputs["mean"].data[0]) == pytest.approx(expected.mean(), abs=1e-4)


def test_statistics_are_those_of_eoxserver_on_a_coverage(client: Client) -> None:
    execution = client.finish(client.execute("Statistics"))
    assert execution.isSucceded(), [error.text for error in execution.errors]
    (output,) = execution.processOutputs
    assert "MEAN" in str(output.data) or output.reference


@pytest.mark.parametrize("process", ["Hillshade", "NDVI", "Statistics"])
def test_an_execute_without_inputs_works(client: Client, process: str) -> None:
    response = client.kvp(process)
    assert response.status_code == 200, response.text
    document = etree.fromstring(response.content)
    assert document.find("wps:Status/wps:ProcessAccepted", NAMESPACES) is not None
    location = document.get("statusLocation")

    def final() -> str | None:
        status = etree.fromstring(requests.get(location, timeout=30).content)
        child = status.find("wps:Status", NAMESPACES)[0]
        name = etree.QName(child).localname
        return name if name in ("ProcessSucceeded", "ProcessFailed") else None

    assert until(final, f"the end of {process}") == "ProcessSucceeded"


PHASES_IN_ORDER = ("Accepted", "Scheduled", "Started", "Succeeded")


def test_the_wpsjob_tells_the_whole_story(client: Client, release: Release) -> None:
    execution = client.finish(client.execute("Echo", {"text": "grüße, мир"}))
    assert execution.processOutputs[0].data == ["grüße, мир"]
    name = job_id(execution)
    job = until(
        lambda: (j := client.wpsjob(name))["status"]["phase"] == "Succeeded" and j,
        "the phase Succeeded",
    )
    status = job["status"]
    assert status["progress"]["percent"] == 100
    assert status["attempt"] == 1
    assert status["restarts"] == 0
    phases = [entry["phase"] for entry in status["history"]]
    # A free slot needs no wait in the queue; and a busy kubelet may tell start and end at once.
    assert [phase for phase in phases if phase not in ("Accepted", "Started")] == [
        "Scheduled",
        "Succeeded",
    ]
    assert phases == [phase for phase in PHASES_IN_ORDER if phase in phases]
    times = [status[key][:19] for key in ("scheduledAt", "startedAt", "finishedAt")]
    assert times == sorted(times), "to the second, as the kubelet tells them"
    assert status["attempts"][0]["exitCode"] == 0
    assert {c["type"] for c in status["conditions"] if c["status"] == "True"} == {
        "Accepted",
        "Complete",
    }
    row = kubectl("get", "wpsjob", name, "-n", release.namespace).splitlines()
    assert row[0].split() == ["NAME", "PROCESS", "PHASE", "PROGRESS", "RESTARTS", "QUEUE", "AGE"]
    assert row[1].split()[1:6] == ["Echo", "Succeeded", "100", "0", "default"]
    assert job["spec"]["execute"]["inputs"][0]["data"] == "grüße, мир"


def test_progress_is_seen_on_the_way(client: Client) -> None:
    execution = client.execute("Sleep", {"seconds": "6"})
    name, seen_percent, seen_phases = job_id(execution), set(), []

    def final() -> bool:
        execution.checkStatus(sleepSecs=0)
        if execution.status not in seen_phases:
            seen_phases.append(execution.status)
        if execution.status == "ProcessStarted":
            seen_percent.add(int(execution.percentCompleted))
        return bool(execution.isComplete())

    until(final, "the end of Sleep")
    assert execution.isSucceded()
    assert seen_phases[-2:] == ["ProcessStarted", "ProcessSucceeded"]
    assert len(seen_percent) >= 4, seen_percent
    assert all(0 <= percent < 100 for percent in seen_percent)
    assert client.wpsjob(name)["status"]["progress"]["percent"] == 100


def test_a_raise_of_the_process_is_its_failed_document(client: Client) -> None:
    execution = client.finish(client.execute("Fail", {"message": "the swamp is deep"}))
    assert stored_status(execution) == "ProcessFailed"
    (error,) = execution.errors
    assert "the swamp is deep" in error.text
    assert (error.code, error.locator) == ("NoApplicableCode", "RuntimeError")
    status = client.wpsjob(job_id(execution))["status"]
    assert (status["phase"], status["reason"]) == ("Failed", "ProcessError")
    assert "the swamp is deep" in status["message"]
    assert status["restarts"] == 0, "a raise is the process's own answer and is not repeated"


def test_a_killed_process_is_relaunched_up_to_the_limit(client: Client) -> None:
    execution = client.finish(client.execute("Crash"), seconds=180)
    assert stored_status(execution) == "ProcessFailed"
    status = client.wpsjob(job_id(execution))["status"]
    assert (status["phase"], status["reason"]) == ("Failed", "Crash")
    assert (status["attempt"], status["restarts"]) == (3, 2)
    assert [entry["reason"] for entry in status["attempts"]] == ["Crash"] * 3
    assert "SIGKILL" in status["message"]
    assert "given up after 2 restarts" in status["message"]


def test_a_wpsjob_made_by_hand_runs_like_any_other(client: Client, release: Release) -> None:
    manifest = f"""
apiVersion: wps.eoxserver.org/v1alpha1
kind: WpsJob
metadata: {{generateName: by-hand-, namespace: {release.namespace}}}
spec: {{process: Echo, execute: {{inputs: [{{id: text, data: hello}}]}}}}
"""
    name = kubectl("create", "-f", "-", "-o", "name", stdin=manifest).strip().partition("/")[2]
    kubectl("wait", "--for=condition=Complete", f"wpsjob/{name}", "-n", release.namespace)
    document = requests.get(f"{release.url}/results/{name}/executeResponse.xml", timeout=30)
    assert b">hello<" in document.content


def test_an_expired_wpsjob_goes_with_its_results(
    client: Client, release: Release, volume: Path
) -> None:
    execution = client.finish(client.execute("Echo", {"text": "short-lived"}))
    name, location = job_id(execution), execution.statusLocation
    assert requests.get(location, timeout=30).status_code == 200
    patch = '{"spec": {"ttlSecondsAfterFinished": 1}}'
    kubectl("patch", "wpsjob", name, "-n", release.namespace, "--type=merge", "-p", patch)
    until(lambda: name not in client.wpsjobs(), "the deletion of the WpsJob")
    until(lambda: requests.get(location, timeout=30).status_code == 404, "the results to go")
    until(
        lambda: not any((volume / part / name).exists() for part in ("temp", "perm", "task")),
        "the folders to go",
    )
    assert not [
        job
        for job in get("jobs", "-n", release.namespace)["items"]
        if job["metadata"]["name"].startswith(f"{name}-")
    ]


def test_pods_run_as_the_restricted_standard_asks(release: Release) -> None:
    namespace = get("namespace", release.namespace)
    enforced = namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
    assert enforced == "restricted"
    pods = get("pods", "-n", release.namespace)["items"]
    assert {pod["metadata"]["labels"]["app.kubernetes.io/component"] for pod in pods} >= {
        "operator",
        "web",
        "housekeeper",
        "worker",
    }
    for pod in pods:
        for container in pod["spec"]["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True


def test_example_rasters_are_as_shipped() -> None:
    digests = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in DATA.glob("*.tif")
    }
    assert digests == {
        "L7_ETMs.tif": "3b722bf4470144b6691bf720bac08f47c99464acff4dd258252891c06312678e",
        "olinda_dem_utm25s.tif": "6954774429a04c827c8330943ee43a176a29d52be2f220100f352894c4b9f173",
    }
