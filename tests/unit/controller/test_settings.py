"""The settings that the environment has."""

from __future__ import annotations

import dataclasses

import pytest

from wpsjobs.controller.settings import Settings


def test_an_empty_environment_gives_the_defaults() -> None:
    assert Settings.from_environment({}) == Settings()


def test_every_setting_can_be_set_by_the_variable_of_its_name() -> None:
    values = {"namespaces": "a, b,,", "log_level": "DEBUG", "probe_address": "127.0.0.1"}
    values |= {"worker_service_account": "worker"}
    names = [field.name for field in dataclasses.fields(Settings)]
    environment = {f"WPSJOBS_{name.upper()}": values.get(name, "7") for name in names}
    settings = Settings.from_environment(environment)
    assert settings.namespaces == ("a", "b")
    for name in set(names) - {"namespaces"}:
        assert str(getattr(settings, name)).removesuffix(".0") == values.get(name, "7")


def test_an_empty_variable_is_as_good_as_none() -> None:
    assert Settings.from_environment({"WPSJOBS_LIST_SECONDS": ""}) == Settings()


@pytest.mark.parametrize("text", ["soon", "nan", "inf", "-1", "0"])
@pytest.mark.parametrize(
    "name", ["LIST_SECONDS", "WRITES_AT_ONCE", "REQUEST_TIMEOUT", "STUCK_SECONDS"]
)
def test_what_is_no_positive_number_is_refused_by_the_variables_name(name: str, text: str) -> None:
    with pytest.raises(ValueError, match=f"WPSJOBS_{name}"):
        Settings.from_environment({f"WPSJOBS_{name}": text})


@pytest.mark.parametrize("text", ["0.5", "1.5"])
def test_a_count_is_a_whole_number(text: str) -> None:
    with pytest.raises(ValueError, match="WPSJOBS_WRITES_AT_ONCE"):
        Settings.from_environment({"WPSJOBS_WRITES_AT_ONCE": text})
