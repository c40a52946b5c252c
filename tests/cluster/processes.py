"""Starts programs in the background, and knows them again by their pid files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.cluster.progress import wait_until

PROC = Path("/proc")


@dataclass(frozen=True)
class ProcessStat:
    """What of `/proc/<pid>/stat` tells one process from another."""

    state: str
    start_ticks: int

    @property
    def alive(self) -> bool:
        """A zombie has ended; only its parent has not yet asked."""
        return self.state not in ("Z", "X")


@dataclass(frozen=True)
class PidRecord:
    """A pid file: the number alone may belong to another process by now."""

    pid: int
    start_ticks: int
    boot_id: str


def parse_stat(text: str) -> ProcessStat:
    """Parse `/proc/<pid>/stat`; the command's name may hold blanks and brackets."""
    fields = text.rpartition(")")[2].split()
    return ProcessStat(state=fields[0], start_ticks=int(fields[19]))


def parse_record(text: str) -> PidRecord | None:
    """A pid file's content; None if a crash left it half written."""
    try:
        data = json.loads(text)
        return PidRecord(int(data["pid"]), int(data["start_ticks"]), str(data["boot_id"]))
    except (ValueError, KeyError, TypeError):
        return None


def same_process(record: PidRecord, stat: ProcessStat | None, boot_id: str) -> bool:
    """Whether the process that has the pid now is the one that was started then, and runs."""
    if stat is None or record.boot_id != boot_id:
        return False
    return stat.alive and stat.start_ticks == record.start_ticks


def read_stat(pid: int) -> ProcessStat | None:
    """The process of that pid; None if there is none."""
    try:
        return parse_stat((PROC / str(pid) / "stat").read_text())
    except (OSError, IndexError, ValueError):
        return None


def boot_id() -> str:
    """Changes with each start of the machine."""
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()


class PidFile:
    """The process of one component."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def record(self) -> PidRecord | None:
        """What was written at the start."""
        try:
            return parse_record(self.path.read_text())
        except OSError:
            return None

    def pid(self) -> int | None:
        """The pid while that very process runs."""
        record = self.record()
        if record and same_process(record, read_stat(record.pid), boot_id()):
            return record.pid
        return None

    def write(self, pid: int) -> None:
        """Note a process that has just been started."""
        stat = read_stat(pid)
        record = PidRecord(pid, stat.start_ticks if stat else 0, boot_id())
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".new")
        partial.write_text(json.dumps(asdict(record)))
        partial.replace(self.path)

    def signal(self, number: signal.Signals) -> bool:
        """Signal the process if it is still the one."""
        pid = self.pid()
        return pid is not None and send(pid, number)

    def terminate(self) -> None:
        """Ask the process to end, without waiting."""
        self.signal(signal.SIGTERM)

    def stop(self, seconds: float) -> None:
        """End the process: politely, and after `seconds` by force."""
        if self.signal(signal.SIGTERM) and not wait_until(lambda: self.pid() is None, seconds):
            self.signal(signal.SIGKILL)
            wait_until(lambda: self.pid() is None, seconds)
        self.path.unlink(missing_ok=True)


def send(pid: int, number: signal.Signals) -> bool:
    """Signal a process; False if it is gone."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


# A daemon outlives whoever starts it, so nobody waits for it; an object that is dropped while its
# process runs would warn of that.
_started: list[subprocess.Popen[bytes]] = []


def start_daemon(command: Sequence[str], log: Path, pid_file: PidFile) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own, its output in `log`; the earlier log is kept."""
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists():
        log.replace(log.with_suffix(".log.old"))
    with log.open("wb") as sink:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            cwd="/",
            start_new_session=True,
        )
    _started.append(process)
    pid_file.write(process.pid)
    return process


def command_lines() -> Iterator[tuple[int, list[str]]]:
    """Pid and command line of every process."""
    for directory in PROC.iterdir():
        if not directory.name.isdigit():
            continue
        try:
            words = os.fsdecode((directory / "cmdline").read_bytes()).split("\0")
        except OSError:
            continue
        yield int(directory.name), words[:-1]


def processes_with_command(command: Sequence[str]) -> list[int]:
    """Pids whose whole command line is `command`."""
    return [pid for pid, words in command_lines() if words == list(command)]
