"""A PostgreSQL with PostGIS of the tests' own, that the cluster's pods reach and nobody else."""

from __future__ import annotations

import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tests.cluster.settings import current_instance

DATABASE = "maps"
USER = "maps"
ACCOUNT = "postgres"
"""The account of Debian's package: PostgreSQL does not run as root."""


def programs() -> Path | None:
    """Where Debian has the server's programs; None where it is not installed with PostGIS."""
    for control in sorted(Path("/usr/share/postgresql").glob("*/extension/postgis.control")):
        folder = Path("/usr/lib/postgresql") / control.parts[-3] / "bin"
        if (folder / "postgres").exists():
            return folder
    return None


class Postgres:
    """A server on the pod bridge's own address, with an empty database. A context manager."""

    def __init__(self, folder: Path) -> None:
        """*folder* has the server's programs."""
        self._programs = folder
        self._network = current_instance().network
        self.host = self._network.node_address
        self.password = secrets.token_hex(16)
        with socket.socket() as probe:
            probe.bind((self.host, 0))
            self.port = probe.getsockname()[1]
        self._root = Path(tempfile.mkdtemp(prefix="wpsjobs-postgres-"))
        self._data = self._root / "data"

    def __enter__(self) -> Postgres:
        account = pwd.getpwnam(ACCOUNT)
        shutil.chown(self._root, account.pw_uid, account.pw_gid)
        try:
            self._run("initdb", "--auth=peer", "--encoding=UTF8", "--no-sync", "-D", self._data)
            pods = f"host {DATABASE} {USER} {self._network.pods} scram-sha-256\n"
            with (self._data / "pg_hba.conf").open("a") as rules:
                rules.write(pods)
            options = f"-h {self.host} -p {self.port} -k {self._root} -c fsync=off"
            log = self._root / "log"
            self._run("pg_ctl", "start", "--wait", "-D", self._data, "-l", log, "-o", options)
            self.sql(f"CREATE ROLE {USER} LOGIN PASSWORD '{self.password}'", "postgres")
            self.sql(f"CREATE DATABASE {DATABASE} OWNER {USER}", "postgres")
            # The extension is an administrator's to make; the release's own user has no such right.
            self.sql("CREATE EXTENSION postgis")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if (self._data / "postmaster.pid").exists():
            self._run("pg_ctl", "stop", "--mode=immediate", "--wait", "-D", self._data)
        shutil.rmtree(self._root)

    def sql(self, statement: str, database: str = DATABASE) -> str:
        """What the administrator gets for *statement*, without headings."""
        place = ("-h", self._root, "-p", self.port, "-d", database)
        return self._run("psql", "-qAtX", "-v", "ON_ERROR_STOP=1", *place, "-c", statement).strip()

    def secret(self, name: str) -> dict[str, Any]:
        """The Secret that the chart wants."""
        keys = {
            "host": self.host,
            "port": str(self.port),
            "dbname": DATABASE,
            "user": USER,
            "password": self.password,
        }
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name},
            "stringData": keys,
        }

    def _run(self, program: str, *arguments: object) -> str:
        # Its output goes to a file and not to a pipe, which the server would inherit and keep open.
        with tempfile.TemporaryFile("w+") as output:
            done = subprocess.run(
                ["runuser", "-u", ACCOUNT, "--", self._programs / program, *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                check=False,
            )
            output.seek(0)
            words = output.read()
        if done.returncode:
            raise AssertionError(f"{program}: {words}")
        return words
