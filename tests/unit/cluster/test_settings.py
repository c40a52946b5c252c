"""Versions, addresses and directories of the test cluster."""

import ipaddress

import pytest

from tests.cluster.settings import (
    VERSIONS_FILE,
    ClusterError,
    cache_root,
    make_instance,
    nth_subnet,
    read_versions,
)

NAMES = read_versions(VERSIONS_FILE.read_text())["instances"]["names"]


def test_instances_share_neither_addresses_nor_directories_nor_bridges() -> None:
    instances = [make_instance(name, {}) for name in NAMES]
    ranges = [net for i in instances for net in (i.network.pods, i.network.services)]
    for index, one in enumerate(ranges):
        assert not any(one.overlaps(other) for other in ranges[index + 1 :])
    for attribute in ("state", "run", "lock", "cgroup", "cni_name", "netns"):
        values = [getattr(instance, attribute) for instance in instances]
        assert len(set(values)) == len(values), attribute


def test_only_the_first_instance_lives_in_the_machines_own_network() -> None:
    assert [make_instance(name, {}).netns is None for name in NAMES] == [True, False, False]


def test_all_ranges_are_set_aside_for_measurements() -> None:
    reserved = ipaddress.IPv4Network("198.18.0.0/15")
    for name in NAMES:
        network = make_instance(name, {}).network
        assert network.pods.subnet_of(reserved)
        assert network.services.subnet_of(reserved)


def test_node_ports_stay_below_ephemeral_ports_and_hold_the_api_servers() -> None:
    network = make_instance("default", {}).network
    first, last = map(int, network.node_ports.split("-"))
    assert first <= network.api_node_port <= last < 32768


def test_no_two_components_share_a_port() -> None:
    ports = list(vars(make_instance("default", {}).ports).values())
    assert len(set(ports)) == len(ports)


def test_the_node_has_the_first_address_of_the_pods_and_the_api_server_that_of_the_services() -> (
    None
):
    network = make_instance("default", {}).network
    assert network.node_address == "198.18.0.1"
    assert network.api_service_address == "198.19.0.1"


def test_an_unknown_instance_is_refused_with_the_known_names() -> None:
    with pytest.raises(ClusterError, match="second"):
        make_instance("fourth", {})


def test_versions_without_a_section_are_refused() -> None:
    with pytest.raises(ClusterError, match="etcd"):
        read_versions('[kubernetes]\nversion = "v1"\n')


def test_a_range_that_is_full_gives_no_further_subnet() -> None:
    assert str(nth_subnet("198.18.0.0/16", 20, 15)) == "198.18.240.0/20"
    with pytest.raises(ClusterError):
        nth_subnet("198.18.0.0/16", 20, 16)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"WPSJOBS_CACHE": "/a", "XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/a"),
        ({"XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/b/wpsjobs"),
        ({"HOME": "/c"}, "/c/.cache/wpsjobs"),
    ],
)
def test_the_cache_lies_where_the_environment_says(environ: dict[str, str], expected: str) -> None:
    assert str(cache_root(environ)) == expected


def test_programs_of_another_version_are_kept_apart() -> None:
    instance = make_instance("default", {"WPSJOBS_CACHE": "/c"})
    assert str(instance.binary("etcd", "etcd", "v1")) == "/c/bin/etcd-v1/etcd"
