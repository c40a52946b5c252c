"""What an older back-end left: its results are served and can be purged, nobody else touches it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
import requests

from tests.cluster.settings import ClusterError
from tests.e2e.own import Own
from tests.e2e.test_eoxserver_callbacks import until_called

OLD = "b1a7c2de-0000-4000-8000-0123456789ab"
RESPONSE = (
    '<wps:ExecuteResponse xmlns:wps="http://www.opengis.net/wps/1.0.0"><wps:Status>'
    "<wps:ProcessSucceeded/></wps:Status></wps:ExecuteResponse>"
)


@pytest.fixture
def old(own: Own) -> Iterator[str]:
    """A finished job with its results and a queued task, as the former daemon kept them."""
    directory, task = own.volume / "perm" / OLD, own.volume / "task" / "waiting-task"
    directory.mkdir()
    (directory / "executeResponse.xml").write_text(RESPONSE)
    (directory / "result.txt").write_text("as it was")
    task.write_bytes(b"a pickle")
    for path in (directory, *directory.iterdir(), task):
        os.chown(path, 1000, 1000)
    yield OLD
    shutil.rmtree(directory, ignore_errors=True)
    task.unlink(missing_ok=True)
    (own.volume / "recorded" / f"{OLD}.jsonl").unlink(missing_ok=True)


def test_old_results_stay_until_they_are_purged(own: Own, old: str) -> None:
    url = f"{own.release.url}/results/{old}"
    for path in (own.volume / "perm" / old).iterdir():
        os.utime(path, (0, 0))
    own.manage("housekeep", "--once", "--allow-mass-removal")
    assert requests.get(f"{url}/executeResponse.xml", timeout=30).text == RESPONSE
    assert requests.get(f"{url}/result.txt", timeout=30).text == "as it was"

    assert "removed" in own.manage("purge", old, "--process", "Recorder")
    until_called(own, old, "discard")
    assert requests.get(f"{url}/result.txt", timeout=30).status_code == 404
    assert (own.volume / "task" / "waiting-task").exists()
    with pytest.raises(ClusterError, match="There is no job"):
        own.manage("purge", old)


def test_doctor_reports_the_tasks_that_were_left(own: Own, old: str) -> None:
    found = own.in_web("sh", "-c", "python manage.py wpsjobs doctor || true")

    assert "path_task has 1 entries without a marker" in found
    assert "waiting-task" in found
    assert "nothing will run them" in found
