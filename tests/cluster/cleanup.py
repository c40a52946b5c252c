"""What a stopped or crashed cluster leaves on the machine, found in the kernel's own tables.

Pure: text in, lists of things to undo out. `node.py` undoes them.
"""

from __future__ import annotations

import itertools
import json
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

_OCTAL = re.compile(r"\\([0-7]{3})")
KUBERNETES_CHAIN = "KUBE-"
"""Every chain that kube-proxy makes begins so, and nothing else's does."""


@dataclass(frozen=True)
class Mount:
    """One line of `/proc/self/mountinfo`."""

    target: str
    kind: str
    options: str


def parse_mounts(mountinfo: str) -> list[Mount]:
    """Parse `/proc/self/mountinfo`, in its order."""
    mounts = []
    for line in mountinfo.splitlines():
        left, separator, right = line.partition(" - ")
        fields, source = left.split(), right.split()
        if not separator or len(fields) < 5 or len(source) < 3:
            continue
        target = _OCTAL.sub(lambda match: chr(int(match[1], 8)), fields[4])
        mounts.append(Mount(target, source[0], source[2]))
    return mounts


def mounts_below(mountinfo: str, roots: Iterable[str]) -> list[str]:
    """Mount points at or below the roots, the last made first, as they must be undone."""
    prefixes = [root.rstrip("/") for root in roots]
    return [
        mount.target
        for mount in reversed(parse_mounts(mountinfo))
        if any(mount.target == root or mount.target.startswith(f"{root}/") for root in prefixes)
    ]


def cgroup_mounts(mountinfo: str) -> list[str]:
    """Where control group hierarchies are mounted: one of version 2, or several of version 1."""
    return [
        mount.target for mount in parse_mounts(mountinfo) if mount.kind in ("cgroup", "cgroup2")
    ]


def iptables_removals(saved: str) -> str:
    """Input for `iptables-restore --noflush` that removes Kubernetes' chains, and only those.

    `saved` is what `iptables-save` printed. Empty: there is nothing to remove.
    """
    result = []
    table = ""
    chains: list[str] = []
    jumps: list[str] = []
    for line in saved.splitlines():
        if line.startswith("*"):
            table, chains, jumps = line[1:], [], []
        elif line.startswith(f":{KUBERNETES_CHAIN}"):
            chains.append(line[1:].split()[0])
        elif line.startswith("-A ") and not line.startswith(f"-A {KUBERNETES_CHAIN}"):
            if _jumps_to_kubernetes(line):
                jumps.append("-D " + line.removeprefix("-A "))
        elif line == "COMMIT" and (chains or jumps):
            # Naming a chain empties it, so that none is in use when the last lines delete them.
            result += [f"*{table}", *(f":{chain} - [0:0]" for chain in chains), *jumps]
            result += [*(f"-X {chain}" for chain in chains), "COMMIT"]
    return "\n".join(result) + "\n" if result else ""


def _jumps_to_kubernetes(rule: str) -> bool:
    words = shlex.split(rule)  # a comment is one word, whatever it says
    return any(
        flag in ("-j", "-g") and target.startswith(KUBERNETES_CHAIN)
        for flag, target in itertools.pairwise(words)
    )


def rules(saved: str) -> list[str]:
    """The rules and own chains of an `iptables-save`, without its counters and comments.

    The built-in chains are left out: with nftables they appear at the first use of a table.
    """
    table = ""
    found = []
    for line in saved.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith("-A "):
            found.append(f"{table} {line}")
        elif line.startswith(":") and line.split()[1] == "-":
            found.append(f"{table} {line.split()[0]}")
    return sorted(found)


def shim_sockets(addresses: Mapping[str, str]) -> list[Path]:
    """Sockets of containerd's shims, from the `address` files that it keeps per container.

    They lie in a directory that all containerds of a machine share, so only named ones are removed.
    """
    return [
        Path(address.removeprefix("unix://"))
        for address in (text.strip() for text in addresses.values())
        if address.startswith("unix:///run/containerd/s/")
    ]


def own_cni_results(files: Mapping[str, str], network: str) -> list[str]:
    """Those CNI cache files (name → content) that belong to pods of our network.

    A pod has one per network, the loopback's too, all with the same container id.
    """
    parsed = {name: _cni_result(content) for name, content in files.items()}
    pods = {container for net, container in parsed.values() if net == network and container}
    return [name for name, (_, container) in parsed.items() if container in pods]


def _cni_result(content: str) -> tuple[str, str]:
    try:
        data = json.loads(content)
        return str(data["networkName"]), str(data["containerId"])
    except (ValueError, KeyError, TypeError):
        return "", ""
