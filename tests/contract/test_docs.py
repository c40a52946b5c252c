"""What the documents tell works as they tell it."""

from __future__ import annotations

import configparser
import re
import shlex
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from django.core.cache import cache
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils.module_loading import import_string
from eoxserver.services.ows.wps.util import get_process_by_identifier

from tests.contract import schemas
from tests.contract.conftest import Ended, Wps, job_id, only_job
from tests.contract.documented import DOCS, blocks
from tests.contract.fakeapi import FakeApi
from tests.contract.instance import ROOT
from wpsjobs.api.attempt import ExitCode
from wpsjobs.api.wpsprocess import WpsProcess
from wpsjobs.eoxserver.config import KUBERNETES_SECTION, SECTION, Config

RunWorker = Callable[..., Ended]


@pytest.fixture(autouse=True)
def empty_cache() -> None:
    cache.clear()


def test_the_process_of_the_document_runs(wps: Wps, api: FakeApi, run_worker: RunWorker) -> None:
    answer = wps.get("CountWords", text="to be or not to be", least="2")
    assert answer.status_code == 200, answer.content
    job = job_id(only_job(api))
    assert cache.get("counting") == 1
    ended = run_worker(job)

    assert ended.code == ExitCode.SUCCEEDED, ended.output
    assert "started at" in ended.output
    document = wps.document(job)
    assert f"http://testserver/results/{job}/table.json" in document
    schemas.check(document)
    assert (wps.work / "perm" / job / "table.json").read_text() == '{"to": 2, "be": 2}'


def test_its_refusal_is_the_clients_answer(wps: Wps, api: FakeApi) -> None:
    cache.set("counting", 5)
    assert wps.get("CountWords", text="a").status_code == 503
    assert api.jobs == {}


def test_its_error_is_the_clients_own(wps: Wps, api: FakeApi, run_worker: RunWorker) -> None:
    wps.get("CountWords", text="all words differ", least="9")
    job = job_id(only_job(api))

    assert run_worker(job).code == ExitCode.CLIENT_ERROR
    assert 'locator="least"' in wps.document(job)


def test_the_callbacks_of_the_document_are_all_there_are(wps: Wps) -> None:
    text = (DOCS / "processes.md").read_text()
    told = set(re.findall(r"^\| `(\w+)\(context", text, re.MULTILINE))
    assert told == {
        "initialize",
        *(f"on_{name}" for name in ("accepted", "started", "progress_update", "paused")),
        *("on_succeeded", "on_failed", "discard"),
    }
    process = get_process_by_identifier("CountWords")
    assert all(hasattr(process, name) for name in told - {"on_progress_update", "on_paused"})


def test_the_wps_process_of_the_document_is_one() -> None:
    (text,) = blocks("processes.md", "yaml")
    raw = yaml.safe_load(text)
    raw["metadata"] |= {"namespace": "wps", "uid": "1", "resourceVersion": "1"}
    process = WpsProcess.from_raw(raw)
    assert process.identifier == "CountWords"


@pytest.mark.parametrize("document", ["processes.md", "migration.md"])
def test_the_settings_of_the_document_name_what_there_is(document: str) -> None:
    settings: dict[str, Any] = {"INSTALLED_APPS": [], "MIDDLEWARE": []}
    (text,) = [block for block in blocks(document, "python") if "# settings.py" in block]
    exec(text, settings)  # noqa: S102 (the project's own text)
    for name in ("EOXS_ASYNC_BACKENDS", "EOXS_EXCEPTION_HANDLERS", "MIDDLEWARE"):
        for path in settings.get(name, ()):
            assert import_string(path)


def test_the_configuration_of_the_document_is_read() -> None:
    (text,) = blocks("migration.md", "ini")
    parser = configparser.ConfigParser()
    parser.read_string(text)
    config = Config.from_options(
        dict(parser.items(SECTION)), dict(parser.items(KUBERNETES_SECTION)), "eoxserver.conf"
    )
    assert (config.namespace, config.queue) == ("wps", "default")
    assert config.url_base == "https://maps.example.org/results"


COMMANDS = [
    line
    for document in ("processes.md", "migration.md")
    for block in blocks(document, "console")
    for line in block.splitlines()
]


@pytest.mark.parametrize("line", COMMANDS)
def test_the_commands_of_the_document_run(line: str, backend: Any) -> None:
    _, _, arguments = line.partition("python manage.py ")
    words = shlex.split(arguments.partition(" | ")[0])
    assert words[0] == "wpsjobs"
    if words[1] == "doctor":  # finds what this instance lacks, and the queue first of all
        with pytest.raises(CommandError):
            call_command(*words)
    else:
        call_command(*words)


def test_the_tests_that_the_table_names_are_there() -> None:
    text = (DOCS / "migration.md").read_text()
    named = re.findall(r"\| `(tests/[\w/]+\.py)(?:::(\w+))?` \|", text)
    assert len(named) > 30
    for path, test in named:
        source = (ROOT / path).read_text()
        assert not test or f"def {test}(" in source, f"{path}::{test}"
