"""A release that is not fit is refused, in words that say what to do; a build is reproducible."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from cyclonedx.model.bom import Bom

from tests.cluster.settings import REPOSITORY
from tests.deployment.tools import environment
from tests.docs.rights import have_helm
from tests.release import images, packages, sbom, versions
from tests.release.checks import Finding, Verdict, is_fit, table

FILES = (
    "pyproject.toml",
    "CHANGELOG.md",
    "operator/wpsjobs/__init__.py",
    "charts/wpsjobs/Chart.yaml",
    "charts/wpsjobs/values.yaml",
    "charts/wpsjobs-crds/Chart.yaml",
)
EPOCH = 1_700_000_000
LABELS = {f"{images.PREFIX}.{name}": "told" for name in images.LABELS}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What says a version, at 1.2.3 and ready to be released."""
    version = versions.package_version(REPOSITORY)
    for name in FILES:
        target = tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text((REPOSITORY / name).read_text().replace(version, "1.2.3"))
    (tmp_path / "CHANGELOG.md").write_text("# Changes\n\n## 1.2.3, 2026-01-31\n\n- All.\n")
    return tmp_path


def refusals(root: Path) -> list[Finding]:
    return [one for one in versions.check(root) if one.verdict is not Verdict.OK]


def test_what_is_fit_is_not_refused(checkout: Path) -> None:
    assert refusals(checkout) == []


@pytest.mark.parametrize(
    ("name", "old", "new", "what", "remedy"),
    [
        (
            "charts/wpsjobs/Chart.yaml",
            "appVersion: 1.2.3",
            "appVersion: 1.2.2",
            "chart wpsjobs",
            "write 1.2.3 into charts/wpsjobs/Chart.yaml",
        ),
        (
            "charts/wpsjobs-crds/Chart.yaml",
            "appVersion: 1.2.3",
            "appVersion: 9.9.9",
            "chart wpsjobs-crds",
            "write 1.2.3 into charts/wpsjobs-crds/Chart.yaml",
        ),
        (
            "operator/wpsjobs/__init__.py",
            "1.2.3",
            "1.2.4",
            "version of the package",
            "write the same into both",
        ),
        (
            "pyproject.toml",
            'version = "1.2.3"',
            'version = "1.2.3.dirty"',
            "version of the package",
            "change it in pyproject.toml",
        ),
        (
            "charts/wpsjobs/values.yaml",
            'tag: ""',
            'tag: "dev"',
            "tags in values.yaml",
            'write ""',
        ),
        ("CHANGELOG.md", "## 1.2.3", "## 1.2.2", "CHANGELOG.md", 'write "## 1.2.3, DATE"'),
        ("CHANGELOG.md", "2026-01-31", "not released", "CHANGELOG.md", "1.2.3 has no date"),
    ],
)
def test_a_wrong_version_is_refused_with_what_to_do(
    checkout: Path, name: str, old: str, new: str, what: str, remedy: str
) -> None:
    text = (checkout / name).read_text()
    assert old in text
    (checkout / name).write_text(text.replace(old, new))
    found = {one.what: one for one in refusals(checkout)}
    assert remedy in found[what].words
    assert not is_fit(list(found.values()), final=True)
    assert f"{found[what].verdict}" in table(list(found.values()))


def test_a_note_stops_the_final_check_alone(checkout: Path) -> None:
    (checkout / "CHANGELOG.md").write_text("## 1.2.3, not released\n")
    findings = list(versions.check(checkout))
    assert is_fit(findings, final=False)
    assert not is_fit(findings, final=True)


def test_an_uncommitted_change_is_noted(tmp_path: Path) -> None:
    def git(*words: str) -> None:
        identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
        subprocess.run(["git", "-C", tmp_path, *identity, *words], check=True, capture_output=True)

    git("init")
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "-m", "one")
    assert versions.tree(tmp_path).verdict is Verdict.OK
    (tmp_path / "a").write_text("2")
    assert versions.tree(tmp_path).verdict is Verdict.NOTE


def test_labels_are_looked_at() -> None:
    head = subprocess.run(
        ["git", "-C", REPOSITORY, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    good = LABELS | {f"{images.PREFIX}.version": "1.2.3", f"{images.PREFIX}.revision": head}

    def verdict(**changed: str) -> Finding:
        labels = good | {f"{images.PREFIX}.{name}": value for name, value in changed.items()}
        return images.check_labels("image", labels, REPOSITORY, "1.2.3")

    assert verdict().verdict is Verdict.OK
    assert "source is missing" in verdict(source="").words
    assert "version is 1.2.2 and not 1.2.3; run: make images" in verdict(version="1.2.2").words
    assert "no commit of this history" in verdict(revision="unknown").words


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path], list[Path]]:
    """The checkout's packages, built in two places."""
    if not have_helm():
        pytest.skip("helm is not there (make cluster)")
    paths = versions.tracked(REPOSITORY)
    first, second = (
        packages.export(REPOSITORY, paths, tmp_path_factory.mktemp(name) / name)
        for name in ("a", "another")
    )
    return (
        first,
        packages.build(first, EPOCH, {**environment(), "TZ": "UTC"}),
        packages.build(second, EPOCH, {**environment(), "TZ": "Asia/Tokyo"}),
    )


