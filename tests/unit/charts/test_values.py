"""Values: documented, checked, and answered by words that say what to write."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from tests.cluster.settings import ClusterError
from tests.unit.charts.rendering import CHART, REPOSITORY, needs_helm, template

SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
VALUES = (CHART / "values.yaml").read_text()
CRD_KEYWORDS = ("type", "enum", "minimum", "maximum", "minLength", "maxLength", "required")

MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "a typing error": (
        {"opertor": {}},
        "at '/opertor': value must be 'absent, for there are only imagePullSecrets, podSecurity, ",
    ),
    "a typing error deeper": (
        {"web": {"ingres": {}}},
        "at '/web/ingres': value must be 'absent, for there are only enabled, replicas, ",
    ),
    "a queue's unknown field": (
        {"queues": [{"name": "a", "maxqueued": 3}]},
        "at '/queues/0/maxqueued': value must be 'absent, for there are only name, maxQueued",
    ),
    "a process's unknown field": (
        {"processes": [{"identifier": "A", "timeout": 3}]},
        "at '/processes/0/timeout': value must be 'absent, for there are only name, identifier, ",
    ),
    "a negative limit": (
        {"queues": [{"name": "a", "parallelism": -1}]},
        "at '/queues/0/parallelism': minimum: got -1, want 0",
    ),
    "a time-out of none": (
        {"queues": [{"name": "a", "defaults": {"timeoutSeconds": 0}}]},
        "at '/queues/0/defaults/timeoutSeconds': minimum: got 0, want 1",
    ),
    "an unknown cause": (
        {"processes": [{"identifier": "A", "restartOn": ["OOM"]}]},
        "at '/processes/0/restartOn/0': value must be one of 'Crash', 'OutOfMemory', 'Timeout', ",
    ),
    "no queue": ({"queues": []}, "at '/queues': minItems: got 0, want 1"),
    "a queue without a name": (
        {"queues": [{"parallelism": 1}]},
        "at '/queues/0': missing property 'name'",
    ),
    "a queue's bad name": (
        {"queues": [{"name": "My_Queue"}]},
        'queues has the name "My_Queue"; write lower-case letters, digits and dashes, such as my-q',
    ),
    "two queues of a name": (
        {"queues": [{"name": "a"}, {"name": "a"}]},
        'queues has "a" twice; give each queue a name of its own',
    ),
    "a process without an identifier": (
        {"processes": [{"name": "a"}]},
        "at '/processes/0': missing property 'identifier'",
    ),
    "a process twice": (
        {"processes": [{"identifier": "A"}, {"identifier": "A"}]},
        'processes has "A" twice; list each process once',
    ),
    "an identifier that is no name": (
        {"processes": [{"identifier": "ns:Thing"}]},
        'identifier "ns:Thing", which is no name for a resource; add name: with lower-case letters',
    ),
    "consumers of a queue that is not there": (
        {"consumers": {"enabled": True}},
        'consumers.queue is "tracker"; name one of the queues: default, or set tracker.enabled',
    ),
    "consumers of a queue that the operator serves": (
        {"tracker": {"enabled": True}, "consumers": {"enabled": True}},
        "set executor: Consumers for that queue in tracker.queue",
    ),
    "consumers of another such queue": (
        {"consumers": {"enabled": True, "queue": "default"}},
        'consumers.queue is "default", whose WpsJobs the operator launches itself; set executor: ',
    ),
    "consumers without processes": (
        {"consumers": {"enabled": True, "processes": 0}},
        "at '/consumers/processes': minimum: got 0, want 1",
    ),
    "a process's unknown queue": (
        {"processes": [{"identifier": "A", "queue": "night"}]},
        'processes names the queue "night"; name one of queues: default',
    ),
    "limits in the wrong place": (
        {"web": {"resources": {"memory": "1Gi"}}},
        "at '/web/resources/memory': value must be 'absent, for there are only requests, limits, ",
    ),
    "an unknown log level": (
        {"operator": {"logLevel": "debug"}},
        "at '/operator/logLevel': value must be one of 'DEBUG', 'INFO', 'WARNING', 'ERROR'",
    ),
    "a number as a word": (
        {"web": {"replicas": "two"}},
        "at '/web/replicas': got string, want integer",
    ),
    "no replica": ({"web": {"replicas": 0}}, "at '/web/replicas': minimum: got 0, want 1"),
    "a word for a boolean": (
        {"web": {"enabled": "yes"}},
        "at '/web/enabled': got string, want boolean",
    ),
    "a word for a list": (
        {"eoxserver": {"allowedHosts": "maps.example.org"}},
        "at '/eoxserver/allowedHosts': got string, want array",
    ),
    "variables as a mapping": (
        {"operator": {"env": {"A": "b"}}},
        "at '/operator/env': got object, want array",
    ),
    "root": (
        {"podSecurity": {"runAsUser": 0}},
        "at '/podSecurity/runAsUser': minimum: got 0, want",
    ),
    "an unknown database": (
        {"database": {"type": "postgres"}},
        "at '/database/type': value must be one of 'spatialite', 'postgis', 'other'",
    ),
    "a database without a Secret": (
        {"database": {"type": "postgis"}},
        "set database.existingSecret to the name of a Secret with the keys host, port, dbname, us",
    ),
    "a Secret without a database": (
        {"database": {"existingSecret": "database"}},
        "database.type is spatialite; set database.type to postgis, which uses it",
    ),
    "commands for a file that is only read": (
        {"database": {"setup": [["demo_setup"]]}},
        "spatialite, which is only read; set database.type to postgis or other",
    ),
    "a password in plain text": (
        {"eoxserver": {"env": [{"name": "DB_PW", "value": "secret"}]}},
        "eoxserver.env has DB_PW in plain text; put it into a Secret and write valueFrom",
    ),
    "a URL without its scheme": (
        {"eoxserver": {"url": "maps.example.org"}},
        'eoxserver.url is "maps.example.org"; write it with its scheme, such as https://maps.exam',
    ),
    "a URL with the path of the service": (
        {"eoxserver": {"url": "https://maps.example.org/ows"}},
        "write it without /ows, which the chart adds",
    ),
    "results without a scheme": (
        {"eoxserver": {"resultsUrl": "/results"}},
        'eoxserver.resultsUrl is "/results"; write it with its scheme',
    ),
    "EOxServer elsewhere, nobody knows where": (
        {"web": {"enabled": False}},
        "web.enabled is false: set eoxserver.url to the URL of the EOxServer that runs elsewhere",
    ),
    "a tag in the repository": (
        {"eoxserver": {"image": {"repository": "registry.example.org/maps:7"}}},
        "write what follows the last colon as eoxserver.image.tag",
    ),
    "a settings file": (
        {"eoxserver": {"settingsModule": "settings.py"}},
        "write the module's dotted name, such as demo.settings, and not its file",
    ),
    "a WSGI file": (
        {"eoxserver": {"wsgi": "demo/wsgi.py"}},
        "write the module's dotted name, such as demo.wsgi, and not its file",
    ),
    "a relative folder of modules": (
        {"eoxserver": {"pythonPath": ["extras"]}},
        'pythonPath has "extras"; write an absolute path, such as /opt/instance/extras',
    ),
    "a relative mount path": (
        {"storage": {"mountPath": "data"}},
        'storage.mountPath is "data"; write an absolute path, such as /data',
    ),
    "a wait that no client bears": (
        {"eoxserver": {"acceptTimeout": 600}},
        "at '/eoxserver/acceptTimeout': maximum: got 600, want 60",
    ),
    "two volumes": (
        {"storage": {"existingClaim": "a", "hostPath": "/b"}},
        "storage.existingClaim and storage.hostPath are both set; set the one whose volume",
    ),
    "a size that is no quantity": (
        {"storage": {"size": "10 GB"}},
        'storage.size is "10 GB"; write a quantity of Kubernetes, such as 10Gi',
    ),
    "an unknown access mode": (
        {"storage": {"accessModes": ["RWX"]}},
        "at '/storage/accessModes/0': value must be one of 'ReadWriteMany', 'ReadWriteOnce', ",
    ),
    "some namespaces and all": (
        {"operator": {"clusterWide": True, "extraNamespaces": ["a"]}},
        "operator.clusterWide serves all namespaces; leave operator.extraNamespaces empty",
    ),
    "its own namespace": (
        {"operator": {"extraNamespaces": ["default"]}},
        "the release's own namespace, which is served anyway; leave it out",
    ),
    "rights for an operator that is not there": (
        {"operator": {"enabled": False, "clusterWide": True}},
        "operator.enabled is false; set operator.clusterWide, operator.extraNamespaces and metrics",
    ),
    "an Ingress for no host": (
        {"web": {"ingress": {"enabled": True}}},
        "web.ingress.enabled is true: set web.ingress.hosts, such as [maps.example.org]",
    ),
    "a URL for a host": (
        {"web": {"ingress": {"enabled": True, "hosts": ["https://maps.example.org"]}}},
        "write a host name without scheme, port or path, such as maps.example.org",
    ),
    "a node port without its type": (
        {"web": {"service": {"nodePort": 30080}}},
        "web.service.type is ClusterIP; set web.service.type to NodePort",
    ),
    "an unknown type of service": (
        {"web": {"service": {"type": "Nodeport"}}},
        "at '/web/service/type': value must be one of 'ClusterIP', 'NodePort', 'LoadBalancer'",
    ),
    "nothing to test": (
        {"processes": []},
        "processes is empty: set test.process to an asynchronous process for helm test, or test.en",
    ),
}


@needs_helm
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_answered_by_what_to_write(mistake: str) -> None:
    values, words = MISTAKES[mistake]
    with pytest.raises(ClusterError) as caught:
        template(values)
    assert words in " ".join(str(caught.value).split())


def keys(schema: dict[str, Any], values: Any, path: str = "") -> dict[str, tuple[set[str], Any]]:
    """For each mapping of fixed keys: those of the schema, and the default values."""
    found = {}
    if "properties" in schema:
        found[path] = (set(schema["properties"]), values)
        for key, inner in schema["properties"].items():
            value = values.get(key) if isinstance(values, dict) else None
            found |= keys(inner, value, f"{path}.{key}".lstrip("."))
    if "items" in schema:
        found |= keys(schema["items"], None, f"{path}[]")
    return found


def test_the_schema_knows_the_values_that_there_are() -> None:
    for path, (known, values) in keys(SCHEMA, yaml.safe_load(VALUES)).items():
        if values is not None and not path.endswith("resources"):
            assert set(values) == known - ({"global"} if not path else set()), path


def test_what_is_unknown_is_refused_with_what_is_known() -> None:
    def check(schema: dict[str, Any], path: str) -> None:
        if "properties" in schema:
            known = [key for key in schema["properties"] if key != "global"]
            if path.rpartition("/")[2] not in ("extraVolumes[]", "extraVolumeMounts[]"):
                words = f"absent, for there are only {', '.join(known)}"
                assert schema["additionalProperties"] == {"const": words}, path
            for key, inner in schema["properties"].items():
                check(inner, f"{path}/{key}")
        if "items" in schema:
            check(schema["items"], f"{path}[]")

    check(SCHEMA, "")


@pytest.mark.parametrize("plural", ["wpsqueues", "wpsprocesses"])
def test_queues_and_processes_have_the_fields_of_their_resources(plural: str) -> None:
    crd = yaml.safe_load((REPOSITORY / "crds" / f"{plural}.yaml").read_text())
    version = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    of_resource = version["properties"]["spec"]
    of_chart = SCHEMA["properties"][plural.removeprefix("wps")]["items"]

    def check(resource: dict[str, Any], chart: dict[str, Any], path: str) -> None:
        for keyword in CRD_KEYWORDS:
            assert resource.get(keyword) == chart.get(keyword), f"{path}: {keyword}"
        for key, inner in resource.get("properties", {}).items():
            # The chart makes the template, and knows of resources and variables what Kubernetes
            # says of them, which the definition leaves open.
            if key not in ("template", "resources", "env"):
                check(inner, chart["properties"][key], f"{path}.{key}")
        if "items" in resource:
            check(resource["items"], chart["items"], f"{path}[]")

    wanted = set(of_resource["properties"]) - {"template"}
    assert set(of_chart["properties"]) == wanted | {"name"}
    inner = {**of_chart, "required": of_resource.get("required")}
    check(of_resource, inner, plural)
