"""Do all places say the same version, and is it fit to be released?"""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.release.checks import Finding, note, ok, refused

CHARTS = ("wpsjobs", "wpsjobs-crds")
_VERSION = re.compile(r"\d+\.\d+\.\d+((a|b|rc)\d+)?")
"""As PyPI has them; a chart's appVersion is the same text."""


def package_version(root: Path) -> str:
    """The version of the distribution, which all others follow."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    return str(project["version"])


def check(root: Path) -> Iterator[Finding]:
    """All that has to agree in the checkout *root*."""
    version = package_version(root)
    yield _package(root, version)
    for chart in CHARTS:
        yield _chart(root, chart, version)
    yield _tags(root)
    yield _changelog(root, version)


def tree(root: Path) -> Finding:
    """Whether what is built is what is committed."""
    what = "working tree"
    changed = _git(root, "status", "--porcelain").splitlines()
    if changed:
        return note(what, f"{len(changed)} files differ from the last commit; commit them")
    return ok(what, f"as committed, {_git(root, 'rev-parse', '--short', 'HEAD')}")


def commit_time(root: Path) -> int:
    """Seconds since 1970 of the last commit: SOURCE_DATE_EPOCH of everything that is built."""
    return int(_git(root, "log", "-1", "--format=%ct"))


def tracked(root: Path) -> list[str]:
    """Paths of all files that belong to the project."""
    return [path for path in _git(root, "ls-files", "-z").split("\0") if path]


def is_commit(root: Path, name: str) -> bool:
    """Whether *name* is a commit of this history."""
    done = subprocess.run(
        ["git", "-C", str(root), "merge-base", "--is-ancestor", name, "HEAD"],
        capture_output=True,
        check=False,
    )
    return done.returncode == 0


def _package(root: Path, version: str) -> Finding:
    what = "version of the package"
    source = (root / "operator" / "wpsjobs" / "__init__.py").read_text()
    found = re.search(r'^__version__ = "([^"]*)"', source, re.MULTILINE)
    said = found[1] if found else "nothing"
    if not _VERSION.fullmatch(version):
        return refused(what, f"{version!r} is no version like 1.2.3; change it in pyproject.toml")
    if said != version:
        return refused(
            what,
            f"operator/wpsjobs/__init__.py says {said} and pyproject.toml {version}; "
            "write the same into both",
        )
    return ok(what, version)


def _chart(root: Path, name: str, version: str) -> Finding:
    what = f"chart {name}"
    chart = _yaml(root / "charts" / name / "Chart.yaml")
    if chart.get("appVersion") != version:
        return refused(
            what,
            f"its appVersion is {chart.get('appVersion')} and the package {version}; "
            f"write {version} into charts/{name}/Chart.yaml",
        )
    if not _VERSION.match(str(chart.get("version"))):
        return refused(what, f"its version {chart.get('version')!r} is no version like 1.2.3")
    return ok(what, f"{chart['version']}, of {version}")


def _tags(root: Path) -> Finding:
    """Empty tags follow the appVersion; any other would be forgotten at the next release."""
    what = "tags in values.yaml"
    values = _yaml(root / "charts" / "wpsjobs" / "values.yaml")
    wrong = [f"{path} is {tag!r}" for path, tag in _image_tags(values) if tag]
    if wrong:
        return refused(
            what, f'{", ".join(wrong)}; write "", which means the version of the release'
        )
    return ok(what, "empty, so that images are those of the release")


def _changelog(root: Path, version: str) -> Finding:
    what = "CHANGELOG.md"
    headings = re.findall(r"^## (.*)$", (root / "CHANGELOG.md").read_text(), re.MULTILINE)
    first = headings[0] if headings else ""
    said, _, rest = first.partition(",")
    if said.strip() != version:
        return refused(
            what,
            f'begins with {first!r}; write "## {version}, DATE" above what has changed',
        )
    if not re.fullmatch(r"\s*\d{4}-\d{2}-\d{2}", rest):
        return note(what, f"{version} has no date; write it in place of {rest.strip()!r}")
    return ok(what, first)


def _image_tags(values: Any, path: str = "") -> Iterator[tuple[str, object]]:
    if not isinstance(values, dict):
        return
    for key, value in values.items():
        below = f"{path}.{key}" if path else str(key)
        if key == "tag" and "repository" in values:
            yield below, value
        yield from _image_tags(value, below)


def _yaml(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(path.read_text())
    return loaded


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(root), *words], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()
