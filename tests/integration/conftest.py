"""The custom resources, a namespace of the tests' own and an operator as a process of its own."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deployment.release import install_resources
from tests.integration.kube import Kube, Space
from tests.integration.operator_process import Operator


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests of this folder need an API server."""
    for item in items:
        if "integration" in item.path.parts:
            item.add_marker(pytest.mark.cluster)


@pytest.fixture(scope="session")
def kube() -> Kube:
    """The API server, which has the custom resources of this checkout."""
    install_resources()
    return Kube()


@pytest.fixture(scope="module")
def space(kube: Kube) -> Iterator[Space]:
    """A namespace that no operator serves, unless the module starts one."""
    space = Space(kube, f"test-{uuid.uuid4().hex[:10]}")
    space.make()
    yield space
    space.remove()


@pytest.fixture(scope="module")
def operator(space: Space, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """An operator that serves the module's namespace."""
    folder: Path = tmp_path_factory.mktemp("operator")
    with Operator(space.name, folder) as operator:
        operator.wait_ready()
        yield operator