def test_two_builds_are_the_same(built: tuple[Path, list[Path], list[Path]]) -> None:
    _, first, second = built
    assert {path.suffix for path in first} == {".whl", ".gz", ".tgz"}
    assert packages.same(first, second).verdict is Verdict.OK


def test_other_times_make_another_build(
    built: tuple[Path, list[Path], list[Path]], tmp_path: Path
) -> None:
    """So that the comparison can fail."""
    _, first, _ = built
    copies = [Path(shutil.copy(path, tmp_path)) for path in first]
    chart = next(path for path in copies if path.suffix == ".tgz")
    packages.repack(chart, EPOCH + 1)
    finding = packages.same(first, copies)
    assert finding.verdict is Verdict.REFUSED
    assert chart.name in finding.words


def test_the_packages_hold_what_they_should(built: tuple[Path, list[Path], list[Path]]) -> None:
    root, first, _ = built
    version = versions.package_version(REPOSITORY)
    (wheel,) = [path for path in first if path.suffix == ".whl"]
    (sdist,) = [path for path in first if path.suffix == ".gz"]
    findings = [
        *packages.check_wheel(wheel, root, version),
        packages.check_sdist(sdist, version),
        *packages.check_charts(first),
    ]
    assert [one for one in findings if one.verdict is not Verdict.OK] == []


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("wpsjobs/py.typed", "wheel: all in it"),
        ("wpsjobs/worker/supervisor.py", "wheel: all in it"),
        ("+wpsjobs/tests/test_x.py", "wheel: nothing else in it"),
        ("+tests/__init__.py", "wheel: nothing else in it"),
        ("wpsjobs/worker/settings.py", "wheel: needs nothing"),
    ],
)
def test_a_wheel_that_is_not_right_is_refused(
    built: tuple[Path, list[Path], list[Path]], tmp_path: Path, name: str, what: str
) -> None:
    root, first, _ = built
    (wheel,) = [path for path in first if path.suffix == ".whl"]
    spoilt = tmp_path / wheel.name
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(spoilt, "w") as new:
        for member in old.namelist():
            if member != name:
                new.writestr(member, old.read(member))
        if name.startswith("+"):
            new.writestr(name[1:], "")
    findings = packages.check_wheel(spoilt, root, versions.package_version(REPOSITORY))
    assert what in {one.what for one in findings if one.verdict is Verdict.REFUSED}


def test_an_sdist_with_tests_is_refused(tmp_path: Path) -> None:
    (tmp_path / "test_x.py").write_text("")
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "test_x.py", "wpsjobs-1.2.3/tests/test_x.py")
    finding = packages.check_sdist(tmp_path / "a.tar.gz", "1.2.3")
    assert finding.verdict is Verdict.REFUSED
    assert "tests/test_x.py" in finding.words


STATUS = """\
Package: libgdal32
Status: install ok installed
Architecture: amd64
Version: 3.6.2+dfsg-1+b2

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1
"""


def _image(root: Path) -> Bom:
    (root / "var/lib/dpkg").mkdir(parents=True)
    (root / "var/lib/dpkg/status").write_text(STATUS)
    info = root / "opt/wpsjobs/lib/python3.11/site-packages/Some_Thing-4.5.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Name: Some_Thing\nVersion: 4.5\nLicense-Expression: MIT\n")
    return sbom.of_image("image", "1.2.3", root, "bookworm")


def _wheel(_: Path) -> Bom:
    return sbom.of_wheel("1.2.3", "0" * 64, packages.EXTRAS)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (_image, "pkg:deb/debian/libgdal32@3.6.2%2Bdfsg-1%2Bb2?arch=amd64&distro=bookworm"),
        (_image, "pkg:pypi/some-thing@4.5"),
        (_wheel, "pkg:pypi/kopf@"),
        (_wheel, "pkg:pypi/urllib3@"),
    ],
)
def test_lists_of_parts_follow_the_schema_and_repeat(
    tmp_path: Path, make: Callable[[Path], Bom], expected: str
) -> None:
    bom = make(tmp_path)
    for name in ("one.json", "two.json"):
        assert sbom.written(bom, EPOCH, tmp_path / name) == []
    text = (tmp_path / "one.json").read_text()
    assert text == (tmp_path / "two.json").read_text()
    purls = [part["purl"] for part in json.loads(text)["components"]]
    assert any(purl.startswith(expected) for purl in purls), purls
    assert not any("gone" in purl or "pytest" in purl for purl in purls)
