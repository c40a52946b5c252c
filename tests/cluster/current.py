"""CLUSTER=current: the cluster of the user's current kubectl context, which is left as it is."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from tests.cluster.binaries import client_targets, ensure_targets
from tests.cluster.progress import run, say
from tests.cluster.settings import Instance


def is_current(environ: Mapping[str, str]) -> bool:
    """Whether the user's own cluster is meant."""
    return environ.get("CLUSTER") == "current"


def kubeconfig(environ: Mapping[str, str]) -> str:
    """The user's own kubeconfig, or kubeconfigs."""
    home = Path(environ.get("HOME", "/root"))
    return environ.get("KUBECONFIG") or str(home / ".kube" / "config")


def client_directories(instance: Instance) -> list[Path]:
    """Where kubectl and helm are, if they are not on PATH; building what is missing."""
    wanted = [t for t in client_targets(instance) if not shutil.which(next(iter(t.packages)))]
    ensure_targets(instance, wanted)
    return [target.directory(instance) for target in wanted]


def check(instance: Instance) -> None:
    """See whether the API server of the current context answers."""
    directories = [str(path) for path in client_directories(instance)]
    path = os.pathsep.join([*directories, os.environ.get("PATH", "")])
    env = {**os.environ, "PATH": path}
    program = shutil.which("kubectl", path=path) or "kubectl"
    hint = "  Try: kubectl config get-contexts, or leave CLUSTER out for a cluster of our own"
    context = run([program, "config", "current-context"], env=env, hint=hint).strip()
    run([program, "get", "--raw", "/readyz", "--request-timeout=20s"], env=env, hint=hint)
    say(f"the cluster of the context {context!r} answers")
