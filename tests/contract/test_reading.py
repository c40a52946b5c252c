"""What the housekeeper lets people read of the shared volume, and what not."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.conftest import Wps, only_job
from tests.contract.fakeapi import FakeApi, Refusal
from tests.contract.test_worker import RunWorker
from wpsjobs.eoxserver import config
from wpsjobs.eoxserver.client import Cluster
from wpsjobs.eoxserver.reading import Reader

DOCUMENT = "files/executeResponse.xml"


@pytest.fixture
def reader(api: FakeApi) -> Iterator[Reader]:
    loaded = config.load()
    cluster = Cluster(loaded.namespace, loaded.context)
    reader = Reader(loaded, cluster, 0)
    reader.start()
    yield reader
    reader.close()
    cluster.close()


def fetch(reader: Reader, path: str) -> tuple[bytes, str | None]:
    """Content and public URL."""
    url = f"http://127.0.0.1:{reader.port}{path}"
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read(), answer.headers["Content-Location"]


def refused(reader: Reader, path: str) -> int:
    with pytest.raises(urllib.error.HTTPError) as caught:
        fetch(reader, path)
    with caught.value as error:
        return error.code


def job_path(api: FakeApi) -> tuple[str, str]:
    """Name of the only WpsJob, and the path of what is the reader's of it."""
    metadata = only_job(api)["metadata"]
    return metadata["name"], f"/jobs/{metadata['name']}/{metadata['uid']}"


def test_it_says_that_it_listens(reader: Reader) -> None:
    assert fetch(reader, "/healthz")[0] == b"ok\n"


def test_the_kept_log_and_the_document(
    wps: Wps, api: FakeApi, reader: Reader, run_worker: RunWorker
) -> None:
    wps.get("Recorder")
    name, path = job_path(api)
    run_worker(name)
    (wps.work / "task" / name / "1.log").write_text("first line\nsécond line\n")

    assert fetch(reader, f"{path}/logs/1")[0].decode() == "first line\nsécond line\n"
    document, url = fetch(reader, f"{path}/{DOCUMENT}")
    assert document.decode() == wps.document(name)
    assert url == only_job(api)["spec"]["responseUrl"]


@pytest.mark.parametrize(
    "rest", ["logs/2", "logs/../1", "logs/-1", "files/nothing", "files/.", "secrets/1", ""]
)
def test_what_is_not_there_is_not_found(wps: Wps, api: FakeApi, reader: Reader, rest: str) -> None:
    wps.get("Recorder")
    _, path = job_path(api)
    assert refused(reader, f"{path}/{rest}") == 404


def test_the_uid_is_the_key(wps: Wps, api: FakeApi, reader: Reader) -> None:
    wps.get("Recorder")
    name, path = job_path(api)
    assert fetch(reader, f"{path}/{DOCUMENT}")[0]
    for uid in ("00000000-0000-0000-0000-000000000000", "%00", "%C3%A9"):
        assert refused(reader, f"/jobs/{name}/{uid}/{DOCUMENT}") == 404


def test_directories_of_another_submission_are_not_shown(
    wps: Wps, api: FakeApi, reader: Reader
) -> None:
    wps.get("Recorder")
    _, path = job_path(api)
    api.jobs[only_job(api)["metadata"]["name"]]["spec"]["submission"] = "another"
    assert refused(reader, f"{path}/{DOCUMENT}") == 404


@pytest.mark.parametrize(
    "way", ["%2e%2e/%2e%2e/secret", "link", "folder/secret", "pipe", ".hidden"]
)
def test_nothing_outside_of_the_jobs_folder_is_read(
    wps: Wps, api: FakeApi, reader: Reader, tmp_path: Path, way: str
) -> None:
    wps.get("Recorder")
    name, path = job_path(api)
    secret = wps.work / "secret"
    secret.write_text("token")
    folder = wps.work / "perm" / name
    (folder / "link").symlink_to(secret)
    (folder / "folder").symlink_to(wps.work)
    (folder / ".hidden").write_text("half-written")
    os.mkfifo(folder / "pipe")
    (wps.work / "task" / name / "7.log").symlink_to(secret)
    try:
        assert refused(reader, f"{path}/files/{way}") == 404
        assert refused(reader, f"{path}/logs/7") == 404
    finally:
        secret.unlink()


def test_an_api_server_that_is_away_is_said(wps: Wps, api: FakeApi, reader: Reader) -> None:
    wps.get("Recorder")
    _, path = job_path(api)
    api.refuse = lambda _method, _path: Refusal(503, "away")
    assert refused(reader, f"{path}/{DOCUMENT}") == 503
