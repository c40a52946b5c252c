"""What MkDocs is told while it builds: the list of decisions, and the examples' own texts."""

from __future__ import annotations

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
LANGUAGES = {".py": "python", ".yaml": "yaml", ".xml": "xml"}
DECISIONS = """# Decisions

Why it is as it is: each one has the question, the choice, the reasons, and what was rejected.

"""
EXAMPLES = """# Examples

Each teaches one thing, on a release as [Getting started](getting-started.md) installs it. They
are in `examples/`, and a test runs each of them on a real cluster.

"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are nowhere written as such."""
    files.append(File.generated(config, "decisions/index.md", content=decisions()))
    files.append(File.generated(config, "examples.md", content=examples()))
    return files


def decisions() -> str:
    """A list of all decisions, by their titles."""
    lines = []
    for path in sorted((ROOT / "docs" / "decisions").glob("0*.md")):
        title = path.read_text().splitlines()[0].lstrip("# ")
        lines.append(f"- [{title}]({path.name})")
    return DECISIONS + "\n".join(lines) + "\n"


def examples() -> str:
    """All examples one after the other, with their headings one level down, and their files."""
    parts = []
    for path in sorted(ROOT.glob("examples/[0-9]*/README.md")):
        parts.append(f"#{path.read_text().strip()}")
        for other in sorted(path.parent.iterdir()):
            if other.suffix in LANGUAGES:
                language, text = LANGUAGES[other.suffix], other.read_text().strip()
                parts.append(f'```{language} title="{other.name}"\n{text}\n```')
    return EXAMPLES + "\n\n".join(parts) + "\n"
