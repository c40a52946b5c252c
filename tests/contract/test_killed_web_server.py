"""A web server that is killed at each step of an Execute leaves nothing that is half-made."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.contract import gunicorn_config, instance, processes, schemas
from tests.contract.conftest import ASYNCHRONOUS, EXECUTE, Wps, only_job
from tests.contract.fakeapi import NAMESPACE, FakeApi
from tests.contract.test_worker import RunWorker
from wpsjobs.api.attempt import ExitCode
from wpsjobs.eoxserver import config
from wpsjobs.eoxserver.client import Cluster
from wpsjobs.eoxserver.crashpoints import CrashPoint
from wpsjobs.eoxserver.housekeeper import Housekeeper

START_SECONDS = 30.0
LATER = timedelta(hours=1)

STEPS = list(CrashPoint)
BEFORE_CREATION = STEPS[: STEPS.index(CrashPoint.CREATED)]
AFTER_CREATION = [CrashPoint.CREATED, CrashPoint.VERDICT_HEARD]
AFTER_REFUSAL = STEPS[STEPS.index(CrashPoint.DELETED) :]
REJECTED = {"phase": "Rejected", "reason": "QueueFull", "message": "full"}


@dataclass(frozen=True)
class Server:
    """A web server of the instance, in processes of its own."""

    port: int
    arbiter: int
    """Process that starts another one for one that was killed."""

    def kill(self) -> None:
        """Kill what answers, for it knows the API server of one test alone."""
        for child in Path(f"/proc/{self.arbiter}/task/{self.arbiter}/children").read_text().split():
            os.kill(int(child), signal.SIGKILL)

    def execute(self, crash_at: CrashPoint | None = None) -> int | None:
        """Status of an Execute of ``Recorder``; None where the connection breaks."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        headers = {"Host": "testserver"}
        if crash_at is not None:
            headers[gunicorn_config.HEADER] = crash_at
        try:
            path = EXECUTE.format(process="Recorder", inputs="") + ASYNCHRONOUS
            connection.request("GET", path, headers=headers)
            return connection.getresponse().status
        except (ConnectionError, http.client.BadStatusLine):
            return None
        finally:
            connection.close()


@pytest.fixture(scope="module")
def gunicorn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    log = tmp_path_factory.mktemp("gunicorn") / "log"
    command = ["-m", "gunicorn", f"--bind=127.0.0.1:{port}"]
    command += [f"--config={Path(gunicorn_config.__file__)}", "demo.wsgi:application"]
    with (
        log.open("w") as output,
        subprocess.Popen(
            [sys.executable, *command],
            env=instance.environment(),
            cwd=instance.INSTANCE,
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        try:
            deadline = time.monotonic() + START_SECONDS
            while not answers(port):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
            yield Server(port, process.pid)
        finally:
            process.terminate()


@pytest.fixture
def server(gunicorn: Server, api: FakeApi) -> Iterator[Server]:
    yield gunicorn
    gunicorn.kill()


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@pytest.fixture
def keeper(api: FakeApi) -> Iterator[Housekeeper]:
    """A housekeeper for which an hour has passed since the kill."""
    cluster = Cluster(NAMESPACE)
    yield Housekeeper(config.load(), cluster, now=lambda: datetime.now(UTC) + LATER)
    cluster.close()


def keep_house(keeper: Housekeeper, wps: Wps) -> None:
    """Two passes, an hour later."""
    for path in (wps.work / "task").glob("*/discarding"):
        old = time.time() - LATER.total_seconds()
        os.utime(path, (old, old))
    keeper.full_pass()
    keeper.full_pass()


@pytest.mark.parametrize("step", BEFORE_CREATION)
def test_before_the_wps_job_is_there_nothing_stays(
    server: Server, wps: Wps, api: FakeApi, keeper: Housekeeper, step: CrashPoint
) -> None:
    assert server.execute(step) is None
    assert api.jobs == {}
    assert wps.files() != []
    keep_house(keeper, wps)

    assert wps.files() == []
    if step is not CrashPoint.MARKER_STAGED:  # nothing had its name, and nothing was called
        assert processes.names()[-1] == "discard"
    assert processes.names().count("discard") <= 1
    assert server.execute() == 200


@pytest.mark.parametrize("step", AFTER_CREATION)
def test_a_wps_job_that_is_there_runs_to_its_end(
    server: Server,
    wps: Wps,
    api: FakeApi,
    keeper: Housekeeper,
    run_worker: RunWorker,
    step: CrashPoint,
) -> None:
    assert server.execute(step) is None
    name = only_job(api)["metadata"]["name"]
    keep_house(keeper, wps)
    schemas.check(wps.document(name))
    ended = run_worker(name)

    assert ended.code == ExitCode.SUCCEEDED, ended.output
    assert "ProcessSucceeded" in wps.document(name)
    assert processes.names().count("initialize") == 1
    assert "discard" not in processes.names()


@pytest.mark.parametrize("step", [*AFTER_CREATION[:1], *AFTER_REFUSAL])
def test_a_refused_one_leaves_nothing(
    server: Server, wps: Wps, api: FakeApi, keeper: Housekeeper, step: CrashPoint
) -> None:
    api.on_created = lambda _: REJECTED
    assert server.execute(step) is None
    assert wps.files() != []
    keep_house(keeper, wps)
    keep_house(keeper, wps)

    assert api.jobs == {}
    assert wps.files() == []
    calls: list[Any] = processes.names()
    # Again where nobody can tell whether it had been called; never not at all.
    assert 1 <= calls.count("discard") <= 2
    assert calls[:2] == ["initialize", "on_accepted"]


def test_without_a_kill_it_is_accepted_or_refused(server: Server, wps: Wps, api: FakeApi) -> None:
    assert server.execute() == 200
    api.on_created = lambda _: REJECTED
    assert server.execute() == 503
    assert len(api.jobs) == 1


def test_a_young_unfinished_directory_is_left_to_its_server(
    server: Server, wps: Wps, api: FakeApi
) -> None:
    assert server.execute(CrashPoint.MARKER_STAGED) is None
    before = wps.files()
    assert before != []
    Housekeeper(config.load(), Cluster(NAMESPACE)).full_pass()

    assert wps.files() == before
