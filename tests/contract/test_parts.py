"""A process in parts: its division in the web server, its parts and its merge step in workers."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from eoxserver.services.ows.wps.util import get_process_by_identifier
from owslib.wps import WPSExecution

from tests.contract import schemas
from tests.contract.conftest import Ended, StartWorker, Wps, only_job
from tests.contract.documented import CountFiles
from tests.contract.fakeapi import FakeApi, make_job
from wpsjobs.api.attempt import Environment, ExitCode
from wpsjobs.api.parts import Parts
from wpsjobs.eoxserver import parts


def name_of(api: FakeApi) -> str:
    return str(only_job(api)["metadata"]["name"])


class FanOut:
    """What the operator does with a WpsJob in parts."""

    def __init__(self, api: FakeApi, start_worker: StartWorker, name: str, total: int) -> None:
        self.api, self.name, self._start = api, name, start_worker
        self.parts = Parts(1, total)

    def begin(self, index: int, tried: int = 0, **extra: str) -> Any:
        """Start the worker of a part, whose slot is written down before."""
        self.parts = self.parts.launched([index], _now())
        self._write(phase="Started", jobName=None)
        suffix = f"1-p{index}" + (f"-r{tried}" if tried else "")
        environment = {
            Environment.PART: str(index),
            Environment.TRY: str(tried),
            Environment.KUBERNETES_JOB: f"{self.name}-{suffix}",
        }
        return self._start(self.name, launch=False, **environment, **extra)

    def run(self, index: int, tried: int = 0, **extra: str) -> Ended:
        ended: Ended = self.begin(index, tried, **extra).wait()
        return ended

    def merge(self, attempt: int = 1) -> Ended:
        """Start the merge step, once all parts have succeeded."""
        self.parts = Parts(1, self.parts.total, succeeded=frozenset(range(self.parts.total)))
        self._write(phase="Started", jobName=f"{self.name}-{attempt}", attempt=attempt)
        ended: Ended = self._start(self.name, attempt, launch=False).wait()
        return ended

    def _write(self, **status: Any) -> None:
        self.api.set_status(self.name, **{"attempt": 1} | status, parts=self.parts.to_json())


def _now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def fan_out(wps: Wps, api: FakeApi, start_worker: StartWorker) -> FanOut:
    wps.get("Tiles", tiles="3", seconds="0")
    return FanOut(api, start_worker, name_of(api), 3)


def test_an_execute_is_divided_in_the_web_server(wps: Wps, api: FakeApi) -> None:
    assert wps.get("Tiles", tiles="3").status_code == 200
    assert only_job(api)["spec"]["parts"] == ["tile 0", "tile 1", "tile 2"]


def test_an_execute_that_divides_into_nothing_is_no_fan_out(wps: Wps, api: FakeApi) -> None:
    wps.get("Tiles", tiles="0")
    assert "parts" not in only_job(api)["spec"]


def test_an_error_of_the_division_is_the_clients_and_leaves_nothing(wps: Wps, api: FakeApi) -> None:
    before = wps.files()
    answer = wps.get("Tiles", tiles="-1")
    assert answer.status_code == 400
    assert "there cannot be less than none" in answer.content.decode()
    assert not api.jobs
    assert wps.files() == before


@pytest.mark.parametrize(
    ("division", "words"),
    [
        (lambda: "one text", "no list of texts but a str"),
        (lambda: [1], "as part 0 no text"),
        (lambda: ["x" * 1025], "as part 0 no text of at most 1024"),
        (lambda: ["a"] * 10_001, "10000 are the most"),
        (lambda: ["ä" * 1000] * 100, "bytes in all"),
        (lambda: 1 // 0, "ZeroDivisionError"),
    ],
)
def test_what_is_no_division_is_refused(
    wps: Wps, api: FakeApi, monkeypatch: pytest.MonkeyPatch, division: Any, words: str
) -> None:
    process = type(get_process_by_identifier("Tiles"))
    monkeypatch.setattr(process, "partition", lambda _self, _inputs: division())
    before = wps.files()
    answer = wps.get("Tiles")
    assert words in answer.content.decode()
    assert not api.jobs
    assert wps.files() == before


def test_parts_and_merge_step_come_to_the_final_document(wps: Wps, fan_out: FanOut) -> None:
    for index in range(3):
        ended = fan_out.run(index)
        assert ended.code == ExitCode.SUCCEEDED, ended.output
    assert 'percentCompleted="0"' in wps.document(fan_out.name)
    assert not [patch for _, patch in fan_out.api.patches], "a part reports no progress"
    ended = fan_out.merge()
    assert ended.code == ExitCode.SUCCEEDED, ended.output
    document = wps.document(fan_out.name)
    schemas.check(document)
    execution = WPSExecution()
    execution.checkStatus(response=document.encode(), sleepSecs=0)
    assert execution.processOutputs[0].data == ["tile 0, tile 1, tile 2"]
    told = [patch["status"]["progress"]["percent"] for _, patch in fan_out.api.patches]
    assert min(told) >= 90
    assert told[-1] == 100


def test_a_repeated_merge_step_does_not_need_the_parts_again(wps: Wps, fan_out: FanOut) -> None:
    for index in range(3):
        fan_out.run(index)
    fan_out.api.set_spec(fan_out.name, execute={"inputs": [{"id": "crash", "data": "merge:1"}]})
    assert fan_out.merge().code == ExitCode.CRASHED
    ended = fan_out.merge(2)
    assert ended.code == ExitCode.SUCCEEDED, ended.output
    assert "tile 0, tile 1, tile 2" in wps.document(fan_out.name)


@pytest.mark.parametrize(
    ("fail", "code", "words"),
    [
        ("1", ExitCode.PROCESS_ERROR, "no height known for tile 1"),
        ("!1", ExitCode.CLIENT_ERROR, "the client asked for it"),
    ],
)
def test_an_error_of_a_part_is_left_to_the_operator(
    wps: Wps, fan_out: FanOut, fail: str, code: ExitCode, words: str
) -> None:
    fan_out.api.set_spec(fan_out.name, execute={"inputs": [{"id": "fail", "data": fail}]})
    ended = fan_out.run(1)
    assert ended.code == code
    assert ended.termination is not None
    assert words in ended.termination.message
    assert "ProcessStarted" in wps.document(fan_out.name), "others may still run"


def test_a_part_is_executed_once_for_each_try(fan_out: FanOut) -> None:
    assert fan_out.run(0).code == ExitCode.SUCCEEDED
    again = fan_out.run(0)
    assert again.code == ExitCode.SUPERSEDED
    assert again.termination is not None
    assert "1-p0" in again.termination.message


def test_a_part_that_is_not_to_run_does_not(fan_out: FanOut) -> None:
    worker = fan_out.begin(0)
    assert worker.wait().code == ExitCode.SUCCEEDED
    fan_out.parts = Parts(1, 3, succeeded=frozenset({0}))
    fan_out.api.set_status(fan_out.name, parts=fan_out.parts.to_json())
    late = {Environment.PART: "1", Environment.KUBERNETES_JOB: f"{fan_out.name}-1-p1"}
    assert fan_out._start(fan_out.name, launch=False, **late).wait().code == ExitCode.SUPERSEDED


@pytest.mark.parametrize("damage", ["removed", "changed", "exchanged"])
def test_a_result_that_is_not_what_the_part_left_is_not_used(
    wps: Wps, fan_out: FanOut, damage: str
) -> None:
    for index in range(3):
        fan_out.run(index)
    results = wps.work / "temp" / fan_out.name / "parts-1" / "results"
    path = results / "1.json"
    if damage == "removed":
        path.unlink()
    elif damage == "changed":
        path.write_bytes(path.read_bytes().replace(b"1.txt", b"0.txt"))
    else:
        path.write_bytes((results / "0.json").read_bytes())
    ended = fan_out.merge()
    assert ended.code == ExitCode.BAD_REQUEST
    assert ended.termination is not None
    assert "'tile 1'" in ended.termination.message


@pytest.mark.parametrize("value", [{1: "a"}, [{"a": object()}], b"bytes"])
def test_a_result_that_is_no_json_is_refused(value: Any, tmp_path: Any) -> None:
    with pytest.raises(parts.ResultError, match=r"returned no JSON"):
        parts.store_result(tmp_path / "1.json", "one", value)


def test_results_come_back_as_json_has_them(tmp_path: Any) -> None:
    value = {"a": [1, 2.5, None, True, "ü"], "b": (1, 2)}
    parts.store_result(tmp_path / "1.json", "one", value)
    assert parts.read_result(tmp_path / "1.json", "one") == json.loads(json.dumps(value))


def test_a_fan_out_made_without_the_plugin_is_prepared_once(
    wps: Wps, api: FakeApi, start_worker: StartWorker
) -> None:
    api.add(make_job("by-hand", process="Tiles", parts=["a", "b"]))
    fan_out = FanOut(api, start_worker, "by-hand", 2)
    fan_out.parts = Parts(1, 2, running=frozenset({0, 1}))
    workers = [fan_out.begin(0), fan_out.begin(1)]
    assert [worker.wait().code for worker in workers] == [ExitCode.SUCCEEDED] * 2
    ended = fan_out.merge()
    assert ended.code == ExitCode.SUCCEEDED, ended.output
    assert "a, b" in wps.document("by-hand")


def test_the_documented_process_is_one_in_parts() -> None:
    process = CountFiles()
    assert parts.is_parallel(process)
    assert process.partition({"names": "a,b"}) == ["a", "b"]
    assert process.execute(None, [{"name": "a", "lines": 2}, {"name": "b", "lines": 3}]) == 5


def test_without_parts_one_worker_does_them_all(
    wps: Wps, api: FakeApi, start_worker: StartWorker
) -> None:
    execute = {"inputs": [{"id": "tiles", "data": "2"}, {"id": "seconds", "data": "0"}]}
    api.add(make_job("by-hand", process="Tiles", execute=execute))
    ended = start_worker("by-hand").wait()
    assert ended.code == ExitCode.SUCCEEDED, ended.output
    assert "tile 0, tile 1" in wps.document("by-hand")


def test_parts_of_a_process_that_has_none_are_refused(
    api: FakeApi, wps: Wps, start_worker: StartWorker
) -> None:
    assert wps.work.exists()
    api.add(make_job("by-hand", process="Sleep", parts=["a"]))
    ended = FanOut(api, start_worker, "by-hand", 1).run(0)
    assert ended.code == ExitCode.BAD_REQUEST
    assert ended.termination is not None
    assert "without spec.parts" in ended.termination.message
