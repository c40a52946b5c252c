"""The release that `make install` made, and its shared volume as the node sees it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.settings import current_instance
from tests.deployment.release import Release
from tests.deployment.tools import get
from tests.e2e.own import Own
from tests.e2e.wps import Client, until


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests of this folder need the product to be installed."""
    for item in items:
        if "e2e" in item.path.parts:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def release() -> Release:
    """The installed release; its resources must be there."""
    release = Release()
    get("wpsqueue", "default", "-n", release.namespace)
    return release


@pytest.fixture(scope="session")
def client(release: Release) -> Client:
    """A client of it."""
    return Client(release)


@pytest.fixture
def volume(release: Release) -> Path:
    """The shared volume, as the node sees it."""
    return current_instance().volumes / release.namespace


@pytest.fixture
def nothing_left(client: Client, volume: Path) -> Iterator[None]:
    """Fails the test that leaves a WpsJob or a directory behind.

    What belonged to a WpsJob that the test has deleted goes soon after, by the housekeeper.
    """

    def traces() -> tuple[set[str], set[str]]:
        folders = {
            str(path.relative_to(volume))
            for part in ("temp", "perm", "task")
            for path in (volume / part).iterdir()
        }
        return client.wpsjobs(), folders

    jobs, folders = traces()
    yield
    jobs_after, _ = traces()
    assert jobs_after - jobs == set()
    with contextlib.suppress(AssertionError):  # the next line says what is left
        until(lambda: not traces()[1] - folders, "the last of the test's directories to go", 20)
    assert traces()[1] - folders == set()


@pytest.fixture(scope="session")
def own() -> Iterator[Own]:
    """A release for what would disturb others: a full volume, a held queue, killed web servers."""
    own = Own.make()
    try:
        own.release.install(**own.values())
        yield own
    finally:
        own.remove()
