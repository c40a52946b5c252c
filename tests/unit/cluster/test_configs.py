"""What the components are told: above all, that nothing listens on an outside interface."""

import re
from pathlib import Path

import pytest
import yaml

from tests.cluster import kwok
from tests.cluster.components import Component, components
from tests.cluster.configs import config_texts
from tests.cluster.settings import HOST, Instance, make_instance

ADDRESS = re.compile(r"(?<![\d.])(\d+\.\d+\.\d+\.\d+)(?![\d.])(?!/)")


@pytest.fixture
def instance() -> Instance:
    return make_instance("second", {"WPSJOBS_CACHE": "/cache"})


@pytest.fixture
def parts(instance: Instance) -> dict[str, Component]:
    return {part.name: part for part in components(instance)}


def test_no_component_is_told_of_an_address_but_loopback_and_the_bridge(
    instance: Instance, parts: dict[str, Component]
) -> None:
    allowed = {HOST, instance.network.node_address}
    told = [word for part in parts.values() for word in part.command]
    told += config_texts(instance).values()
    for text in told:
        assert set(ADDRESS.findall(text)) <= allowed, text


def test_every_component_that_listens_is_told_where(
    instance: Instance, parts: dict[str, Component]
) -> None:
    assert f"--bind-address={instance.network.node_address}" in parts["kube-apiserver"].command
    for name in ("kube-controller-manager", "kube-scheduler"):
        assert f"--bind-address={HOST}" in parts[name].command
    texts = {path.name: text for path, text in config_texts(instance).items()}
    kubelet = yaml.safe_load(texts["kubelet.yaml"])
    assert kubelet["address"] == instance.network.node_address
    assert kubelet["healthzBindAddress"] == HOST
    assert kubelet["readOnlyPort"] == 0
    assert yaml.safe_load(texts["kube-proxy.yaml"])["nodePortAddresses"] == ["127.0.0.0/8"]


def test_all_data_lies_below_the_directories_of_the_instance(
    instance: Instance, parts: dict[str, Component]
) -> None:
    below = (str(instance.state), str(instance.run), str(instance.cache))
    for part in parts.values():
        for word in part.command:
            value = word.partition("=")[2] or word
            if value.startswith("/"):
                assert value.startswith(below), word


def test_simulated_nodes_are_tainted_so_that_nothing_comes_there_unasked() -> None:
    node = kwok.node_manifest(3)
    assert node["metadata"]["name"] == "kwok-3"
    assert node["spec"]["taints"] == [
        {"key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule"}
    ]


def test_simulated_pods_come_up_end_and_go() -> None:
    documents = list(yaml.safe_load_all(Path(kwok.STAGES).read_text()))
    assert [document["kind"] for document in documents] == ["Stage"] * len(documents)
    names = {document["metadata"]["name"] for document in documents}
    assert names == {"node-initialize", "pod-ready", "pod-complete", "pod-delete"}
