"""``manage.py wpsjobs …``."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import override_settings
from eoxserver.core.config import get_eoxserver_config
from eoxserver.services.ows.wps.util import get_processes

from tests.contract.conftest import Wps
from tests.contract.fakeapi import JOBS, NAMESPACE, FakeApi, Refusal
from tests.contract.test_accept import execute
from wpsjobs.api.names import GROUP, VERSION
from wpsjobs.eoxserver.commands.sync import object_name

BASE = f"/apis/{GROUP}/{VERSION}/namespaces/{NAMESPACE}"

Manage = Callable[..., str]


@pytest.fixture
def manage(backend: Any) -> Manage:
    def call(*arguments: str) -> str:
        out = StringIO()
        call_command("wpsjobs", *arguments, stdout=out)
        return out.getvalue()

    return call


@pytest.fixture
def job(backend: Any, api: FakeApi) -> str:
    execute(backend, "Echo", job_id="mine", text="grüße")
    api.set_status(
        "mine",
        phase="Started",
        attempt=1,
        jobName="mine-1",
        progress={"percent": 40, "message": "half way"},
        history=[{"time": "2026-01-31T09:30:00Z", "phase": "Accepted", "message": "queued"}],
    )
    return "mine"


def test_list_shows_the_jobs_in_their_order(manage: Manage, backend: Any, job: str) -> None:
    execute(backend, "NDVI", job_id="other")
    lines = manage("list").splitlines()

    assert [line.split()[:2] for line in lines] == [
        ["JOB", "PROCESS"],
        ["mine", "Echo"],
        ["other", "NDVI"],
    ]
    assert "40 %" in lines[1]
    assert len(manage("list", "--process", "NDVI").splitlines()) == 2


def test_show_tells_all_that_is_known(manage: Manage, job: str) -> None:
    text = manage("show", job)

    for part in ("grüße", "Started", "40 % half way", "mine-1", "executeResponse.xml", "queued"):
        assert part in text


def test_show_of_nobody_says_so(manage: Manage) -> None:
    with pytest.raises(CommandError, match="no WpsJob of the job identifier 'nobody'"):
        manage("show", "nobody")


def test_log_prints_what_is_kept(manage: Manage, wps: Wps, job: str) -> None:
    with pytest.raises(CommandError, match="kubectl logs --namespace wps job/mine-1"):
        manage("log", job)
    (wps.work / "task" / job / "1.log").write_text("Zeile\n")

    assert manage("log", job) == "Zeile\n"


def test_purge_goes_on_after_an_unknown_job(
    manage: Manage, api: FakeApi, wps: Wps, job: str
) -> None:
    with pytest.raises(CommandError, match="nobody"):
        manage("purge", "nobody", job)

    assert api.jobs == {}
    assert wps.files() == []


def test_sync_makes_what_the_configuration_says(
    manage: Manage, api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    parser = get_eoxserver_config()
    parser.set("services.ows.wps", "max_queued_jobs", "7")
    parser.set("services.ows.wps", "num_workers", "3")
    echo = next(process for process in get_processes() if type(process).__name__ == "Echo")
    monkeypatch.setattr(echo, "retention_period", timedelta(hours=2), raising=False)
    try:
        text = manage("sync")
    finally:
        parser.remove_option("services.ows.wps", "max_queued_jobs")
        parser.remove_option("services.ows.wps", "num_workers")

    queue = api.others[f"{BASE}/wpsqueues/default"]
    assert queue["spec"] == {"maxQueued": 7, "parallelism": 3}
    assert "no pod template yet" in text
    process = api.others[f"{BASE}/wpsprocesses/echo"]
    assert process["spec"] == {"identifier": "Echo", "ttlSecondsAfterFinished": 7200}


def test_sync_changes_what_differs_and_nothing_else(
    manage: Manage, api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    manage("sync")
    api.others[f"{BASE}/wpsprocesses/echo"]["spec"]["timeoutSeconds"] = 60
    assert "set" not in manage("sync")
    echo = next(process for process in get_processes() if type(process).__name__ == "Echo")
    monkeypatch.setattr(echo, "retention_period", timedelta(hours=1), raising=False)

    assert "WpsProcess echo: set ttlSecondsAfterFinished=3600" in manage("sync", "--dry-run")
    manage("sync")
    assert api.others[f"{BASE}/wpsprocesses/echo"]["spec"] == {
        "identifier": "Echo",
        "timeoutSeconds": 60,
        "ttlSecondsAfterFinished": 3600,
    }


def test_sync_for_the_chart_adds_and_leaves_what_is_set(
    manage: Manage, api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    manage("sync")
    echo = next(process for process in get_processes() if type(process).__name__ == "Echo")
    monkeypatch.setattr(echo, "retention_period", timedelta(hours=1), raising=False)
    spec = api.others[f"{BASE}/wpsprocesses/echo"]["spec"]

    spec["ttlSecondsAfterFinished"] = 60
    manage("sync", "--keep")
    assert api.others[f"{BASE}/wpsprocesses/echo"]["spec"]["ttlSecondsAfterFinished"] == 60

    del api.others[f"{BASE}/wpsprocesses/echo"]["spec"]["ttlSecondsAfterFinished"]
    manage("sync", "--keep")
    assert api.others[f"{BASE}/wpsprocesses/echo"]["spec"]["ttlSecondsAfterFinished"] == 3600


def test_what_sync_makes_for_the_chart_can_be_taken_over_by_its_release(
    manage: Manage, api: FakeApi
) -> None:
    manage("sync", "--keep", "--helm-release=maps")
    metadata = api.others[f"{BASE}/wpsprocesses/echo"]["metadata"]
    assert metadata["labels"]["app.kubernetes.io/managed-by"] == "Helm"
    assert metadata["annotations"]["meta.helm.sh/release-name"] == "maps"
    assert metadata["annotations"]["helm.sh/resource-policy"] == "keep"


@pytest.mark.parametrize(
    ("identifier", "name"),
    [("NDVI", "ndvi"), ("urn:ogc:Häs_x ", "urn-ogc-h-s-x"), ("é", "process"), ("-", "process")],
)
def test_names_of_wps_processes_are_dns_labels(identifier: str, name: str) -> None:
    assert object_name(identifier) == name
    assert len(object_name("x" * 100)) == 63


def doctor(manage: Manage, *arguments: str) -> list[str]:
    """The findings that are bad, each with its advice."""
    out = StringIO()
    with pytest.raises(CommandError, match="findings"):
        call_command("wpsjobs", "doctor", *arguments, stdout=out)
    return out.getvalue().split("BAD ")[1:]


def test_doctor_names_what_is_wrong_and_what_to_do(manage: Manage, api: FakeApi, wps: Wps) -> None:
    """Nothing listens at url_base here, and nothing is synchronised yet."""
    (wps.work / "task" / "old-task").write_text("of the former daemon")
    api.forbidden_verbs = {"delete"}
    findings = "\n".join(doctor(manage))

    assert "1 entries without a marker" in findings
    assert "old-task" in findings
    assert "url_base http://testserver/results" in findings
    assert "verb delete on wpsjobs" in findings
    assert "WpsQueue default" in findings
    assert "EOXS_" not in findings


@pytest.mark.parametrize(
    ("handlers", "advice"),
    [
        ([], "ServerBusy is answered as 400"),
        (
            ["eoxserver.services.ows.wps.v10.exceptionhandler.WPS10ExceptionHandler"],
            "lacks Retry-After",
        ),
    ],
)
def test_doctor_sees_that_busy_is_not_told_as_such(
    manage: Manage, handlers: list[str], advice: str
) -> None:
    with override_settings(EOXS_EXCEPTION_HANDLERS=handlers):
        (finding,) = [found for found in doctor(manage) if "EOXS_EXCEPTION_HANDLERS" in found]
    assert advice in finding
    assert "Add 'wpsjobs.eoxserver" in finding or "by 'wpsjobs.eoxserver" in finding


def test_doctor_sees_another_back_end_and_a_process_without_identifier(
    manage: Manage, monkeypatch: pytest.MonkeyPatch
) -> None:
    echo = next(process for process in get_processes() if type(process).__name__ == "Echo")
    monkeypatch.setattr(echo, "identifier", None)
    with override_settings(EOXS_ASYNC_BACKENDS=["eoxs_wps_async.backend.WPSAsyncBackendBase"]):
        findings = doctor(manage)

    assert "Add 'wpsjobs.eoxserver.backend.WpsJobBackend'" in findings[0]
    assert any("explicit identifier" in finding for finding in findings)


def test_doctor_without_a_cluster(manage: Manage, api: FakeApi) -> None:
    api.refuse = lambda *_: Refusal(403, "namespaces is forbidden")
    findings = "\n".join(doctor(manage))

    assert "namespaces is forbidden" in findings


def test_doctor_sees_a_volume_that_is_not_there(manage: Manage, wps: Wps) -> None:
    (wps.work / "perm").rename(wps.work / "away")
    try:
        findings = doctor(manage)
    finally:
        (wps.work / "away").rename(wps.work / "perm")

    assert len(findings) == 1
    assert "path_perm" in findings[0]


def test_doctor_prints_a_kubernetes_job_like_those_of_the_queue(
    manage: Manage, api: FakeApi
) -> None:
    base = f"/apis/{GROUP}/{VERSION}/namespaces/{NAMESPACE}/wpsqueues"
    pod = {
        "volumes": [{"name": "data"}],
        "containers": [{"name": "worker", "image": "one"}, {"name": "helper", "image": "two"}],
    }
    api.others[f"{base}/default"] = {"spec": {"template": {"spec": pod}}}
    manifest = json.loads(manage("doctor", "--job-manifest", "--service-account", "workers"))

    assert manifest["spec"]["backoffLimit"] == 0
    spec = manifest["spec"]["template"]["spec"]
    assert spec["serviceAccountName"] == "workers"
    assert spec["volumes"] == pod["volumes"]
    (container,) = spec["containers"]
    assert container["image"] == "one"
    assert container["command"][-2:] == ["--role", "worker"]


def test_doctor_of_a_worker_looks_at_its_rights_alone(manage: Manage, api: FakeApi) -> None:
    assert "BAD" not in manage("doctor", "--role", "worker")
    api.forbidden_verbs = {"patch"}
    (finding,) = doctor(manage, "--role", "worker")
    assert "right to report progress" in finding


def test_housekeep_once_reports_a_cluster_that_is_not_there(manage: Manage, api: FakeApi) -> None:
    api.refuse = lambda _, path: Refusal(500, "etcd is away") if path == JOBS else None
    with pytest.raises(CommandError, match="etcd is away"):
        manage("housekeep", "--once")
