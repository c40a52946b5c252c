"""One EOxServer instance: web, job, housekeeper and hook pods get the same of it."""

from __future__ import annotations

import configparser
from typing import Any

from tests.unit.charts.rendering import CASES, instance_pods, needs_helm, objects

pytestmark = needs_helm

ALIKE = ("web", "worker", "housekeeper", "sync")


def container(pod: dict[str, Any]) -> dict[str, Any]:
    (found,) = pod["containers"]
    return dict(found)


def variables(pod: dict[str, Any]) -> dict[str, Any]:
    return {one["name"]: one.get("value", one.get("valueFrom")) for one in container(pod)["env"]}


def published(case: str) -> dict[str, dict[str, str]]:
    """``eoxserver.conf`` of each ConfigMap that has one."""
    found = {}
    for one in objects(case, "ConfigMap"):
        if "eoxserver.conf" in one["data"]:
            parser = configparser.RawConfigParser()
            parser.read_string(one["data"]["eoxserver.conf"])
            found[one["metadata"]["name"]] = dict(parser.items("services.ows.wps"))
    return found


@CASES
def test_all_pods_of_the_instance_are_alike(case: str) -> None:
    pods = instance_pods(case)
    assert {"worker", "housekeeper", "sync"} <= set(pods)
    model = pods["worker"]
    for part in set(pods) & set(ALIKE):
        assert container(pods[part])["env"] == container(model)["env"], part
        assert container(pods[part])["volumeMounts"] == container(model)["volumeMounts"], part
        assert container(pods[part])["image"] == container(model)["image"], part
        assert container(pods[part])["workingDir"] == container(model)["workingDir"], part
        assert pods[part]["volumes"] == model["volumes"], part
        assert pods[part]["securityContext"] == model["securityContext"], part


def test_migrations_differ_by_what_is_not_there_before_the_first_install() -> None:
    pods = instance_pods("production")
    before, after = variables(pods["migrate"]), variables(pods["worker"])
    assert before.pop("SECRET_KEY") != after.pop("SECRET_KEY")
    assert before == after
    volumes = {one["name"]: one for one in pods["worker"]["volumes"]}
    for volume in pods["migrate"]["volumes"]:
        if volume["name"] != "config":
            assert volume == volumes.pop(volume["name"])
    assert set(volumes) == {"data", "config"}
    assert len(set(map(str, published("production").values()))) == 1


def test_modules_of_ones_own_come_before_the_image_s() -> None:
    pod = instance_pods("production")["worker"]
    environment = variables(pod)
    assert environment["DJANGO_SETTINGS_MODULE"] == "settings_own"
    assert environment["PYTHONPATH"] == "/etc/wpsjobs/instance:/opt/extras:/opt/instance"
    mounts = {one["name"]: one["mountPath"] for one in container(pod)["volumeMounts"]}
    assert mounts["instance"] == "/etc/wpsjobs/instance"
    assert mounts["scenes"] == "/scenes"
    volumes = {one["name"]: one for one in pod["volumes"]}
    assert volumes["instance"]["configMap"] == {"name": "instance"}


def test_the_database_s_access_comes_from_the_secret_alone() -> None:
    environment = variables(instance_pods("production")["web"])
    keys = {"DB_HOST": "host", "DB_PORT": "port", "DB_NAME": "dbname", "DB_USER": "user"}
    for variable, key in {**keys, "DB_PW": "password"}.items():
        assert environment[variable] == {"secretKeyRef": {"name": "database", "key": key}}


@CASES
def test_results_are_published_where_eoxserver_says(case: str) -> None:
    wanted = {
        "production": "https://files.example.org/wps",
        "without web": "https://maps.example.org/results",
    }.get(case, "http://wpsjobs-web.default.svc/results")
    for options in published(case).values():
        assert options["url_base"] == wanted
        assert options["path_perm"] == "/var/lib/wps/perm"


def test_a_command_of_the_set_up_is_taken_literally() -> None:
    (*_, script) = container(instance_pods("production")["migrate"])["command"]
    assert script.splitlines() == [
        "python manage.py migrate --noinput",
        "python manage.py 'loaddata' 'it'\\''s ours.json'",
    ]
