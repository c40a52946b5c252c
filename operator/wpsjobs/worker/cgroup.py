"""How often the kernel has ended a process of this container for its memory."""

from __future__ import annotations

from pathlib import Path

_COUNTERS = (
    Path("/sys/fs/cgroup/memory.events"),  # cgroup v2
    Path("/sys/fs/cgroup/memory/memory.oom_control"),  # cgroup v1
)


def oom_kills(counters: tuple[Path, ...] = _COUNTERS) -> int:
    """The counter ``oom_kill`` of this container's memory cgroup; 0 where there is none to read."""
    for path in counters:
        try:
            lines = path.read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            key, _, value = line.partition(" ")
            if key == "oom_kill" and value.strip().isdigit():
                return int(value)
    return 0
