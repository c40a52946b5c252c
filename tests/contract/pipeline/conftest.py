"""Towns, and an operator that accepts what the service starts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from demo.management.commands.demo_setup import Command
from django.core.management import call_command
from django.db import connections
from django.test import Client

from tests.contract.fakeapi import FakeApi, Job
from wpsjobs.pipeline import service

WHEN = "2026-01-31T09:30:00.000000Z"


@pytest.fixture(scope="session")
def towns() -> Iterator[None]:
    """The tables, with the towns of the demonstration."""
    call_command("migrate", "wpsjobs_pipeline", verbosity=0)
    Command().add_towns()
    yield
    connections.close_all()


def accepted(job: Job) -> Job:
    """What the operator says of a new WpsJob."""
    entry = {"time": WHEN, "phase": "Accepted", "message": "queued"}
    return {
        "phase": "Accepted",
        "sequence": int(job["metadata"]["resourceVersion"]),
        "acceptedAt": WHEN,
        "history": [entry],
    }


@pytest.fixture
def http(towns: None, api: FakeApi, backend: Any, monkeypatch: pytest.MonkeyPatch) -> Client:
    """A client of the service."""
    api.on_created = accepted
    monkeypatch.setattr(service, "_board", None)
    return Client(raise_request_exception=False)
