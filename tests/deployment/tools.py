"""kubectl and helm, pointed at the cluster that the tests use."""

from __future__ import annotations

import json
import os
import subprocess
from functools import cache
from typing import Any

import yaml

from tests.cluster import current
from tests.cluster.settings import ClusterError, current_instance


@cache
def environment() -> dict[str, str]:
    """PATH and KUBECONFIG of the test cluster, or those of the user with CLUSTER=current."""
    instance = current_instance()
    if current.is_current(os.environ):
        directories = current.client_directories(instance)
        kubeconfig = current.kubeconfig(os.environ)
    else:
        helm = instance.binary("helm", "helm", instance.versions.helm).parent
        directories = [instance.kubernetes_bin, helm]
        kubeconfig = str(instance.kubeconfig)
    path = os.pathsep.join([*map(str, directories), os.environ.get("PATH", "")])
    return {**os.environ, "PATH": path, "KUBECONFIG": kubeconfig}


def run(*command: str, stdin: str | None = None, timeout: float = 600) -> str:
    """Standard output of *command*; raises ClusterError with its words where it fails."""
    done = subprocess.run(
        command,
        env=environment(),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    if done.returncode:
        raise ClusterError(f"{' '.join(command[:6])}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def kubectl(*arguments: str, stdin: str | None = None, timeout: float = 120) -> str:
    """Output of kubectl."""
    return run("kubectl", *arguments, stdin=stdin, timeout=timeout)


def get(*arguments: str) -> Any:
    """Objects as kubectl gets them in JSON."""
    return json.loads(kubectl("get", "-o", "json", *arguments))


def apply(manifest: dict[str, Any]) -> None:
    """Make or update an object."""
    kubectl("apply", "-f", "-", stdin=json.dumps(manifest))


def kubeconfig(namespace: str) -> dict[str, Any]:
    """The kubeconfig that is in use, complete in itself, with *namespace* in its context."""
    view: dict[str, Any] = yaml.safe_load(
        kubectl("config", "view", "--minify", "--raw", "--flatten")
    )
    view["contexts"][0]["context"]["namespace"] = namespace
    return view
