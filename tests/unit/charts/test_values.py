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
CRD_KEYWORDS = ("enum", "minimum", "maximum", "minLength", "maxLength", "required")

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
    "a pipeline without web pods": (
        {
            "pipeline": {"enabled": True},
            "web": {"enabled": False},
            "eoxserver": {"url": "https://maps.example.org"},
        },
        "pipeline.enabled is true and web.enabled false; the web pods serve the pipeline",
    ),
    "a pipeline's plan that is a file": (
        {"pipeline": {"plan": "towns.py"}},
        'pipeline.plan is "towns.py"; write the dotted path of a callable',
    ),
    "a pipeline of nothing": (
        {"pipeline": {"processes": []}},
        "at '/pipeline/processes': value must be 'a list, such as [Mosaic]'",
    ),
    "an unknown log level": (
        {"operator": {"logLevel": "debug"}},
        "at '/operator/logLevel': value must be one of 'DEBUG', 'INFO', 'WARNING', 'ERROR'",
    ),
    "a number as a word": (
        {"web": {"replicas": "two"}},
        "at '/web/replicas': value must be 'a whole number, without quotes'",
    ),
    "no replica": ({"web": {"replicas": 0}}, "at '/web/replicas': minimum: got 0, want 1"),
    "a word for a boolean": (
        {"web": {"enabled": "yes"}},
        "at '/web/enabled': value must be 'true or false, without quotes'",
    ),
    "a word for a list": (
        {"eoxserver": {"allowedHosts": "maps.example.org"}},
        "at '/eoxserver/allowedHosts': value must be 'a list, such as [maps.example.org]'",
    ),
    "variables as a mapping": (
        {"operator": {"env": {"A": "b"}}},
        "at '/operator/env': value must be 'a list, such as [{name: REGION, value: south}]'",
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
    "a queue as a mapping": (
        {"queues": {"default": {"parallelism": 4}}},
        "at '/queues': value must be 'a list, such as [{name: default, parallelism: 4}]'",
    ),
    "a process as a word": (
        {"processes": ["Hillshade"]},
        "at '/processes/0': value must be 'a mapping, such as {identifier: Hillshade}'",
    ),
    "an image as a text": (
        {"operator": {"image": "registry.example.org/maps:7"}},
        "at '/operator/image': value must be 'a mapping, such as {repository: ",
    ),
    "a tag as a number": (
        {"eoxserver": {"image": {"tag": 0.1}}},
        "at '/eoxserver/image/tag': value must be 'a text; in quotes where it is a number, or with",
    ),
    "a pull secret's name alone": (
        {"imagePullSecrets": ["registry"]},
        "at '/imagePullSecrets/0': value must be 'a mapping, such as {name: registry}'",
    ),
    "a variable as an assignment": (
        {"eoxserver": {"env": ["A=b"]}},
        "at '/eoxserver/env/0': value must be 'a mapping, such as {name: REGION, value: south}'",
    ),
    "a duration for seconds": (
        {"queues": [{"name": "a", "defaults": {"ttlSecondsAfterFinished": "7d"}}]},
        "value must be 'seconds, as a whole number such as 604800 for a week'",
    ),
    "a host with paths, as in other charts": (
        {"web": {"ingress": {"enabled": True, "hosts": [{"host": "a.org", "paths": ["/"]}]}}},
        "at '/web/ingress/hosts/0': value must be 'a host name, such as maps.example.org'",
    ),
    "a secret for TLS": (
        {"web": {"ingress": {"enabled": True, "hosts": ["a.org"], "tls": "maps-tls"}}},
        "at '/web/ingress/tls': value must be 'a list, such as [{secretName: maps-tls, hosts: [",
    ),
    "a command as a text": (
        {"database": {"type": "postgis", "existingSecret": "a", "setup": ["demo_setup"]}},
        "at '/database/setup/0': value must be 'a list of words, such as [loaddata, scenes.json]'",
    ),
    "a section without values": (
        {"web": None},
        "value must be 'one in which web: has values below it; leave out the line, and the defa",
    ),
    "a part without values": (
        {"web": {"ingress": None}},
        "at '/web': value must be 'a mapping; a line with nothing below it has to be left out'",
    ),
    "an address for a peer": (
        {"networkPolicy": {"enabled": True, "apiServer": {"to": ["192.0.2.1/32"]}}},
        "value must be 'a peer, such as {ipBlock: {cidr: 192.0.2.1/32}}'",
    ),
    "a peer without its kind": (
        {"networkPolicy": {"enabled": True, "apiServer": {"to": [{"cidr": "192.0.2.1/32"}]}}},
        "value must be 'absent, for there are only podSelector, namespaceSelector, ipBlock'",
    ),
    "a port for a rule": (
        {"networkPolicy": {"enabled": True, "workerEgress": [443]}},
        "value must be 'a rule, such as {ports: [{port: 443}]}'",
    ),
    "memory in bytes of another kind": (
        {"worker": {"resources": {"limits": {"memory": "2GB"}}}},
        'worker.resources limits.memory is "2GB"; write a quantity of Kubernetes, such as 2Gi',
    ),
    "half a processor": (
        {"processes": [{"identifier": "A", "resources": {"limits": {"cpu": "0,5"}}}]},
        'resources of A: limits.cpu is "0,5"; write a quantity of Kubernetes, such as 500m',
    ),
    "a request above the limit that there is": (
        {"worker": {"resources": {"requests": {"memory": "4Gi"}}}},
        "worker.resources requests.memory is 4Gi and limits.memory 2Gi; raise the limit, or reque",
    ),
    "a namespace that is no name": (
        {"operator": {"extraNamespaces": ["Maps_Night"]}},
        'operator.extraNamespaces[0] is "Maps_Night", which is no name of a resource; write lower',
    ),
    "a Secret that is no name": (
        {"database": {"type": "postgis", "existingSecret": "My Secret"}},
        'database.existingSecret is "My Secret", which is no name of a resource; write lower-case',
    ),
    "a variable that the chart sets": (
        {"eoxserver": {"env": [{"name": "PYTHONPATH", "value": "/a"}]}},
        "eoxserver.env has PYTHONPATH, which the chart sets; set eoxserver.pythonPath instead",
    ),
    "a variable that the Secret sets": (
        {
            "database": {"type": "postgis", "existingSecret": "a"},
            "eoxserver": {"env": [{"name": "DB_HOST", "value": "b"}]},
        },
        "eoxserver.env has DB_HOST, which database.existingSecret sets; set database.type to other",
    ),
    "the operator's namespaces in its environment": (
        {"operator": {"env": [{"name": "WPSJOBS_NAMESPACES", "value": "a"}]}},
        "set operator.extraNamespaces or operator.clusterWide instead",
    ),
    "a host with its scheme": (
        {"eoxserver": {"allowedHosts": ["https://maps.example.org"]}},
        "write a host name without scheme, port or path, such as maps.example.org",
    ),
    "folders of modules in one": (
        {"eoxserver": {"pythonPath": ["/a:/b"]}},
        'pythonPath has "/a:/b"; write each folder as an item of its own: [/a, /b]',
    ),
    "a volume that the chart has": (
        {"eoxserver": {"extraVolumes": [{"name": "data", "emptyDir": {}}]}},
        'extraVolumes has "data", which is a volume of the chart; give it another name',
    ),
    "a mount of no volume": (
        {"eoxserver": {"extraVolumeMounts": [{"name": "scenes", "mountPath": "/scenes"}]}},
        'extraVolumeMounts names "scenes"; add a volume of that name to eoxserver.extraVolumes',
    ),
    "a directory with a class": (
        {"storage": {"hostPath": "/srv", "storageClassName": "nfs"}},
        "storage.hostPath and storage.storageClassName are both set",
    ),
    "an interval without its unit": (
        {"metrics": {"serviceMonitor": {"enabled": True, "interval": "30"}}},
        'metrics.serviceMonitor.interval is "30"; write it with its unit, such as 30s',
    ),
    "a share of pods in words": (
        {"web": {"podDisruptionBudget": {"enabled": True, "maxUnavailable": "half"}}},
        'maxUnavailable is "half"; write a number, or a percentage such as 50%',
    ),
    "an Ingress to nothing": (
        {
            "web": {"enabled": False, "ingress": {"enabled": True, "hosts": ["a.org"]}},
            "eoxserver": {"url": "https://a.org"},
        },
        "web.ingress.enabled is true and web.enabled is false; set web.enabled to true",
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


QUANTITIES = [
    {"requests": {"cpu": 2, "memory": "1Gi"}, "limits": {"cpu": "2000m", "memory": 2147483648}},
    {"requests": {"memory": "1e9"}, "limits": {"memory": "1000000k", "example.org/gpu": 1}},
    {"requests": {"cpu": "0.5", "memory": "1G"}, "limits": {"memory": "1Gi"}},
]


@needs_helm
@pytest.mark.parametrize("resources", QUANTITIES)
def test_what_kubernetes_takes_for_a_quantity_is_taken(resources: dict[str, Any]) -> None:
    process = {"identifier": "A", "resources": resources}
    assert "kind: WpsProcess" in template({"processes": [process]})


def test_every_value_of_another_type_is_answered_by_an_example() -> None:
    def check(schema: dict[str, Any], path: str) -> None:
        if "$ref" in schema:
            return  # it is looked at where it stands
        if path:
            assert schema["if"]["not"]["type"], path
            assert schema["then"]["const"].startswith(("a ", "lines", "seconds", "true")), path
        for key, inner in schema.get("properties", {}).items():
            if key != "global":
                check(inner, f"{path}/{key}")
        if "items" in schema:
            check(schema["items"], f"{path}[]")

    check(SCHEMA, "")


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
        assert resource["type"] == chart["if"]["not"]["type"], path
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
