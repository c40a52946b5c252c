"""The configuration and its errors."""

from __future__ import annotations

import logging
import re
from configparser import RawConfigParser
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from wpsjobs.eoxserver import config as configuration
from wpsjobs.eoxserver.config import SECTION, SOCKET_KEYS, Config

OPTIONS = {
    "path_temp": "/srv/temp",
    "path_perm": "/srv/perm",
    "path_task": "/srv/task",
    "url_base": "https://wps.example.org/results/",
    "max_queued_jobs": "64",
}
SOURCE = "/opt/instance/conf/eoxserver.conf"


def load(**changes: str | None) -> Config:
    options = {key: value for key, value in {**OPTIONS, **changes}.items() if value is not None}
    return Config.from_options(options, {"namespace": "wps"}, SOURCE)


def test_a_configuration_of_the_former_back_end_is_enough() -> None:
    config = load()

    assert config.path_perm == Path("/srv/perm")
    assert config.url_base == "https://wps.example.org/results"
    assert (config.queue, config.accept_timeout, config.context) == ("default", 5.0, None)


@pytest.mark.parametrize("key", ["path_temp", "path_perm", "path_task", "url_base"])
@pytest.mark.parametrize("value", [None, "", "  ", "relative"])
def test_an_error_names_key_section_and_file(key: str, value: str | None) -> None:
    with pytest.raises(ImproperlyConfigured) as raised:
        load(**{key: value})

    assert re.match(rf"{key} .*\[services\.ows\.wps\] of {SOURCE}", str(raised.value))


@pytest.mark.parametrize("value", ["soon", "0", "-1", "61", "nan"])
def test_the_accept_timeout_is_bounded(value: str) -> None:
    kubernetes = {"namespace": "wps", "accept_timeout": value}
    with pytest.raises(ImproperlyConfigured, match=r"accept_timeout .*wps\.kubernetes\]"):
        Config.from_options(OPTIONS, kubernetes, SOURCE)


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    for name in ("temp", "perm"):
        (tmp_path / name).mkdir()
    config = load(**{f"path_{name}": str(tmp_path / name) for name in ("temp", "perm", "task")})

    with pytest.raises(ImproperlyConfigured, match=rf"path_task = {tmp_path}/task in .*{SOURCE}"):
        config.check_directories()


def test_settings_of_the_former_daemon_are_accepted_with_one_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    unused = dict.fromkeys(SOCKET_KEYS, "1")
    others = {"num_workers": "4", "num_worker_processes": "8", "max_processed_jobs": "100"}
    monkeypatch.setattr(configuration, "_warned", False)
    logger = logging.getLogger("wpsjobs")
    logger.addHandler(caplog.handler)
    try:
        for _ in range(3):  # EOxServer reads its file anew now and then
            parser = RawConfigParser()
            parser.read_dict({SECTION: {**OPTIONS, **unused, **others}})
            monkeypatch.setattr(configuration, "get_eoxserver_config", lambda read=parser: read)
            monkeypatch.setattr(configuration, "_cached", None)
            assert configuration.load().path_perm == Path("/srv/perm")
    finally:
        logger.removeHandler(caplog.handler)
    (warning,) = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]

    for key in SOCKET_KEYS:
        assert key in warning
    assert f"[{SECTION}]" in warning
