"""Pid files: a pid that now belongs to another process is never taken for ours."""

import gc
import json
import signal
import sys
import warnings
from pathlib import Path

import pytest

from tests.cluster.processes import (
    PidFile,
    PidRecord,
    ProcessStat,
    boot_id,
    parse_record,
    parse_stat,
    processes_with_command,
    read_stat,
    same_process,
    start_daemon,
)
from tests.cluster.progress import wait_until

STAT = "4711 (a) (b c) S " + " ".join(str(number) for number in range(1, 50))
RECORD = PidRecord(pid=4711, start_ticks=19, boot_id="boot")


def test_a_command_name_with_brackets_and_blanks_does_not_shift_the_fields() -> None:
    assert parse_stat(STAT) == ProcessStat(state="S", start_ticks=19)


@pytest.mark.parametrize(
    ("stat", "boot", "expected"),
    [
        (ProcessStat("S", 19), "boot", True),
        (ProcessStat("S", 20), "boot", False),
        (ProcessStat("S", 19), "another boot", False),
        (ProcessStat("Z", 19), "boot", False),
        (None, "boot", False),
    ],
    ids=["same", "recycled pid", "rebooted", "zombie", "gone"],
)
def test_a_process_is_the_same_only_if_pid_start_and_boot_agree(
    stat: ProcessStat | None, boot: str, expected: bool
) -> None:
    assert same_process(RECORD, stat, boot) is expected


@pytest.mark.parametrize("text", ["", "{", "[]", "17", '{"pid": 1}', '{"pid": "x"}'])
def test_a_pid_file_that_a_crash_left_half_written_counts_as_none(text: str) -> None:
    assert parse_record(text) is None


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_recycled_pid_is_not_signalled(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    stat = read_stat(1)
    assert stat is not None
    record = {"pid": 1, "start_ticks": stat.start_ticks + 1, "boot_id": boot_id()}
    file.write_text(json.dumps(record))
    pid_file = PidFile(file)
    assert pid_file.pid() is None
    assert not pid_file.signal(signal.SIGTERM)
    pid_file.stop(0)
    assert not file.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_daemon_is_known_again_and_ends_by_force_if_it_must(tmp_path: Path) -> None:
    mark = str(tmp_path / "mark")
    code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    code += "print('ready', flush=True)\nsignal.pause()"
    pid_file = PidFile(tmp_path / "pids" / "x.json")
    log = tmp_path / "x.log"
    log.write_text("earlier")
    command = [sys.executable, "-c", code, mark]
    with start_daemon(command, log, pid_file) as process:
        try:
            # Before it is ready it may be in the midst of its exec, without a command line.
            assert wait_until(lambda: "ready" in log.read_text(), 10)
            assert pid_file.pid() == process.pid
            assert processes_with_command(command) == [process.pid]
            pid_file.stop(0.2)
        finally:
            process.kill()
    assert pid_file.pid() is None
    assert log.with_suffix(".log.old").read_text() == "earlier"


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_daemon_may_be_left_to_itself(tmp_path: Path) -> None:
    """Nobody holds what is returned; Python warns of a running process that is dropped."""
    pid_file = PidFile(tmp_path / "x.json")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        start_daemon(
            [sys.executable, "-c", "import signal; signal.pause()"], tmp_path / "x.log", pid_file
        )
        gc.collect()
    pid_file.stop(10)
    assert [str(warning.message) for warning in caught] == []
