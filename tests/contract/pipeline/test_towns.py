"""Towns, tiles and the callable in their place; and that the document tells what there is."""

from __future__ import annotations

import json
import re
import sys
import types
from importlib import import_module
from typing import Any

import pytest
from demo.tiles import TOWNS
from django.conf import settings
from django.contrib import admin
from django.core.management import call_command
from django.test import Client, RequestFactory, override_settings
from django.utils.module_loading import import_string

from tests.contract.documented import DOCS, blocks
from tests.contract.fakeapi import FakeApi
from tests.contract.pipeline.test_service import data, start
from wpsjobs.pipeline.errors import UnknownError
from wpsjobs.pipeline.models import Tile, Town
from wpsjobs.pipeline.plans import Plan


def plan(town_id: int | None, tile_ids: Any) -> Plan:
    """Another way than by the models."""
    if town_id == 404:
        raise UnknownError("no town of that name")
    if town_id == 500:
        return Plan("Hillshade")
    return Plan.of_tiles("Mosaic", tile_ids or [4281, 4282])


@override_settings(WPSJOBS_PIPELINE_PLAN="tests.contract.pipeline.test_towns.plan")
def test_any_callable_may_replace_the_models(http: Client, api: FakeApi) -> None:
    job = start(http, town_id="3")
    assert [tile["tile_id"] for tile in job["tiles"]] == [4281, 4282]
    assert data(http.get("/start_job?town_id=404"), 404) == "no town of that name"
    assert "the server's log says why" in data(http.get("/start_job?town_id=500"), 500)
    with override_settings(WPSJOBS_PIPELINE_PLAN="nowhere.plan"):
        data(http.get("/start_job?town_id=3"), 500)
    assert len(api.jobs) == 1


def test_the_callable_of_the_document_is_one(http: Client, monkeypatch: Any) -> None:
    (text,) = [block for block in blocks("pipeline.md", "python") if "towns_own.py" in block]
    module = types.ModuleType("towns_own")
    exec(text, vars(module))  # noqa: S102 (the project's own text)
    monkeypatch.setitem(sys.modules, "towns_own", module)
    with override_settings(WPSJOBS_PIPELINE_PLAN="towns_own.plan"):
        assert [tile["tile_id"] for tile in start(http, town_id="1")["tiles"]] == [4281, 4282]
        assert [tile["tile_id"] for tile in start(http, tile_ids="4283")["tiles"]] == [4283]
        assert "there are [1, 2]" in data(http.get("/start_job?town_id=3"), 404)


def test_the_document_names_what_there_is(http: Client) -> None:
    text = (DOCS / "pipeline.md").read_text()
    description = json.loads(http.get("/openapi.json").content)
    told = set(re.findall(r"^\| `(/\w*)[?`]", text, re.MULTILINE))
    assert told == {*description["paths"], "/jobs"}
    states = re.findall(r"^\| `(\w+|in progress)` \| \w", text, re.MULTILINE)
    assert set(states) == set(description["components"]["schemas"]["State"]["enum"])
    for block in blocks("pipeline.md", "python"):
        if "INSTALLED_APPS" in block:
            found: dict[str, Any] = {"INSTALLED_APPS": []}
            exec(block, found)  # noqa: S102 (the project's own text)
            assert import_string(found["EOXS_ASYNC_BACKENDS"][0])
            assert all(import_module(name) for name in found["INSTALLED_APPS"])


def test_towns_are_listed_with_their_tiles(http: Client) -> None:
    assert data(http.get("/list_towns")) == [
        {"town_id": town.number, "name": town.name, "tile_ids": list(town.grid.numbers())}
        for town in TOWNS
    ]


ADMIN = ["admin", "sessions", "messages"]


def test_the_admin_has_towns_and_tiles(towns: None) -> None:
    """In an instance with Django's admin, which the demonstration does without."""
    installed = [*settings.INSTALLED_APPS, *(f"django.contrib.{name}" for name in ADMIN)]
    with override_settings(INSTALLED_APPS=installed):
        request = RequestFactory().get("/admin/")
        import_module("wpsjobs.pipeline.admin")
        towns_admin: Any = admin.site._registry[Town]
        found = {
            town.number: towns_admin.tile_count(town) for town in towns_admin.get_queryset(request)
        }
        assert found == {town.number: len(town.grid.numbers()) for town in TOWNS}
        problems = [*towns_admin.check(), *admin.site._registry[Tile].check()]
        assert problems == []


def test_models_are_as_their_migrations_and_their_bounds_are_checked(towns: None) -> None:
    call_command("makemigrations", "wpsjobs_pipeline", check=True, dry_run=True, verbosity=0)
    Tile(number=1).full_clean(validate_unique=False)
    Tile(number=1, west=-1, south=-1, east=1, north=1).full_clean(validate_unique=False)
    for corners in ({"west": 1.0}, {"west": 2.0, "south": 0.0, "east": 1.0, "north": 1.0}):
        with pytest.raises(Exception, match=r"Write west|less than"):
            Tile(number=1, **corners).full_clean(validate_unique=False)
