"""The supervisor's small parts: output, out-of-memory counter, channel."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wpsjobs.api.channel import Kind, LineBuffer, decode, encode
from wpsjobs.worker.cgroup import oom_kills
from wpsjobs.worker.output import Output
from wpsjobs.worker.reporter import Progress


def test_output_before_the_file_is_known_is_kept_as_well(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    output = Output()
    os.write(output.writing, b"early\n")
    assert output.copy()
    output.open_file(str(tmp_path / "log"))
    os.write(output.writing, b"late\n")
    output.close_writing()

    assert not output.copy()
    output.close()
    assert (tmp_path / "log").read_text() == "early\nlate\n"
    assert capfd.readouterr().out == "early\nlate\n"


def test_a_kept_log_is_bounded_and_standard_output_is_not(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    output = Output(limit=10)
    output.open_file(str(tmp_path / "log"))
    os.write(output.writing, b"x" * 100)
    output.copy()
    os.write(output.writing, b"y" * 100)
    output.copy()

    assert (tmp_path / "log").read_text().startswith("x" * 10 + "\n[the log is cut here")
    assert "y" not in (tmp_path / "log").read_text()
    assert capfd.readouterr().out == "x" * 100 + "y" * 100
    output.close_writing()
    output.close()


def test_a_log_that_cannot_be_written_costs_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    output = Output()
    output.open_file("/nonexistent/log")
    os.write(output.writing, b"still here")
    output.copy()
    output.close_writing()
    output.close()

    assert "still here" in capfd.readouterr().out


@pytest.mark.parametrize(
    "text",
    ["low 0\nhigh 0\noom 1\noom_kill 3\n", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"],
)
def test_both_versions_of_cgroups_are_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "counter").write_text(text)

    assert oom_kills((tmp_path / "absent", tmp_path / "counter")) == 3


def test_without_a_counter_nothing_was_killed(tmp_path: Path) -> None:
    assert oom_kills((tmp_path / "absent",)) == 0


@given(st.text(max_size=3000), st.integers(-1000, 1000))
def test_progress_is_bounded_as_the_resource_is(message: str, percent: int) -> None:
    progress = Progress(percent, message).bounded()

    assert 0 <= progress.percent <= 100
    assert len(progress.message.encode()) <= 1024
    assert len(progress.message) <= 1024


@given(st.lists(st.text(), min_size=1), st.integers(1, 20))
def test_messages_survive_however_the_stream_is_cut(messages: list[str], size: int) -> None:
    stream = b"".join(encode(Kind.PROGRESS, percent=1, message=text) for text in messages)
    buffer, lines = LineBuffer(), []
    for start in range(0, len(stream), size):
        lines += buffer.feed(stream[start : start + size])

    assert [decode(line)[1]["message"] for line in lines] == messages


@pytest.mark.parametrize("line", [b"", b"[]", b"{}", b'{"kind": "other"}', b"\xff"])
def test_what_is_no_message_is_an_error(line: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (any ValueError will do)
        decode(line)
