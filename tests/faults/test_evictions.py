"""Pods that are evicted: a disruption does not count as a restart, the pod's own doing does."""

from __future__ import annotations

from typing import Any

import pytest

from tests.deployment.tools import kubectl
from tests.faults.product import Product
from tests.faults.watcher import Watcher

pytestmark = pytest.mark.e2e


def _fill_too_small_a_volume(spec: dict[str, Any]) -> None:
    """More in an emptyDir than its limit: the kubelet ends such a pod, by its own look at it."""
    worker = spec["containers"][0]
    mount = {"name": "small", "mountPath": "/small"}
    filler = {key: worker[key] for key in ("image", "imagePullPolicy", "securityContext")}
    filler |= {"name": "filler", "volumeMounts": [mount]}
    filler["command"] = ["dd", "if=/dev/zero", "of=/small/file", "bs=1M", "count=8"]
    filler["resources"] = {"limits": {"memory": "64Mi"}}
    spec["initContainers"] = [filler]
    spec["volumes"].append({"name": "small", "emptyDir": {"sizeLimit": "1Mi"}})


def _evict(product: Product, pod: str) -> None:
    metadata = {"name": pod, "namespace": product.space.name}
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
    product.space.kube.request("POST", product.space.path("pods", pod, "eviction"), body)


def _drain(product: Product, name: str) -> None:
    node = product.space.get("pods", product.pod_of(name))["spec"]["nodeName"]
    selector = f"--pod-selector=wps.eoxserver.org/job={name}"
    try:
        kubectl("drain", node, selector, "--delete-emptydir-data", "--timeout=60s")
    finally:
        kubectl("uncordon", node)


def test_evictions_and_drains_do_not_count_and_too_much_storage_does(product: Product) -> None:
    greedy_queue = product.queue(_fill_too_small_a_volume, parallelism=1)
    queue = product.queue(parallelism=2)
    with Watcher(product.space.name) as watcher:
        greedy = product.sleep(greedy_queue, 600, restartLimit=0)
        evicted, drained = (product.sleep(queue, 3, restartLimit=0) for _ in range(2))
        for name in (evicted, drained):
            product.wait_progress(name)
        _evict(product, product.pod_of(evicted))
        _drain(product, drained)
        for name in (evicted, drained):
            status = product.wait_phase(name, "Succeeded")
            assert (status["attempt"], status["restarts"]) == (2, 0)
            assert [entry["reason"] for entry in status["attempts"]] == ["Disrupted", "Completed"]
            assert product.document(name) == "ProcessSucceeded"
        status = product.wait_phase(greedy, "Failed", 150)
        assert (status["attempt"], status["restarts"], status["reason"]) == (1, 0, "Crash")
        assert 'EmptyDir volume "small" exceeds the limit' in status["message"]
        watcher.check(only=[queue, greedy_queue])
