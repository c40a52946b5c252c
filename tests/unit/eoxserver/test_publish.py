"""Publishing files: out of the workspace, into the published directory, nowhere else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from eoxserver.services.ows.wps.context import ContextError

from wpsjobs.eoxserver.context import ExecutionContext, JobContext, Publication, _move


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    path = tmp_path / "temp" / "job" / "1"
    path.mkdir(parents=True)
    return path


@pytest.fixture
def context(workspace: Path, tmp_path: Path) -> ExecutionContext:
    target = tmp_path / "perm" / "job"
    target.mkdir(parents=True)
    publication = Publication(target, "http://x/results/job")
    return ExecutionContext("job", workspace, publication, lambda *_: None)


def test_a_file_is_moved_and_its_url_quoted(
    context: ExecutionContext, workspace: Path, tmp_path: Path
) -> None:
    (workspace / "sub").mkdir()
    (workspace / "sub" / "größe 1.tif").write_text("x")
    path, url = context.publish("sub/größe 1.tif")

    assert path == str(tmp_path / "perm" / "job" / "sub" / "größe 1.tif")
    assert Path(path).read_text() == "x"
    assert url == "http://x/results/job/sub/gr%C3%B6%C3%9Fe%201.tif"
    assert not (workspace / "sub" / "größe 1.tif").exists()


def test_an_absolute_path_within_the_workspace_will_do(
    context: ExecutionContext, workspace: Path
) -> None:
    (workspace / "a.tif").write_text("x")

    assert context.publish(str(workspace / "a.tif"))[1].endswith("/a.tif")


@pytest.mark.parametrize(
    "path",
    [
        "absent",
        ".",
        "..",
        "directory",
        "link",
        "../1/../../secret",
        "/etc/passwd",
        "outside/secret",
        "fifo",
        "executeResponse.xml",
        "directory/../executeResponse.xml",
    ],
)
def test_nothing_else_is_published(
    context: ExecutionContext, workspace: Path, tmp_path: Path, path: str
) -> None:
    (tmp_path / "temp" / "secret").write_text("secret")
    (workspace / "directory").mkdir()
    (workspace / "executeResponse.xml").write_text("forged")
    (workspace / "link").symlink_to(tmp_path / "temp" / "secret")
    (workspace / "outside").symlink_to(tmp_path / "temp")
    os.mkfifo(workspace / "fifo")

    with pytest.raises(ContextError):
        context.publish(path)
    assert list((tmp_path / "perm" / "job").iterdir()) == []


def test_a_move_across_file_systems_leaves_no_half_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"x" * 3_000_000)
    replace = Path.replace

    def elsewhere(self: Path, other: Path) -> Path:
        if self == source:
            raise OSError(18, "Invalid cross-device link")
        return replace(self, other)

    monkeypatch.setattr(Path, "replace", elsewhere)
    _move(source, target)

    assert target.stat().st_size == 3_000_000
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


@pytest.mark.parametrize(("progress", "percent"), [(-5, 0), (12.9, 12), (100, 99), ("50", 50)])
def test_progress_is_a_percentage_below_100(
    workspace: Path, tmp_path: Path, progress: float, percent: int
) -> None:
    seen: list[tuple[int, str]] = []
    publication = Publication(tmp_path, "http://x")
    context = ExecutionContext(
        "job", workspace, publication, lambda number, words: seen.append((number, words))
    )
    context.update_progress(progress)

    assert seen == [(percent, "")]


@pytest.mark.parametrize("progress", ["much", float("nan"), float("inf"), None])
def test_progress_that_is_no_number_is_an_error(context: ExecutionContext, progress: float) -> None:
    with pytest.raises(ContextError):
        context.update_progress(progress)


def test_discard_gets_identifier_and_logger_only() -> None:
    context = JobContext("job")

    assert context.identifier == "job"
    context.logger.debug("works")
    for call in (lambda: context.workspace_path, lambda: context.publish("x")):
        with pytest.raises(ContextError):
            call()
