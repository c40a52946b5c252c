"""The journal and the response in a task's directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from wpsjobs.eoxserver.files import StorageError
from wpsjobs.tracker import journal
from wpsjobs.tracker.journal import Journal
from wpsjobs.tracker.responses import read_response, write_response
from wpsjobs.tracker.status import Status


def test_messages_are_kept_in_their_order(tmp_path: Path) -> None:
    log = Journal(tmp_path)
    log.add(Status.ACCEPTED, "enqueued")
    log.add(Status.RUNNING, "größer\nals eine Zeile", attempt=1)
    assert [(entry.status, entry.message) for entry in log.entries()] == [
        (Status.ACCEPTED, "enqueued"),
        (Status.RUNNING, "größer\nals eine Zeile"),
    ]
    first, second = log.entries()
    assert first.time <= second.time


def test_a_label_is_the_last_word_of_that_attempt(tmp_path: Path) -> None:
    log = Journal(tmp_path)
    assert log.label(1) is None
    log.add(Status.PAUSED, "", attempt=1)
    log.add(Status.ACCEPTED, "from elsewhere")
    assert log.label(1) is Status.PAUSED
    assert log.label(2) is None
    log.add(Status.RUNNING, "", attempt=2)
    assert log.label(1) is None


def test_lines_that_cannot_be_read_are_left_out(tmp_path: Path) -> None:
    log = Journal(tmp_path)
    log.add(Status.ACCEPTED, "one")
    with (tmp_path / "journal").open("a") as file:
        file.write('{"time": "2026-\n[]\n{"time": 7}\n')
    log.add(Status.ACCEPTED, "two")
    assert [entry.message for entry in log.entries()] == ["one", "two"]


def test_a_journal_grows_to_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "MAX_BYTES", 2000)
    log = Journal(tmp_path)
    for _ in range(100):
        log.add(Status.RUNNING, "again", attempt=1)
    log.add(Status.PAUSED, "still told", attempt=1)
    assert (tmp_path / "journal").stat().st_size < 2500
    assert log.label(1) is Status.PAUSED


def test_a_long_message_loses_its_end(tmp_path: Path) -> None:
    Journal(tmp_path).add(Status.FAILED, "x" * 10_000)
    assert len(Journal(tmp_path).entries()[0].message) == journal.MAX_MESSAGE


def test_a_directory_that_is_gone_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be written"):
        Journal(tmp_path / "gone").add(Status.FAILED, "")
    with pytest.raises(StorageError, match="cannot be written"):
        write_response(tmp_path / "gone", "", "text/xml")


@pytest.mark.parametrize("response", ["<größer/>\r\n", b"\x00\xff", "", "\ud800"])
def test_a_response_comes_back_as_it_was_stored(tmp_path: Path, response: str | bytes) -> None:
    write_response(tmp_path, response, "text/x-test")
    assert read_response(tmp_path) == (response, "text/x-test")


def test_a_second_response_takes_the_place_of_the_first(tmp_path: Path) -> None:
    write_response(tmp_path, "one", "text/xml")
    write_response(tmp_path, b"two", "image/tiff")
    assert read_response(tmp_path) == (b"two", "image/tiff")
    assert len(list(tmp_path.iterdir())) == 2


def test_there_is_none_before_it_is_stored(tmp_path: Path) -> None:
    assert read_response(tmp_path) is None


def test_a_response_is_text_or_bytes(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="text or bytes, not int"):
        write_response(tmp_path, 7, "text/xml")  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
