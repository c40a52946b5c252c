"""Wheel, sdist and packaged charts: built twice, in two places, and the same both times."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from email.parser import HeaderParser
from pathlib import Path

from tests.release.checks import BuildError, Finding, missing, ok, refused
from tests.release.versions import CHARTS

EXTRAS = frozenset({"operator", "eoxserver", "worker", "cli"})
SDIST_ONLY = ("CHANGELOG.md", "LICENSE", "README.md", "pyproject.toml", "crds/wpsjobs.yaml")


def export(root: Path, paths: Sequence[str], target: Path) -> Path:
    """Copy the project's files to *target*, without what else lies in the checkout."""
    for path in paths:
        source, copy = root / path, target / path
        if not source.is_file():  # deleted and not committed yet
            continue
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, copy, follow_symlinks=False)
    return target


def build(source: Path, epoch: int, environment: Mapping[str, str]) -> list[Path]:
    """The sdist, the wheel (made from the sdist) and the charts of *source*. Raises BuildError."""
    out = source / "build" / "out"
    out.mkdir(parents=True)
    env = {**environment, "SOURCE_DATE_EPOCH": str(epoch)}
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(source)]
    _run(command, env)
    for chart in CHARTS:
        _run(["helm", "package", str(source / "charts" / chart), "-d", str(out)], env)
    for packed in out.glob("*.tgz"):
        repack(packed, epoch)
    return sorted(out.iterdir())


def repack(archive: Path, epoch: int) -> None:
    """Write a .tgz again with the time *epoch*, for helm puts in that of the packing."""
    with tarfile.open(archive) as old:
        members = [
            (member, content.read())
            for member in sorted(old.getmembers(), key=lambda member: member.name)
            if (content := old.extractfile(member)) is not None
        ]
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=epoch, filename="") as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.USTAR_FORMAT) as new,
    ):
        for member, data in members:
            info = tarfile.TarInfo(member.name)
            info.size, info.mtime, info.mode = len(data), epoch, 0o644
            new.addfile(info, io.BytesIO(data))
    archive.write_bytes(packed.getvalue())


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def same(first: Sequence[Path], second: Sequence[Path]) -> Finding:
    """Whether two builds came to the same files."""
    what = "reproducible build"
    hashes = [{path.name: digest(path) for path in built} for built in (first, second)]
    differing = {
        name for one, other in (hashes, hashes[::-1]) for name in one.items() - other.items()
    }
    if differing:
        names = ", ".join(sorted({name for name, _ in differing}))
        return refused(
            what,
            f"two builds of the same files differ in {names}; compare them by diffoscope, and see "
            "whether all times come from SOURCE_DATE_EPOCH",
        )
    return ok(what, f"{len(first)} files, the same from two directories")


def check_wheel(wheel: Path, root: Path, version: str) -> Iterator[Finding]:
    """What is in the wheel, and what it says of itself."""
    info = f"wpsjobs-{version}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = HeaderParser().parsestr(archive.read(f"{info}/METADATA").decode())
    strangers = {name for name in names if name.split("/")[0] not in {"wpsjobs", info}}
    yield missing(
        "wheel: nothing else in it",
        strangers | {name for name in names if "/tests/" in name or name.endswith(".pyc")},
        "does not belong into it; see [tool.hatch.build.targets.wheel]",
        f"{len(names)} files",
    )
    source = root / "operator"
    modules = {
        str(path.relative_to(source))
        for path in (source / "wpsjobs").rglob("*")
        if path.suffix == ".py" or path.name == "py.typed"
    }
    needed = modules | {"wpsjobs/py.typed", f"{info}/licenses/LICENSE"}
    yield missing(
        "wheel: all in it", needed - names, "is missing", "all modules, py.typed, the licence"
    )
    yield missing(
        "wheel: extras",
        EXTRAS - set(metadata.get_all("Provides-Extra", [])),
        "is no extra; see [project.optional-dependencies]",
        ", ".join(sorted(EXTRAS)),
    )
    says = (metadata["Version"], metadata["License-Expression"], metadata["Requires-Python"])
    if says != (version, "MIT", ">=3.11"):
        yield refused("wheel: metadata", f"says {says}; see [project] in pyproject.toml")
    else:
        yield ok("wheel: metadata", ", ".join(says))
    yield _importable(wheel)


def check_sdist(sdist: Path, version: str) -> Finding:
    """What is in the sdist: all that the wheel is made of, and no tests."""
    with tarfile.open(sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive.getmembers()}
    strangers = {
        name
        for name in names
        if name.startswith(("tests/", "images/", ".")) and name != ".gitignore"
    }
    if strangers:
        return refused("sdist", f"{', '.join(sorted(strangers)[:5])} does not belong into it")
    return missing(
        "sdist", set(SDIST_ONLY) - names, "is missing", f"{version}, {len(names)} files, no tests"
    )


def check_charts(built: Sequence[Path]) -> Iterator[Finding]:
    """What is in the packaged charts: the resources themselves, for a link leads nowhere there."""
    for chart in CHARTS:
        (archive,) = [path for path in built if re.match(rf"{chart}-\d.*\.tgz", path.name)]
        with tarfile.open(archive) as packed:
            names = {member.name for member in packed.getmembers() if member.size}
        needed = {f"{chart}/Chart.yaml"}
        if chart == "wpsjobs-crds":
            files = ("wpsjobs", "wpsqueues", "wpsprocesses", "policy", "policybinding")
            needed |= {f"{chart}/templates/{name}.yaml" for name in files}
        else:
            needed |= {f"{chart}/values.yaml", f"{chart}/templates/NOTES.txt"}
        yield missing(
            f"chart {chart}: packaged", needed - names, "is missing", f"{len(names)} files"
        )


def _importable(wheel: Path) -> Finding:
    """Job pods have the standard library alone beside what the wheel says of its worker."""
    code = f"import sys; sys.path.insert(0, {str(wheel)!r}); import wpsjobs.worker.__main__"
    command = [sys.executable, "-I", "-S", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    what = "wheel: needs nothing"
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1]
        return refused(what, f"the worker cannot be imported by the standard library alone: {last}")
    return ok(what, "the worker is imported by the standard library alone")


def _run(command: list[str], env: Mapping[str, str]) -> None:
    env = {**os.environ, **env}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        words = (done.stderr or done.stdout).strip()[-1500:]
        raise BuildError(f"{' '.join(command[:4])}: {words}")
