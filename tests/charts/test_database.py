"""A release with PostGIS, and how it and another release do not see each other."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import requests

from tests.charts.own import One, everything
from tests.charts.postgres import DATABASE, USER, Postgres
from tests.deployment.release import Release
from tests.deployment.tools import get, kubectl
from tests.e2e.wps import Client, job_id

COLLECTION = "only-in-postgis"


@pytest.fixture(scope="module")
def renamed(two: Release, postgres: Postgres) -> Iterator[str]:
    """A collection of a name that only the database in PostGIS knows."""
    change = "UPDATE coverages_eoobject SET identifier = '{}' WHERE identifier = '{}'"
    postgres.sql(change.format(COLLECTION, "olinda"))
    yield COLLECTION
    postgres.sql(change.format("olinda", COLLECTION))


def test_the_chart_migrates_the_database(two: Release, postgres: Postgres) -> None:
    migrated = postgres.sql("SELECT DISTINCT app FROM django_migrations").split()
    assert {"coverages", "backends", "services"} <= set(migrated)
    owner = postgres.sql("SELECT tableowner FROM pg_tables WHERE tablename = 'django_migrations'")
    assert owner == USER
    # What a hook made goes with it.
    names = {
        item["metadata"]["name"] for item in get("jobs,configmaps", "-n", "charts-two")["items"]
    }
    assert not {name for name in names if name.endswith(("-migrate", "-sync"))}


def test_an_execute_finds_its_collection_in_postgis(two: Release, renamed: str) -> None:
    client = Client(two)
    execution = client.finish(client.execute("Statistics", {"collection": renamed}))
    assert execution.isSucceded(), [error.text for error in execution.errors]
    (output,) = execution.processOutputs
    assert "MEAN" in str(output.data)


def test_the_password_is_in_the_secret_and_nowhere_else(two: Release, postgres: Postgres) -> None:
    objects = everything(two.namespace, without=("secrets",))
    assert {"ConfigMap", "Pod", "WpsJob", "WpsQueue", "Event"} <= {one["kind"] for one in objects}
    for one in objects:
        assert postgres.password not in json.dumps(one), (one["kind"], one["metadata"]["name"])
    for pod in (one for one in objects if one["kind"] == "Pod"):
        name = pod["metadata"]["name"]
        words = kubectl("logs", name, "-n", two.namespace, "--all-containers")
        assert postgres.password not in words, name


def test_helm_says_which_password_is_wrong(two: Release, postgres: Postgres) -> None:
    """The migrations come first, so that a database that cannot be reached changes nothing."""
    before = get("deployments", "-n", two.namespace)["items"]
    postgres.sql(f"ALTER ROLE {USER} PASSWORD 'another one'", DATABASE)
    try:
        with pytest.raises(Exception, match="pre-upgrade hooks failed"):
            two.install(database={"type": "postgis", "existingSecret": "database"})
        words = kubectl("logs", "job/wpsjobs-migrate", "-n", two.namespace)
        assert f'password authentication failed for user "{USER}"' in words
    finally:
        postgres.sql(f"ALTER ROLE {USER} PASSWORD '{postgres.password}'", DATABASE)
    after = get("deployments", "-n", two.namespace)["items"]
    assert [one["metadata"]["generation"] for one in after] == [
        one["metadata"]["generation"] for one in before
    ]


def test_two_releases_do_not_see_each_other(one: One, two: Release) -> None:
    clients = {one.namespace: one.client, two.namespace: Client(two)}
    jobs = {}
    for namespace, client in clients.items():
        execution = client.execute("Echo", {"text": namespace})
        assert client.finish(execution).isSucceded()
        jobs[namespace] = job_id(execution)
    for namespace, client in clients.items():
        other = next(name for name in clients if name != namespace)
        assert jobs[namespace] in client.wpsjobs()
        assert jobs[other] not in client.wpsjobs()
        page = f"{client.release.url}/results/{jobs[other]}/executeResponse.xml"
        assert requests.get(page, timeout=30).status_code == 404
        log = kubectl("logs", "deployment/wpsjobs-operator", "-n", namespace)
        assert jobs[namespace] in log
        assert jobs[other] not in log
        for part in ("operator", "web", "worker", "housekeeper", "sync"):
            assert not _may(f"system:serviceaccount:{namespace}:wpsjobs-{part}", other)


def _may(account: str, namespace: str) -> bool:
    """Whether that account may do anything at all with WpsJobs in *namespace*."""
    rights = kubectl("auth", "can-i", "--list", "--as", account, "-n", namespace)
    return "wps.eoxserver.org" in rights
