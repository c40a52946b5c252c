"""``python -m tests.release``: build what a release consists of, and look at it.

What is built is left in build/release, with its hashes.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from tests.cluster.progress import step
from tests.cluster.settings import REPOSITORY, ClusterError
from tests.deployment.tools import environment
from tests.release import images, packages, sbom, versions
from tests.release.checks import BuildError, Finding, is_fit, missing, refused, table

OUT = REPOSITORY / "build" / "release"


@click.command()
@click.option("--final", is_flag=True, help="Refuse what has to be done before the tag, too.")
@click.option("--images/--no-images", "with_images", default=True, help="Leave out the images.")
def main(final: bool, with_images: bool) -> None:
    """Print a table of all findings; the exit code is 1 where anything is refused."""
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    findings = [*_findings(with_images)]
    click.echo(table(findings))
    if not is_fit(findings, final=final):
        raise SystemExit("No release: put right what is refused, and try again.")
    click.echo(f"Fit to be released: {OUT.relative_to(REPOSITORY)}")


def _findings(with_images: bool) -> Iterator[Finding]:
    yield from versions.check(REPOSITORY)
    yield versions.tree(REPOSITORY)
    version, epoch = versions.package_version(REPOSITORY), versions.commit_time(REPOSITORY)
    try:
        with step("packages, twice"):
            built = [*_packages(version, epoch)]
    except (BuildError, ClusterError) as error:
        yield refused("packages", str(error))
        return
    yield from built
    if with_images:
        with step("images"):
            looked_at = [*images.check(REPOSITORY, version, epoch, OUT)]
        yield from looked_at
    _write_hashes()


def _packages(version: str, epoch: int) -> Iterator[Finding]:
    paths = versions.tracked(REPOSITORY)
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        # The second lies elsewhere and deeper, and belongs to another time of the day.
        places = (Path(one) / "wpsjobs", Path(other) / "some" / "where" / "else")
        zones = ("UTC", "Asia/Kathmandu")
        builds = [
            packages.build(
                packages.export(REPOSITORY, paths, place), epoch, {**environment(), "TZ": zone}
            )
            for place, zone in zip(places, zones, strict=True)
        ]
        yield packages.same(*builds)
        for path in builds[0]:
            shutil.copy(path, OUT)
        yield from packages.check_wheel(_only("*.whl"), places[0], version)
    yield packages.check_sdist(_only("*.tar.gz"), version)
    yield from packages.check_charts(sorted(OUT.glob("*.tgz")))
    bom = sbom.of_wheel(version, packages.digest(_only("*.whl")), packages.EXTRAS)
    errors = sbom.written(bom, epoch, OUT / "wpsjobs.cdx.json")
    said = f"{len(bom.components)} distributions, wpsjobs.cdx.json"
    yield missing("wheel: SBOM", errors, "is not as CycloneDX 1.6 has it", said)


def _only(pattern: str) -> Path:
    (found,) = OUT.glob(pattern)
    return found


def _write_hashes() -> None:
    lines = [
        f"{packages.digest(path)}  {path.name}"
        for path in sorted(OUT.iterdir())
        if path.name != "SHA256SUMS"
    ]
    (OUT / "SHA256SUMS").write_text("\n".join(lines) + os.linesep)


main()
