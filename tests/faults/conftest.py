"""A namespace of each test's own; the installed product, brought back to health after each test."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from tests.deployment.release import install_resources
from tests.faults.product import Product
from tests.integration.kube import Kube, Space


@pytest.fixture(scope="session")
def kube() -> Kube:
    """The API server, which has the custom resources of this checkout."""
    install_resources()
    return Kube()


@pytest.fixture
def space(kube: Kube) -> Iterator[Space]:
    """A namespace that no operator serves unless the test starts one, with the process Echo.

    No pod in it ever starts: what a kubelet would say of it, the test says.
    """
    space = Space(kube, f"faults-{uuid.uuid4().hex[:10]}")
    space.make()
    space.custom("wpsprocesses", "echo", identifier="Echo")
    yield space
    space.remove()


@pytest.fixture
def product(kube: Kube) -> Iterator[Product]:
    """The installed product, whole again after the test."""
    product = Product(kube)
    yield product
    product.restore()
