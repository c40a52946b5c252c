"""Which pages are made from what, written by ``python -m tests.docs``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from tests.docs import rights, schemas, source, values

REPOSITORY = Path(__file__).resolve().parents[2]
DOCS = REPOSITORY / "docs"
RESOURCES = ("wpsjob", "wpsqueue", "wpsprocess")
POLICY = REPOSITORY / "crds" / "policy.yaml"
"""The rules of WpsJobs that stand beside their definition."""
_CODE = REPOSITORY / "operator" / "wpsjobs"
_MADE = "<!-- Made by `make pages` from {}; changes here are lost. -->\n\n"


def pages() -> Iterator[tuple[Path, str]]:
    """Each page with the text that it should have."""
    for name in RESOURCES:
        origin = next((REPOSITORY / "crds").glob(f"{name}*.yaml"))
        policy = yaml.safe_load(POLICY.read_text()) if name == "wpsjob" else None
        text = schemas.page(yaml.safe_load(origin.read_text()), policy)
        yield DOCS / "reference" / f"{name}.md", _MADE.format(_relative(origin)) + text
    origin = REPOSITORY / "charts" / "wpsjobs" / "values.yaml"
    text = values.page(origin.read_text())
    yield DOCS / "reference" / "values.md", _MADE.format(_relative(origin)) + text
    page = DOCS / "configuration.md"
    yield page, filled(page.read_text(), {"operator": _operator(), "eoxserver.conf": _instance()})
    page = DOCS / "security.md"
    if rights.have_helm():
        yield page, filled(page.read_text(), {"rights": rights.table()})


def stale() -> list[str]:
    """Names of the pages that are not as they should be."""
    return [
        _relative(path) for path, text in pages() if not path.exists() or path.read_text() != text
    ]


def write() -> list[str]:
    """Write what is stale; the names are returned."""
    names = stale()
    for path, text in pages():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return names


def filled(text: str, tables: dict[str, str]) -> str:
    """*text* with each table between its marks. Raises ValueError where a mark is missing."""
    for name, table in tables.items():
        pattern = rf"(<!-- {re.escape(name)}: .*? -->\n).*?(<!-- end -->)"
        parts = re.split(pattern, text, flags=re.DOTALL)
        if len(parts) != 4:
            raise ValueError(f"the marks of the table {name!r} are not there once")
        before, begin, end, after = parts
        text = f"{before}{begin}\n{table}\n\n{end}{after}"
    return text


def _operator() -> str:
    rows = [
        f"| `WPSJOBS_{one.name.upper()}` | {_code(one.value)} | {one.meaning} |"
        for one in source.attributes(_CODE / "controller" / "settings.py", "Settings")
    ]
    return "\n".join(["| variable | default | meaning |", "|---|---|---|", *rows])


def _instance() -> str:
    rows = []
    for one in source.attributes(_CODE / "eoxserver" / "config.py", "Config"):
        if one.name == "source":  # where the rest was read, no key
            continue
        shared = one.name.startswith(("path_", "url_"))
        section = "services.ows.wps" if shared else "services.ows.wps.kubernetes"
        default = "has to be given" if shared else _code(one.value)
        rows.append(f"| `[{section}]` | `{one.name}` | {default} | {one.meaning} |")
    return "\n".join(["| section | key | default | meaning |", "|---|---|---|---|", *rows])


def _code(value: object) -> str:
    return "" if value in (None, "") else f"`{value}`"


def _relative(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))
