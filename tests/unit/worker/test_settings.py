"""What the supervisor reads from its environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from wpsjobs.api.attempt import Environment
from wpsjobs.worker.settings import EXECUTION_MODULE, HANDLER_MODULE, Settings, SettingsError

ENVIRONMENT = {
    Environment.NAMESPACE: "wps",
    Environment.NAME: "job",
    Environment.ATTEMPT: "3",
    Environment.KUBERNETES_JOB: "job-3",
    "KUBERNETES_SERVICE_HOST": "10.0.0.1",
    "KUBERNETES_SERVICE_PORT": "443",
}


def test_a_pod_made_by_the_operator_is_understood() -> None:
    settings = Settings.from_environment({**ENVIRONMENT, Environment.TIMEOUT_SECONDS: "60"})

    assert (settings.attempt, settings.timeout_seconds, settings.keep_logs) == (3, 60, False)
    assert settings.child_module == EXECUTION_MODULE
    assert settings.termination_log == Path("/dev/termination-log")


@pytest.mark.parametrize("value", ["", "0"])
def test_no_timeout_is_none(value: str) -> None:
    settings = Settings.from_environment({**ENVIRONMENT, Environment.TIMEOUT_SECONDS: value})

    assert settings.timeout_seconds is None


def test_a_handler_has_a_child_of_its_own() -> None:
    settings = Settings.from_environment({**ENVIRONMENT, Environment.HANDLER: "a.b"})

    assert settings.child_module == HANDLER_MODULE


@pytest.mark.parametrize("missing", [Environment.NAME, "KUBERNETES_SERVICE_HOST"])
def test_a_missing_variable_is_named(missing: str) -> None:
    environment = {key: value for key, value in ENVIRONMENT.items() if key != missing}

    with pytest.raises(SettingsError, match=missing):
        Settings.from_environment(environment)


def test_a_malformed_number_is_named() -> None:
    with pytest.raises(SettingsError, match=Environment.ATTEMPT):
        Settings.from_environment({**ENVIRONMENT, Environment.ATTEMPT: "two"})
