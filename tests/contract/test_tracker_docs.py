"""What docs/tracker.md tells is there, and works as it tells it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.contract.conftest import StartWorker, only_job
from tests.contract.documented import DOCS, blocks
from tests.contract.fakeapi import FakeApi
from tests.contract.instance import ROOT
from wpsjobs import tracker
from wpsjobs.api.attempt import Environment, ExitCode
from wpsjobs.tracker import settings

METHODS = {
    "getInfo",
    "getIdentifier",
    "getStatus",
    "setSuccess",
    "setFailure",
    "setPaused",
    "setRunning",
    "storeResponse",
}


@pytest.fixture
def sums(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module of the document, where this process and a pod's find it."""
    (text,) = [block for block in blocks("tracker.md", "python") if "# sums.py" in block]
    (tmp_path / "sums.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    import sums  # type: ignore[import-not-found]  # noqa: PLC0415 (it has just been written)

    tracker.close()
    yield sums
    tracker.close()
    del sys.modules["sums"]


@pytest.mark.parametrize(
    ("numbers", "code"), [((1, 2, 3), ExitCode.SUCCEEDED), (["one"], ExitCode.PROCESS_ERROR)]
)
def test_the_handler_of_the_document_runs(
    sums: ModuleType,
    api: FakeApi,
    start_worker: StartWorker,
    tmp_path: Path,
    numbers: object,
    code: ExitCode,
) -> None:
    sums.submit("one", numbers)
    process = api.others[next(path for path in api.others if "wpsprocesses" in path)]["spec"]
    assert process["ttlSecondsAfterFinished"] == 600
    python_path = f"{tmp_path}:{':'.join(map(str, (ROOT / 'operator', ROOT)))}"
    name = only_job(api)["metadata"]["name"]
    environ = {Environment.HANDLER: process["handler"], "PYTHONPATH": python_path}
    ended = start_worker(name, **environ).wait()

    assert ended.code == code, ended.output
    if code is ExitCode.SUCCEEDED:
        assert tracker.getTaskResponse("SequenceSum", "one") == ("6.0", "text/plain")


def test_each_name_of_the_reference_has_a_test_that_is_there() -> None:
    text = (DOCS / "tracker.md").read_text()
    rows = re.findall(r"^\| `([\w.]+)` \| `(tests/[\w/]+\.py)::(\w+)` \|$", text, re.MULTILINE)
    methods = {f"TaskStatus.{name}" for name in METHODS}
    assert {name for name, _, _ in rows} == {*tracker.__all__, *methods}
    for name, path, test in rows:
        source = (ROOT / path).read_text()
        assert f"def {test}(" in source, f"{name}: {path}::{test}"
        assert name.rpartition(".")[2] in source, f"{name} is not used in {path}"


def test_each_variable_of_the_document_is_read() -> None:
    text = (DOCS / "tracker.md").read_text()
    told = set(re.findall(r"WPSJOBS_[A-Z_]+", text))
    known = set(re.findall(r"WPSJOBS_[A-Z_]+", Path(settings.__file__).read_text()))
    assert told == known
