"""Two releases in namespaces of their own, and the databases behind them."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.charts.own import One
from tests.charts.postgres import Postgres, programs
from tests.cluster import current
from tests.cluster.settings import ClusterError, current_instance
from tests.deployment.release import Release, make_namespace
from tests.deployment.tools import apply


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests of this folder need a cluster and the images."""
    for item in items:
        if "charts" in item.path.parts and "unit" not in item.path.parts:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def one() -> Iterator[One]:
    """A release that has a claim of the chart's own making, for whoever wants to change it."""
    if current.is_current(os.environ):
        pytest.skip("needs volumes on the node")
    release = Release(namespace="charts-one", node_port=30088)
    folder = current_instance().volumes / release.namespace
    found = One(release, folder)
    try:
        release.make_volume()
        found.install()
        yield found
    finally:
        with contextlib.suppress(ClusterError):  # a test may have uninstalled it
            release.uninstall_release()
        release.remove_namespace()
        release.remove_volume()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL with PostGIS."""
    folder: Path | None = programs()
    if folder is None or os.geteuid() != 0 or current.is_current(os.environ):
        pytest.skip("needs PostgreSQL with PostGIS on the node: tests/install-dev.sh")
    with Postgres(folder) as server:
        yield server


@pytest.fixture(scope="session")
def two(postgres: Postgres) -> Iterator[Release]:
    """A release with the database in PostGIS."""
    release = Release(namespace="charts-two", node_port=30089)
    make_namespace(release.namespace)
    secret = postgres.secret("database")
    apply({**secret, "metadata": {"name": "database", "namespace": release.namespace}})
    try:
        release.install(
            database={
                "type": "postgis",
                "existingSecret": "database",
                "setup": [["demo_setup"]],
            }
        )
        yield release
    finally:
        release.uninstall()
