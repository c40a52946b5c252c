"""The instance within this process, an API server beside it, workers as processes of their own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.contract import instance
from tests.contract.fakeapi import NAMESPACE, FakeApi, Job
from wpsjobs.api.attempt import Environment, ExitCode, TerminationMessage

instance.start()

# What follows needs Django's settings.
from django.test import Client  # noqa: E402
from eoxserver.services.ows.wps import util  # noqa: E402

from wpsjobs.eoxserver.backend import WpsJobBackend  # noqa: E402

EXECUTE = "/ows?service=WPS&version=1.0.0&request=Execute&identifier={process}&DataInputs={inputs}"
ASYNCHRONOUS = "&storeExecuteResponse=true&status=true"


@pytest.fixture
def work() -> Iterator[Path]:
    """The instance's directory, with nothing left of other tests."""
    work = instance.work_directory()
    yield work
    for name in ("temp", "perm", "task"):
        shutil.rmtree(work / name, ignore_errors=True)
        (work / name).mkdir()
    (work / "calls.jsonl").unlink(missing_ok=True)


@pytest.fixture
def api(work: Path) -> Iterator[FakeApi]:
    """An API server with an operator that accepts everything."""
    with FakeApi(work / "api") as api:
        api.on_created = lambda _: {"phase": "Accepted"}
        write_kubeconfig(work, api.port)
        yield api


def write_kubeconfig(work: Path, port: int) -> None:
    cluster = {
        "server": f"https://127.0.0.1:{port}",
        "certificate-authority": str(work / "api" / "ca.crt"),
    }
    context = {"cluster": "test", "user": "test"}
    (work / "kubeconfig").write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "test",
                "clusters": [{"name": "test", "cluster": cluster}],
                "contexts": [{"name": "test", "context": context}],
                "users": [{"name": "test", "user": {"token": "test-token"}}],
            }
        )
    )


@pytest.fixture
def backend(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A back-end of its own for each test, which EOxServer uses, too."""
    backend = WpsJobBackend()
    monkeypatch.setattr(util, "ASYNC_BACKENDS", [backend])
    yield backend
    backend.close()


@dataclass
class Wps:
    """The instance's WPS, as its clients see it."""

    http: Any
    work: Path

    def get(self, process: str, asynchronous: str = ASYNCHRONOUS, **inputs: str) -> Any:
        pairs = ";".join(f"{key}={quote(value, safe='')}" for key, value in inputs.items())
        return self.http.get(EXECUTE.format(process=process, inputs=pairs) + asynchronous)

    def post(self, document: str | bytes, content_type: str = "text/xml") -> Any:
        return self.http.post("/ows", document, content_type=content_type)

    def files(self) -> list[str]:
        """All that is in the three directories."""
        return sorted(
            str(path.relative_to(self.work))
            for name in ("temp", "perm", "task")
            for path in (self.work / name).rglob("*")
        )

    def document(self, job_id: str) -> str:
        return (self.work / "perm" / job_id / "executeResponse.xml").read_text()


@pytest.fixture
def wps(backend: Any, work: Path) -> Wps:
    return Wps(Client(), work)


@dataclass(frozen=True)
class Ended:
    """How a worker ended."""

    code: int
    termination: TerminationMessage | None
    output: str


@dataclass
class Worker:
    """``python -m wpsjobs.worker`` at work."""

    process: subprocess.Popen[str]
    log: Path

    def wait(self, seconds: float = 60.0) -> Ended:
        output, _ = self.process.communicate(timeout=seconds)
        text = self.log.read_text() if self.log.exists() else ""
        return Ended(self.process.returncode, TerminationMessage.from_json(text), output)


StartWorker = Callable[..., Worker]


@pytest.fixture
def start_worker(api: FakeApi, work: Path) -> Iterator[StartWorker]:
    """Start a worker for a WpsJob, whose Kubernetes Job is made the current one before."""
    started: list[Worker] = []

    def start(name: str, attempt: int = 1, *, launch: bool = True, **extra: str) -> Worker:
        kubernetes_job = f"{name}-{attempt}"
        if launch:
            api.set_status(name, phase="Scheduled", attempt=attempt, jobName=kubernetes_job)
        log = work / f"termination-{len(started)}"
        log.unlink(missing_ok=True)
        environment = {
            **instance.environment(),
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(api.port),
            "WPSJOBS_SERVICE_ACCOUNT_DIR": str(work / "api"),
            "WPSJOBS_TERMINATION_LOG": str(log),
            Environment.NAMESPACE: NAMESPACE,
            Environment.NAME: name,
            Environment.ATTEMPT: str(attempt),
            Environment.KUBERNETES_JOB: kubernetes_job,
            **extra,
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "wpsjobs.worker"],
            env=environment,
            cwd=instance.INSTANCE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        worker = Worker(process, log)
        started.append(worker)
        return worker

    yield start
    for worker in started:
        if worker.process.poll() is None:
            worker.process.kill()
            worker.process.communicate()


@pytest.fixture
def run_worker(start_worker: StartWorker) -> Callable[..., Ended]:
    def run(name: str, attempt: int = 1, **options: Any) -> Ended:
        return start_worker(name, attempt, **options).wait()

    return run


def only_job(api: FakeApi) -> Job:
    """The one WpsJob there is."""
    (job,) = api.jobs.values()
    return job


def job_id(job: Job) -> str:
    return str(job["spec"].get("id") or job["metadata"]["name"])


SUCCEEDED, PROCESS_ERROR = ExitCode.SUCCEEDED, ExitCode.PROCESS_ERROR
