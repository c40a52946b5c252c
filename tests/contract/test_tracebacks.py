"""Tracebacks in logs say where it failed, and not what the values were."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from typing import Any

import pytest

from tests.contract import instance
from tests.contract.conftest import Wps, job_id, only_job
from tests.contract.fakeapi import FakeApi
from tests.contract.test_worker import RunWorker
from wpsjobs.api.attempt import Environment, ExitCode

SECRET = "open-sesame-4711"


def test_of_a_process_that_fails(wps: Wps, api: FakeApi, run_worker: RunWorker) -> None:
    """Its locals hold the password; neither its pod's log nor a kept one tells it."""
    wps.get("Secretive", password=SECRET)
    job = job_id(only_job(api))
    ended = run_worker(job, **{Environment.KEEP_LOGS: "true"})

    assert ended.code == ExitCode.PROCESS_ERROR
    kept = (wps.work / "task" / job / "1.log").read_text()
    for log in (ended.output, kept):
        assert "Traceback" in log
        assert "in log_in" in log
        assert SECRET not in log
    assert ended.termination is not None
    assert SECRET not in ended.termination.to_json()
    assert SECRET not in wps.document(job)


def test_of_a_callback_that_fails_in_the_web_server(
    wps: Wps, api: FakeApi, caplog: pytest.LogCaptureFixture
) -> None:
    logger = logging.getLogger("wpsjobs")
    logger.addHandler(caplog.handler)
    try:
        wps.get("Secretive", password=SECRET, when="on_accepted")
    finally:
        logger.removeHandler(caplog.handler)

    assert "the callback on_accepted failed" in caplog.text
    assert "in log_in" in caplog.text
    assert SECRET not in caplog.text


OPERATOR = """
import logging, structlog
from wpsjobs.controller.logs import configure
configure("INFO")
def log_in(password):
    raise LookupError("no such user")
for logger in (structlog.get_logger("wpsjobs"), logging.getLogger("kopf.objects")):
    try:
        log_in(SECRET)
    except LookupError:
        logger.exception("failed")
""".replace("SECRET", repr(SECRET).replace("-", "-' + '"))


def test_of_the_operator() -> None:
    done = subprocess.run(
        [sys.executable, "-c", OPERATOR],
        env=instance.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    output = done.stdout + done.stderr
    lines: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]

    assert len(lines) == 2, output
    for line in lines:
        assert "log_in" in json.dumps(line)
        assert "LookupError" in json.dumps(line)
    assert SECRET not in output
