"""Where a program's tasks are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from wpsjobs.tracker.settings import SettingsError, load

ROOT = Path(__file__).parents[3]


def test_the_environment_alone_is_enough(tmp_path: Path) -> None:
    (tmp_path / "task").mkdir()
    loaded = load(
        {
            "WPSJOBS_PATH_TASK": str(tmp_path / "task"),
            "WPSJOBS_NAMESPACE": "maps",
            "WPSJOBS_TRACKER_QUEUE": "night",
            "WPSJOBS_ACCEPT_TIMEOUT": "2.5",
        }
    )
    assert (loaded.path_task, loaded.path_temp) == (tmp_path / "task", tmp_path / "temp")
    assert (loaded.namespace, loaded.queue, loaded.accept_timeout) == ("maps", "night", 2.5)
    assert (loaded.template_queue, loaded.context) == ("default", None)


def test_a_directory_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="mount the shared volume there"):
        load({"WPSJOBS_PATH_TASK": str(tmp_path / "nothing")})


@pytest.mark.parametrize("value", ["soon", "-1", "600"])
def test_a_timeout_is_some_seconds(tmp_path: Path, value: str) -> None:
    with pytest.raises(SettingsError, match="number of seconds up to 60"):
        load({"WPSJOBS_PATH_TASK": str(tmp_path), "WPSJOBS_ACCEPT_TIMEOUT": value})


def run(code: str, **environ: str) -> str:
    """What a program prints that imports the tracker."""
    known = {key: value for key, value in os.environ.items() if not key.startswith("WPSJOBS")}
    known.pop("DJANGO_SETTINGS_MODULE", None)
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**known, "PYTHONPATH": str(ROOT / "operator"), **environ},
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def test_importing_needs_neither_cluster_nor_settings() -> None:
    code = (
        "from wpsjobs.tracker import *; import sys; "
        "print('kubernetes' in sys.modules, MAX_QUEUE_SIZE, dbLocker(DummyLock(), max, 1, 2))"
    )
    assert run(code, KUBECONFIG="/nothing").split() == ["False", "64", "2"]


def test_without_settings_a_call_says_what_to_set() -> None:
    code = (
        "from wpsjobs.tracker import *\nfrom wpsjobs.tracker.settings import SettingsError\n"
        "try:\n    getQueueSize()\nexcept SettingsError as error:\n    print(error)"
    )
    assert "set WPSJOBS_PATH_TASK" in run(code)
