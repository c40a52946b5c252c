"""The images: what their labels say, and what they are made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from cyclonedx.model.bom import Bom

from tests.cluster import images
from tests.cluster.settings import ClusterError, current_instance
from tests.cluster.sources import IMAGES
from tests.release import sbom
from tests.release.checks import Finding, missing, ok, refused
from tests.release.versions import is_commit

PREFIX = "org.opencontainers.image"
LABELS = (
    *("title", "description", "licenses", "url", "source", "documentation", "version"),
    "revision",
)
"""Of the OCI image specification's annotations, those that every image has to have."""
NOT_IN_IMAGES = ("pip", "pytest")


def check(root: Path, version: str, epoch: int, out: Path) -> Iterator[Finding]:
    """Build the images, and look at each; lists of their parts are written to *out*."""
    try:
        with images.built(current_instance()) as builder:
            suite = current_instance().versions.base_suite
            for image in IMAGES:
                name = builder.name_of(image)
                yield check_labels(image.repository, builder.labels(name), root, version)
                with builder.mounted(name) as mounted:
                    bom = sbom.of_image(image.repository, version, mounted, suite)
                yield _contents(image.repository, bom, version)
                errors = sbom.written(bom, epoch, out / f"{image.repository}.cdx.json")
                yield missing(
                    f"{image.repository}: SBOM",
                    errors,
                    "is not as CycloneDX 1.6 has it",
                    f"{len(bom.components)} parts, {image.repository}.cdx.json",
                )
    except ClusterError as error:
        yield refused("images", f"cannot be built: {error}")


def check_labels(repository: str, labels: Mapping[str, str], root: Path, version: str) -> Finding:
    """Whether the labels are there, and say the version and a commit of this history."""
    what = f"{repository}: labels"
    lacking = [label for label in LABELS if not labels.get(f"{PREFIX}.{label}")]
    if lacking:
        return refused(what, f"{', '.join(lacking)} is missing; add it to the Dockerfile's LABEL")
    said, revision = labels[f"{PREFIX}.version"], labels[f"{PREFIX}.revision"]
    if said != version:
        return refused(what, f"its version is {said} and not {version}; run: make images")
    if not is_commit(root, revision):
        return refused(
            what, f"its revision {revision!r} is no commit of this history; run: make images"
        )
    return ok(what, f"{said}, built at {revision[:10]}")


def _contents(repository: str, bom: Bom, version: str) -> Finding:
    what = f"{repository}: contents"
    purls = {str(part.purl).partition("?")[0] for part in bom.components}
    if f"pkg:pypi/wpsjobs@{version}" not in purls:
        return refused(what, f"wpsjobs {version} is not in it; run: make images")
    python = {purl for purl in purls if purl.startswith("pkg:pypi/")}
    strangers = [
        name for name in NOT_IN_IMAGES if any(p.startswith(f"pkg:pypi/{name}@") for p in python)
    ]
    if strangers:
        return refused(what, f"{', '.join(strangers)} does not belong into it; see its Dockerfile")
    return ok(what, f"wpsjobs {version}, {len(python)} Python and {len(purls - python)} Debian")
