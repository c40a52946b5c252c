"""What packages and images are made of, as CycloneDX (https://cyclonedx.org) lists."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from email.parser import HeaderParser
from importlib.metadata import Distribution, PackageNotFoundError, distribution, distributions
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = "wpsjobs"


def of_wheel(version: str, sha256: str, extras: Iterable[str]) -> Bom:
    """The wheel and all that its *extras* need, in the versions that the tests here run with."""
    bom = Bom()
    root = Component(
        name=PROJECT,
        version=version,
        type=ComponentType.LIBRARY,
        purl=PackageURL("pypi", None, PROJECT, version),
        bom_ref=PROJECT,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=sha256)],
    )
    bom.metadata.component = root
    known: dict[str, Component] = {}
    for name in {canonicalize_name(r.name) for r in _needs(distribution(PROJECT), set(extras))}:
        bom.register_dependency(root, [_resolve(bom, known, name)])
    return bom


def of_image(name: str, version: str, root: Path, suite: str) -> Bom:
    """An image whose file system is mounted at *root*: Debian's packages and Python's."""
    bom = Bom()
    bom.metadata.component = Component(
        name=name, version=version, type=ComponentType.CONTAINER, bom_ref=name
    )
    parts = [*_debian(root, suite), *_python(root)]
    for part in parts:
        bom.components.add(part)
    bom.register_dependency(bom.metadata.component, parts)
    return bom


def written(bom: Bom, epoch: int, path: Path) -> list[str]:
    """Write it as JSON, the same for the same contents; errors against the schema are returned."""
    component = bom.metadata.component
    assert component is not None
    bom.metadata.timestamp = datetime.fromtimestamp(epoch, UTC)
    bom.serial_number = uuid5(NAMESPACE_URL, f"{component.name}@{component.version}@{epoch}")
    text = JsonV1Dot6(bom).output_as_string(indent=1)
    path.write_text(text)
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    return [] if error is None else [str(error)]


def _resolve(bom: Bom, known: dict[str, Component], name: str) -> Component:
    if name in known:
        return known[name]
    found = distribution(name)
    known[name] = component = _component(found)
    bom.components.add(component)
    for needed in {canonicalize_name(r.name) for r in _needs(found, set())}:
        try:
            bom.register_dependency(component, [_resolve(bom, known, needed)])
        except PackageNotFoundError:  # of another platform, or brought by Debian
            continue
    return component


def _needs(found: Distribution, extras: set[str]) -> Iterator[Requirement]:
    for text in found.requires or ():
        requirement = Requirement(text)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras | {""}):
            yield requirement


def _component(found: Distribution) -> Component:
    name, version = found.metadata["Name"], found.version
    component = Component(
        name=name,
        version=version,
        type=ComponentType.LIBRARY,
        purl=PackageURL("pypi", None, canonicalize_name(name), version),
        bom_ref=f"pypi:{canonicalize_name(name)}",
    )
    said = found.metadata.json  # keys as PEP 566 has them
    licence = said.get("license_expression") or said.get("license")
    if isinstance(licence, str) and "\n" not in licence.strip():
        component.licenses.add(LicenseFactory().make_from_string(licence.strip()))
    return component


def _python(root: Path) -> Iterator[Component]:
    folders = [*root.glob("opt/wpsjobs/lib/python3*/site-packages"), root / "opt/wpsjobs/project"]
    for found in distributions(path=[str(folder) for folder in folders]):
        yield _component(found)


def _debian(root: Path, suite: str) -> Iterator[Component]:
    text = (root / "var" / "lib" / "dpkg" / "status").read_text(errors="replace")
    for stanza in re.split(r"\n\n+", text):
        fields = HeaderParser().parsestr(stanza)
        if not str(fields.get("Status", "")).endswith(" installed"):
            continue
        name, version = fields["Package"], fields["Version"]
        architecture = fields["Architecture"]
        qualifiers = {"arch": architecture, "distro": suite}
        yield Component(
            name=name,
            version=version,
            type=ComponentType.LIBRARY,
            purl=PackageURL("deb", "debian", name, version, qualifiers),
            bom_ref=f"deb:{name}:{architecture}",
        )
