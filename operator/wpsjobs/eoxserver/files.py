"""Files on the shared volume: written whole or not at all, removed however many remove them."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_FILE_MODE = 0o644


class StorageError(Exception):
    """The shared volume does not do as it is told: full, read-only, missing."""


def write_atomic(path: Path, data: bytes, *, mode: int = _FILE_MODE, sync: bool = False) -> None:
    """Write *data* so that a reader sees the old or the new file and nothing between.

    *sync* makes it outlast a power cut. Raises StorageError.
    """
    staged = stage(path, data, mode=mode, sync=sync)
    try:
        staged.replace(path)
    except OSError as error:
        staged.unlink(missing_ok=True)
        raise StorageError(f"{path} cannot be written: {error}") from error
    if sync:
        sync_directory(path.parent)


def open_within(folder: Path, path: Path) -> BinaryIO:
    """The regular file *path*, if it really lies below *folder*. Raises FileNotFoundError.

    Processes write there, and a link to the reader's own secrets must lead nowhere. What was opened
    is looked at, so that nothing can be exchanged in between.
    """
    try:
        # Not blocking: a named pipe would be waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise FileNotFoundError(f"{path} cannot be opened") from error
    real = Path(f"/proc/self/fd/{descriptor}").readlink()
    regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
    if regular and real.is_relative_to(folder.resolve()):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    raise FileNotFoundError(f"{path} is no file below {folder}")


def stage(path: Path, data: bytes, *, mode: int = _FILE_MODE, sync: bool = False) -> Path:
    """Write *data* to a hidden file beside *path*. Raises StorageError."""
    name: str | None = None
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(descriptor, mode)
            if sync:
                os.fsync(descriptor)
    except OSError as error:
        if name is not None:
            Path(name).unlink(missing_ok=True)
        raise StorageError(f"{path} cannot be written: {error}") from error
    return Path(name)


def sync_directory(path: Path) -> None:
    """Make the names in *path* outlast a power cut, where the file system can."""
    with contextlib.suppress(OSError):  # some network file systems cannot
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_tree(path: Path) -> None:
    """Remove *path* with all in it, whoever else does the same. Raises OSError."""
    while path.exists():
        with contextlib.suppress(FileNotFoundError):  # somebody else removes it, too
            shutil.rmtree(path)


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turn OSError into StorageError."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"The shared volume fails: {error}") from error
