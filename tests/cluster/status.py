"""Shows how the cluster is."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.cluster.api import Client, node_ready
from tests.cluster.components import Component, components
from tests.cluster.processes import PROC
from tests.cluster.settings import ClusterError, Instance


@dataclass(frozen=True)
class Health:
    """One line of the table."""

    name: str
    pid: int | None
    memory_bytes: int
    seconds: float
    problem: str


def health(part: Component) -> Health:
    """How a component is right now."""
    pid = part.pid_file.pid()
    if pid is None:
        return Health(part.name, None, 0, 0.0, "not running")
    return Health(part.name, pid, _memory(pid), _age(part.pid_file.path), part.probe())


def _memory(pid: int) -> int:
    try:
        for line in (PROC / str(pid) / "status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def _age(pid_file: Path) -> float:
    try:
        return time.time() - pid_file.stat().st_mtime
    except OSError:
        return 0.0


def since(seconds: float) -> str:
    """An age as kubectl prints it."""
    if seconds < 120:
        return f"{seconds:.0f}s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f}m"
    return f"{seconds / 3600:.0f}h"


def show(instance: Instance) -> bool:
    """Print the table; True if all is well."""
    lines = [health(part) for part in components(instance)]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("COMPONENT", "STATUS", "PID", "MEMORY", "AGE"):
        table.add_column(column)
    for line in lines:
        mebibytes = f"{line.memory_bytes / 2**20:.0f} Mi" if line.pid else ""
        age = since(line.seconds) if line.pid else ""
        table.add_row(line.name, line.problem or "running", str(line.pid or ""), mebibytes, age)
    problem, version = _node(instance) if all(line.pid for line in lines) else ("not running", "")
    total = sum(line.memory_bytes for line in lines) / 2**20
    table.add_row("node", problem or "Ready", "", f"{total:.0f} Mi in all", version)
    Console(highlight=False).print(table)
    return not problem and not any(line.problem for line in lines)


def _node(instance: Instance) -> tuple[str, str]:
    client = Client(instance)
    problem = node_ready(client)
    try:
        version = str(client.call("GET", "/version").get("gitVersion", ""))
    except ClusterError:
        version = ""
    return problem, version
