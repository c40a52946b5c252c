"""Debian packages that the cluster needs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.progress import run, step
from tests.cluster.settings import ClusterError

NODE_PACKAGES = (
    "ca-certificates",
    "containerd",
    "runc",
    "containernetworking-plugins",
    "iptables",
    "conntrack",
    "iproute2",
    "util-linux",
)
IMAGE_PACKAGES = ("buildah", "mmdebstrap", "ca-certificates")
LOCK_SECONDS = 600
POLICY = Path("/usr/sbin/policy-rc.d")


def missing_packages(names: Sequence[str]) -> list[str]:
    """Those that are not fully installed."""
    done = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *names],
        capture_output=True,
        text=True,
        check=False,
    )
    installed = {
        line.split()[0] for line in done.stdout.splitlines() if line.endswith(" installed")
    }
    return [name for name in names if name not in installed]


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


def ensure_packages(names: Sequence[str], log: Path) -> None:
    """Install what is missing; without root or apt, say what to install."""
    missing = missing_packages(names)
    if not missing:
        return
    lock = f"DPkg::Lock::Timeout={LOCK_SECONDS}"
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    hint = f"  Try: apt-get update && apt-get install --no-install-recommends {' '.join(missing)}"
    if os.geteuid() != 0:
        raise ClusterError(f"packages are missing and only root can install them.\n{hint}")
    with step(f"Debian packages: {' '.join(missing)}"), _no_services():
        run(["apt-get", "-o", lock, "update", "-q"], env=env, log=log, hint=hint)
        run(
            ["apt-get", "-o", lock, "install", "-y", "-q", "--no-install-recommends", *missing],
            env=env,
            log=log,
            hint=hint,
        )
