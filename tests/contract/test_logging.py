"""Where messages go with the LOGGING of EOxServer's own template, as it is and as documented."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.conftest import Wps, job_id, only_job
from tests.contract.fakeapi import FakeApi
from tests.contract.test_worker import RunWorker
from wpsjobs.api.attempt import ExitCode

TEMPLATE = {"DJANGO_SETTINGS_MODULE": "tests.contract.template_settings"}


@pytest.fixture
def log(work: Path) -> Iterator[Path]:
    """EOxServer's log file."""
    yield work / "logs" / "eoxserver.log"
    shutil.rmtree(work / "logs", ignore_errors=True)


def test_a_pods_log_tells_all_though_nobody_configured_our_logger(
    wps: Wps, api: FakeApi, run_worker: RunWorker, log: Path
) -> None:
    """The template switches off loggers that were there before it."""
    wps.get("Recorder", error="größer als erlaubt")
    job = job_id(only_job(api))
    ended = run_worker(job, **TEMPLATE)

    assert ended.code == ExitCode.PROCESS_ERROR, ended.output
    assert f"{job}: at work" in ended.output
    assert "LookupError: größer als erlaubt" in ended.output
    assert "Traceback" in ended.output
    assert "LookupError" not in log.read_text()


def test_messages_go_to_eoxservers_log_file_as_documented(
    wps: Wps, api: FakeApi, run_worker: RunWorker, log: Path
) -> None:
    wps.get("Recorder", error="nothing of the kind")
    job = job_id(only_job(api))
    ended = run_worker(job, AS_DOCUMENTED="true", **TEMPLATE)

    assert ended.code == ExitCode.PROCESS_ERROR, ended.output
    text = log.read_text()
    assert f"INFO: {job}: at work" in text
    assert "LookupError: nothing of the kind" in text
