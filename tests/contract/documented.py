"""The process that docs/processes.md teaches, as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[2] / "docs"


def blocks(document: str, language: str) -> list[str]:
    """The code blocks of a document in *language*."""
    text = (DOCS / document).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


_namespace: dict[str, Any] = {"__name__": "words.processes"}
exec(blocks("processes.md", "python")[0], _namespace)  # noqa: S102 (the project's own text)
CountWords = _namespace["CountWords"]
_parallel: dict[str, Any] = {"__name__": "words.parallel"}
exec(blocks("processes.md", "python")[1], _parallel)  # noqa: S102 (as above)
CountFiles = _parallel["CountFiles"]
