"""The modules that the cluster's programs are built from."""

import pytest

from tests.cluster import binaries
from tests.cluster.settings import make_instance

UPSTREAM = """\
module k8s.io/kubernetes

go 1.24.0

godebug default=go1.24

require (
\tk8s.io/api v0.0.0
\tk8s.io/klog/v2 v2.130.1
)

replace (
\tk8s.io/api => ./staging/src/k8s.io/api
\tk8s.io/client-go => ./staging/src/k8s.io/client-go
\texample.org/other => ../other
)
"""
INSTANCE = make_instance("default", {"WPSJOBS_CACHE": "/cache"})
TARGETS = {target.name: target for target in binaries.node_targets(INSTANCE)}


def test_modules_of_kubernetes_own_tree_become_released_ones() -> None:
    assert binaries.staged_modules(UPSTREAM) == ["k8s.io/api", "k8s.io/client-go"]
    lines = binaries.render_go_mod(TARGETS["kubernetes"], UPSTREAM).splitlines()
    staging = INSTANCE.versions.staging
    assert f"replace k8s.io/client-go => k8s.io/client-go {staging}" in lines
    assert "go 1.24.0" in lines
    assert lines[0] == "module wpsjobs.test/kubernetes"


def test_other_modules_replace_nothing() -> None:
    assert "replace" not in binaries.render_go_mod(TARGETS["etcd"], UPSTREAM)


def test_a_go_mod_without_a_version_asks_for_one_that_knows_tools() -> None:
    assert binaries.needed_go("module x\n") == "1.24"


def test_kubernetes_reports_its_version() -> None:
    flags = binaries.link_flags(TARGETS["kubernetes"])
    version = INSTANCE.versions.kubernetes
    assert f"-X k8s.io/component-base/version.gitVersion={version}" in flags
    assert f"gitMinor={version.split('.')[1]} " in f"{flags} "


def test_the_staging_version_belongs_to_the_kubernetes_version() -> None:
    versions = INSTANCE.versions
    assert versions.staging == "v0" + versions.kubernetes.removeprefix("v1")


def test_every_program_that_a_component_runs_is_built() -> None:
    assert set(TARGETS["kubernetes"].packages) == set(binaries.KUBERNETES_PROGRAMS)
    assert set(TARGETS) == {"kubernetes", "etcd", "helm", "kwok"}
    assert str(TARGETS["etcd"].directory(INSTANCE)).startswith("/cache/bin/etcd-v")


@pytest.mark.parametrize(
    ("own", "needed", "enough"),
    [("1.26.8", "1.26.0", True), ("1.26", "1.26.0", False), ("1.9", "1.24", False)],
)
def test_go_versions_compare_as_numbers(own: str, needed: str, enough: bool) -> None:
    result = binaries.version_tuple(own) >= binaries.version_tuple(needed)
    assert result is enough


def test_the_sandbox_programs_tag_follows_its_source() -> None:
    assert len(binaries.pause_tag()) == 12
