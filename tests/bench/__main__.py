"""``python -m tests.bench [MEASURE…]``: all set-up, the measures, a table with verdicts."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from tests.bench import (
    consumers,
    execute_latency,
    fanout,
    finished,
    latency,
    patches,
    stand,
    steady,
    tasks,
    throughput,
    verdict,
    worker,
)
from tests.bench.figures import Figure, table
from tests.cluster.progress import fail, say
from tests.cluster.settings import ClusterError
from tests.deployment.release import Release

Measure = Callable[[argparse.Namespace], list[Figure]]


def _on_stand(
    measure: Callable[[stand.Stand, argparse.Namespace], Coroutine[Any, Any, list[Figure]]],
) -> Measure:
    """A measure in a namespace of its own, on simulated nodes."""

    def run(options: argparse.Namespace) -> list[Figure]:
        with stand.stand() as one:
            return asyncio.run(measure(one, options))

    return run


def _latency(_: argparse.Namespace) -> list[Figure]:
    """Execute beside a bare Kubernetes Job of the same image; needs the installed release."""
    bare, executes = latency.measure()
    return latency.figures(bare, executes)


MEASURES: dict[str, Measure] = {
    "verdict": _on_stand(lambda one, _: verdict.measure(one)),
    "consumers": _on_stand(lambda one, _: consumers.measure(one)),
    "tasks": _on_stand(lambda one, _: tasks.measure(one)),
    "throughput": _on_stand(lambda one, o: throughput.measure(one, o.jobs, o.turns)),
    "fanout": _on_stand(lambda one, _: fanout.measure(one)),
    "patches": _on_stand(lambda one, _: patches.measure(one)),
    "finished": _on_stand(lambda one, o: finished.measure(one, o.kept)),
    "steady": _on_stand(lambda one, o: steady.measure(one, o.seconds)),
    "latency": _latency,
    "execute": lambda _: execute_latency.figures(Release()),
    "worker": lambda _: worker.figures(Release()),
}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.bench", description=__doc__)
    parser.add_argument(
        "measures", nargs="*", metavar="MEASURE", help=f"of {', '.join(MEASURES)}; default: all"
    )
    parser.add_argument(
        "--seconds", type=float, default=steady.SECONDS, help="length of the steady load"
    )
    parser.add_argument(
        "--jobs", type=int, default=throughput.JOBS, help="of each run of throughput"
    )
    parser.add_argument(
        "--turns", type=int, default=throughput.TURNS, help="runs of each side of throughput"
    )
    parser.add_argument(
        "--kept", type=int, default=finished.KEPT, help="finished WpsJobs that are kept"
    )
    options = parser.parse_args()
    unknown = set(options.measures) - MEASURES.keys()
    if unknown:
        parser.error(f"no measure is called {', '.join(sorted(unknown))}; there are {[*MEASURES]}")
    return options


def main() -> None:
    """Exit code 1 where a limit is broken or a measure fails."""
    options = _options()
    figures: list[Figure] = []
    failed = False
    stand.prepare()
    for name in options.measures or MEASURES:
        say(f"measuring: {name}")
        try:
            measured = MEASURES[name](options)
        except (ClusterError, TimeoutError, AssertionError) as error:
            say(f"{name} failed: {error}")
            failed = True
            continue
        print(table(measured), flush=True)
        figures += measured
    print(f"\n{table(figures)}")
    if failed or not all(figure.kept for figure in figures):
        sys.exit(1)


if __name__ == "__main__":
    try:
        main()
    except ClusterError as error:
        fail(str(error))
