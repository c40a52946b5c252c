"""A configuration that cannot work ends the start of the web server, with words."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract import instance

NOBODY = 65534
WEB = ["-m", "gunicorn", "--check-config", "demo.wsgi:application"]


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Path]:
    """A directory of its own for an instance that is to be spoilt."""
    for name in ("temp", "perm", "task", "conf"):
        (tmp_path / name).mkdir()
    source = instance.work_directory() / "conf" / "eoxserver.conf"
    text = source.read_text().replace(str(instance.work_directory()), str(tmp_path))
    (tmp_path / "conf" / "eoxserver.conf").write_text(text)
    # Others than root may look into none of pytest's directories.
    for path in (tmp_path, *tmp_path.parents[:2]):
        path.chmod(0o755)
    return tmp_path


def run(own: Path, *command: str, user: int | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        env={**instance.environment(), "WPSJOBS_TEST_WORK": str(own), "HOME": str(own)},
        cwd=instance.INSTANCE,
        user=user,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def spoil(own: Path, key: str, value: str | None) -> None:
    """Set *key* to *value*, or remove it."""
    path = own / "conf" / "eoxserver.conf"
    line = f"{key}={value}" if value is not None else ""
    text, count = re.subn(rf"^{key}=.*$", line, path.read_text(), flags=re.MULTILINE)
    assert count == 1
    path.write_text(text)


def assert_named(own: Path, key: str, done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert "ImproperlyConfigured" in last
    for word in (key, "[services.ows.wps]", f"{own}/conf/eoxserver.conf"):
        assert word in last, last


def test_a_good_one_starts(own: Path) -> None:
    done = run(own, *WEB)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("key", ["path_temp", "path_perm", "path_task", "url_base"])
def test_a_missing_key_ends_the_start(own: Path, key: str) -> None:
    spoil(own, key, None)
    assert_named(own, key, run(own, *WEB))


@pytest.mark.parametrize(
    ("key", "value"),
    [("path_temp", "/nowhere/at/all"), ("path_task", "relative"), ("url_base", "maps.example.org")],
)
def test_a_wrong_value_ends_the_start(own: Path, key: str, value: str) -> None:
    spoil(own, key, value)
    assert_named(own, key, run(own, *WEB))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a process of another user")
@pytest.mark.parametrize("name", ["temp", "perm", "task"])
def test_a_directory_that_cannot_be_written_to_ends_the_start(own: Path, name: str) -> None:
    for other in ("temp", "perm", "task"):
        (own / other).chmod(0o755 if other == name else 0o777)
    done = run(own, *WEB, user=NOBODY)

    assert_named(own, f"path_{name}", done)
    assert f"cannot be written to by the user {NOBODY}" in done.stderr


def test_commands_of_others_work_and_the_check_warns(own: Path) -> None:
    """An image is built without the shared volume."""
    (own / "task").rmdir()
    done = run(own, "manage.py", "check")

    assert done.returncode == 0, done.stderr
    assert "wpsjobs.W001" in done.stderr
    assert "path_task" in done.stderr
