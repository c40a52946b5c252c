"""From Execute to StatusAccepted: one client after another, and ten clients at once.

``python -m tests.bench.execute_latency [--namespace NS --node-port PORT]`` needs an installed
release and prints a table in Markdown. Its queue is held meanwhile, so that no pods compete for the
processors: what is measured is the answer, not the work. Beside it stands the time that the same
web processes take for a request that does nothing, as a measure of how busy the machine is.
"""

from __future__ import annotations

import argparse
import http.client
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from tests.bench.figures import Figure, median, spread, table
from tests.deployment.release import Release
from tests.deployment.tools import get, kubectl

ONE_BY_ONE = 60
AT_ONCE, EACH = 10, 10
"""Clients, and Executes of each: fewer in all than the queue's 256 places."""
WARM_UP = 6
MOST_MILLISECONDS = 30.0
_EXECUTE = (
    "/ows?service=WPS&version=1.0.0&request=Execute&identifier=Echo&DataInputs=text=a"
    "&storeExecuteResponse=true&status=true"
)
_LOCATION = re.compile(rb'statusLocation="[^"]*/([^/"]+)/executeResponse\.xml"')


class Bench:
    """A client of a release, with the jobs that it has made."""

    def __init__(self, release: Release) -> None:
        self._release = release
        self._jobs: list[str] = []

    def measure(self) -> list[Figure]:
        """All figures; the jobs are purged at the end."""
        self._hold(True)
        try:
            for _ in range(WARM_UP):
                self._execute()
            idle = [_timed(self._idle) for _ in range(ONE_BY_ONE)]
            one_by_one = [_timed(self._execute) for _ in range(ONE_BY_ONE)]
            self._purge()
            with ThreadPoolExecutor(AT_ONCE) as clients:
                at_once = list(clients.map(lambda _: _timed(self._execute), range(AT_ONCE * EACH)))
        finally:
            self._purge()
            self._hold(False)
        return [
            Figure("request that does nothing", median(idle), "ms", note=spread(idle, "ms")),
            Figure(
                "Execute → StatusAccepted, one by one",
                median(one_by_one),
                "ms",
                most=MOST_MILLISECONDS,
                note=spread(one_by_one, "ms"),
            ),
            Figure(
                f"Execute → StatusAccepted, {AT_ONCE} clients at once",
                median(at_once),
                "ms",
                note=spread(at_once, "ms"),
            ),
        ]

    def _execute(self) -> None:
        status, body = self._get(_EXECUTE)
        found = _LOCATION.search(body)
        if status != 200 or found is None:
            raise AssertionError(f"{status}: {body[:500]!r}")
        self._jobs.append(found.group(1).decode())

    def _idle(self) -> None:
        status, body = self._get("/healthz")
        if status != 200:
            raise AssertionError(f"{status}: {body[:500]!r}")

    def _get(self, path: str) -> tuple[int, bytes]:
        """A connection for each request, as OWSLib makes it."""
        connection = http.client.HTTPConnection("127.0.0.1", self._release.node_port, timeout=30)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def _hold(self, held: bool) -> None:
        patch = f'{{"spec": {{"suspend": {str(held).lower()}}}}}'
        namespace = self._release.namespace
        kubectl("patch", "wpsqueue", "default", "-n", namespace, "--type=merge", "-p", patch)

    def _purge(self) -> None:
        jobs, self._jobs = self._jobs, []
        if not jobs:
            return
        web = f"deployment/{self._release.name}-web"
        command = ["python", "manage.py", "wpsjobs", "purge", *jobs]
        kubectl("exec", web, "-c", "eoxserver", "-n", self._release.namespace, "--", *command)


def _timed(action: Callable[[], None]) -> float:
    """Milliseconds of *action*."""
    began = time.perf_counter()
    action()
    return (time.perf_counter() - began) * 1000


def figures(release: Release) -> list[Figure]:
    """The figures of *release*, which must be installed."""
    get("wpsqueue", "default", "-n", release.namespace)
    return Bench(release).measure()


def main() -> None:
    """Exit code 1 where a limit is broken."""
    parser = argparse.ArgumentParser("python -m tests.bench.execute_latency", description=__doc__)
    parser.add_argument("--namespace", default=Release.namespace)
    parser.add_argument("--node-port", type=int, default=Release.node_port)
    options = parser.parse_args()
    measured = figures(Release(namespace=options.namespace, node_port=options.node_port))
    print(table(measured))
    if not all(figure.kept for figure in measured):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
