"""What each image is made of, and the tag that follows from it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.settings import ClusterError

PROJECT = ("pyproject.toml", "README.md", "LICENSE", "operator")
IGNORED_NAMES = frozenset({"__pycache__"})
TAG_LENGTH = 12


@dataclass(frozen=True)
class Image:
    """One image of the project."""

    name: str
    repository: str
    inputs: tuple[str, ...]
    """Files and directories that its Dockerfile copies, as `.dockerignore` lets them through."""

    @property
    def dockerfile(self) -> str:
        """Its Dockerfile, from the repository's root."""
        return f"images/{self.name}/Dockerfile"


IMAGES = (
    Image("operator", "wpsjobs-operator", PROJECT),
    Image(
        "eoxserver",
        "wpsjobs-eoxserver",
        (*PROJECT, "images/eoxserver/instance", "examples/data"),
    ),
)


def find_image(name: str) -> Image:
    """The image of that short name."""
    for image in IMAGES:
        if name in (image.name, image.repository):
            return image
    raise ClusterError(f"no image is called {name!r}; there are {[i.name for i in IMAGES]}")


def content_tag(image: Image, root: Path, extra: Sequence[str] = ()) -> str:
    """A tag that changes with everything that goes into the image: files, Dockerfile, `extra`."""
    digest = hashlib.sha256()
    for word in extra:
        digest.update(f"{word}\0".encode())
    for relative in (image.dockerfile, ".dockerignore", *image.inputs):
        path = root / relative
        if not path.exists():
            raise ClusterError(f"{relative} is missing, of which the image {image.name} is made")
        for file in _files(path):
            executable = os.access(file, os.X_OK)
            digest.update(f"{file.relative_to(root)}\0{executable}\0".encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:TAG_LENGTH]


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    for directory, names, files in os.walk(path):
        names[:] = sorted(name for name in names if not _ignored(name))
        for file in sorted(files):
            if not _ignored(file):
                yield Path(directory) / file


def _ignored(name: str) -> bool:
    """As `.dockerignore` says."""
    return (
        name in IGNORED_NAMES
        or name.endswith((".pyc", ".egg-info"))
        or (name.startswith(".") and name.endswith("_cache"))
    )
