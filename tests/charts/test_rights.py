"""No right is granted that no code uses, as the API server's audit log tells."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from tests.charts.own import One
from tests.charts.rights import Right, granted, refused, used
from tests.cluster.settings import current_instance
from tests.deployment.tools import apply, kubectl, run
from tests.e2e.wps import job_id, until
from wpsjobs.api.times import format_time

GROUP = "wps.eoxserver.org"
BY_HAND = "by-hand"
CANCEL = (
    "import django; django.setup(); from wpsjobs.eoxserver.backend import WpsJobBackend; "
    "WpsJobBackend().cancel({!r})"
)
TASK = """
from wpsjobs.tracker import *
from wpsjobs.tracker import LeaseLock

with LeaseLock("catalogue", seconds=3):
    registerTaskType("Task", "wpsjobs.tracker.dummyHandler")
    registerTaskType("Task", "wpsjobs.tracker.dummyHandler", timeout=60)
enqueueTask("Task", "one", None)
"""
NO_TASK = "from wpsjobs.tracker import *; unregisterTaskType('Task', force=True)"
RARE = {
    "wpsjobs-operator": {
        Right("coordination.k8s.io", "leases", "create"): "where the Lease was deleted by hand",
        Right(GROUP, "wpsjobs", "get"): "after a conflict, and after a write without an answer",
        Right("batch", "jobs", "get"): "after a write without an answer",
        Right("", "events", "list"): "why a pod does not start in ten seconds",
    },
    "wpsjobs-web": {
        Right(GROUP, "wpsjobs", "watch"): "for the verdict, where it is not there at once",
    },
    "wpsjobs-housekeeper": {
        Right(GROUP, "wpsjobs", "get"): "of a directory whose WpsJob no list has any more",
        Right(GROUP, "wpsjobs", "delete"): "of what was refused, where the web server was killed",
    },
    "wpsjobs-consumer": {
        Right(GROUP, "wpsjobs", "get"): "after a report that was refused or got no answer",
    },
    "wpsjobs-sync": {
        Right(GROUP, "wpsqueues", "create"): "where the first queue has another name than it says",
        Right(GROUP, "wpsqueues", "patch"): "where eoxserver.conf has the former back-end's limits",
        Right(GROUP, "wpsprocesses", "create"): "where the values do not list a process",
        Right(GROUP, "wpsprocesses", "patch"): "where a process has a retention and no WpsProcess",
    },
}
"""What the scenario does not come to, and when the code does."""


@pytest.fixture(scope="module")
def began(one: One) -> str:
    """When the release was ready; before, and after its uninstall, rights come and go."""
    return format_time(datetime.now(UTC))


@pytest.fixture(scope="module")
def scenario(began: str, one: One) -> One:
    """The release, after all that a release usually does."""
    client = one.client
    done = client.finish(client.execute("Echo", {"text": "hello"}))
    assert done.isSucceded()
    manage(one, "list")
    # It finds fault with url_base, an address of this machine, which a pod does not reach.
    in_web(one, "sh", "-c", "python manage.py wpsjobs doctor --role web || true")
    # One runs, one waits, and the place of the latter is told.
    running, waiting = one.sleep(60), one.sleep(1)
    one.until_phase(waiting, "Accepted")
    client.kvp("Echo", "text=again")
    manage(one, "show", waiting)
    # A queue without room refuses, and the web server takes the WpsJob back.
    patch(one, "wpsqueue", "default", maxQueued=1)
    assert client.kvp("Echo", "text=refused").status_code == 503
    manage(one, "purge", waiting)
    # The plugin dismisses what runs, and the operator ends its pod.
    in_web(one, "python", "-c", CANCEL.format(running))
    one.until_phase(running, "Dismissed")
    # One that the plugin has not seen: the worker makes its directory.
    apply(by_hand(one))
    one.until_phase(BY_HAND, "Succeeded")
    # A task, which a consumer pulls.
    consumers = f"deployment/{one.release.name}-consumer"
    kubectl("scale", consumers, "--replicas=1", "-n", one.namespace)
    in_web(one, "python", "-c", TASK)
    until(lambda: "Succeeded" in task_phases(one), "the end of the task")
    in_web(one, "python", "-c", NO_TASK)
    kubectl("scale", consumers, "--replicas=0", "-n", one.namespace)
    patch(one, "wpsjob", job_id(done), ttlSecondsAfterFinished=0)
    until(lambda: job_id(done) not in client.wpsjobs(), "the expiry")
    return one


def task_phases(one: One) -> str:
    """The phases of the tasks."""
    columns = "jsonpath={.items[?(@.spec.queue=='tracker')].status.phase}"
    return kubectl("get", "wpsjobs", "-n", one.namespace, "-o", columns)


def by_hand(one: One) -> dict[str, Any]:
    """A WpsJob as `kubectl create` makes it."""
    return {
        "apiVersion": f"{GROUP}/v1alpha1",
        "kind": "WpsJob",
        "metadata": {"name": BY_HAND, "namespace": one.namespace},
        "spec": {"process": "Echo", "execute": {"inputs": [{"id": "text", "data": "hello"}]}},
    }


def manage(one: One, *arguments: str) -> str:
    return in_web(one, "python", "manage.py", "wpsjobs", *arguments)


def in_web(one: One, *command: str) -> str:
    web = f"deployment/{one.release.name}-web"
    return kubectl("exec", web, "-c", "eoxserver", "-n", one.namespace, "--", *command)


def patch(one: One, kind: str, name: str, **spec: Any) -> None:
    body = json.dumps({"spec": spec})
    kubectl("patch", kind, name, "-n", one.namespace, "--type=merge", "-p", body)


@pytest.fixture(scope="module")
def rights(scenario: One) -> dict[str, set[Right]]:
    """What the installed release grants."""
    name, namespace = scenario.release.name, scenario.namespace
    manifest = run("helm", "get", "manifest", name, "--namespace", namespace)
    return granted(one for one in yaml.safe_load_all(manifest) if one)


def test_no_right_is_granted_that_no_code_uses(
    scenario: One, rights: dict[str, set[Right]]
) -> None:
    seen = used(current_instance().audit_log, scenario.namespace)
    unused = {
        account: sorted(those - seen.get(account, set()) - set(RARE.get(account, {})))
        for account, those in rights.items()
    }
    assert {account: those for account, those in unused.items() if those} == {}


def test_nothing_was_refused(began: str, scenario: One) -> None:
    assert refused(current_instance().audit_log, scenario.namespace, began) == {}


def test_rights_that_are_seldom_used_are_granted(rights: dict[str, set[Right]]) -> None:
    for account, those in RARE.items():
        assert set(those) <= rights[account], account
