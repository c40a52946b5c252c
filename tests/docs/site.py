"""Building the site: ``python -m tests.docs.site [DIRECTORY]``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def build(directory: Path | None = None, config: Path = REPOSITORY / "mkdocs.yml") -> str:
    """Build it, into *directory* or as *config* says; a broken link or page is an error.

    The result is what MkDocs printed. Raises subprocess.CalledProcessError.
    """
    # The theme tells of its own future at each build.
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", str(config)]
    if directory is not None:
        command += ["--site-dir", str(directory)]
    done = subprocess.run(
        command,
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    )
    return done.stdout


if __name__ == "__main__":
    try:
        print(build())
    except subprocess.CalledProcessError as error:
        sys.exit(str(error.stdout))
