"""Debian packages that the cluster needs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.progress import run, step
from tests.cluster.settings import ClusterError

NODE_PACKAGES = {
    "ca-certificates": "/etc/ssl/certs/ca-certificates.crt",
    "containerd": "containerd",
    "runc": "runc",
    "containernetworking-plugins": "/usr/lib/cni/bridge",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "iproute2": "ip",
    "util-linux": "nsenter",
}
"""Package → the program or file that is needed of it, wherever it comes from: a machine with
another vendor's containerd should keep that."""

IMAGE_PACKAGES = {
    "buildah": "buildah",
    "mmdebstrap": "mmdebstrap",
    "ca-certificates": "/etc/ssl/certs/ca-certificates.crt",
}
LOCK_SECONDS = 600
POLICY = Path("/usr/sbin/policy-rc.d")


def missing_packages(packages: Mapping[str, str]) -> list[str]:
    """Those whose program or file is not there."""
    return [
        name
        for name, need in packages.items()
        if not (Path(need).exists() if need.startswith("/") else shutil.which(need))
    ]


@contextmanager
def _no_services() -> Iterator[None]:
    """Keep packages from starting their services; this cluster runs its own containerd."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink(missing_ok=True)


def ensure_packages(packages: Mapping[str, str], log: Path) -> None:
    """Install what is missing; without root or apt, say what to install."""
    missing = missing_packages(packages)
    if not missing:
        return
    lock = f"DPkg::Lock::Timeout={LOCK_SECONDS}"
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    hint = f"  Try: apt-get update && apt-get install --no-install-recommends {' '.join(missing)}"
    if os.geteuid() != 0:
        raise ClusterError(f"packages are missing and only root can install them.\n{hint}")
    with step(f"Debian packages: {' '.join(missing)}"), _no_services():
        run(["apt-get", "-o", lock, "update", "-q"], env=env, log=log, hint=hint)
        # Rather fail than remove something of the machine's to make room.
        options = ["-y", "-q", "--no-remove", "--no-install-recommends"]
        run(["apt-get", "-o", lock, "install", *options, *missing], env=env, log=log, hint=hint)
