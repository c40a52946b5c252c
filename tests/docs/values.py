"""The page of all Helm values, from ``values.yaml`` and its comments."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

USUAL = {
    "repository": "Name of the image, with its registry.",
    "pullPolicy": "When the image is pulled: Always, IfNotPresent or Never.",
    "resources": "Requests and limits of the container, as Kubernetes has them.",
    "nodeSelector": "Labels that a node of its pods must have.",
    "tolerations": "Taints of nodes that its pods bear.",
    "affinity": "Affinity of its pods, as Kubernetes has it.",
    "annotations": "Annotations of the object.",
    "labels": "Labels of the object, beside the chart's own.",
    "enabled": "True installs it.",
    "replicas": "How many pods.",
    "port": "Port of the Service.",
    "interval": "How often it is read.",
}
"""Values that mean in every chart the same, so that values.yaml need not say so each time."""


@dataclass(frozen=True)
class Value:
    """One key of ``values.yaml``."""

    path: str
    meaning: str
    """The comment above it and beside it; of the usual ones, the usual meaning."""
    default: Any
    parts: list[Value] = field(default_factory=list)
    """The keys below it, where any of them has a comment or is a usual one."""


def page(text: str) -> str:
    """The page of a ``values.yaml``: a table for each part of it."""
    values = parsed(text)
    sections = [
        "# Helm values\n\nAll values of the chart `wpsjobs` with their defaults, as "
        "`helm show values charts/wpsjobs` prints them."
    ]
    sections.append(_table([value for value in values if not value.parts]))
    for value in values:
        if value.parts:
            sections.append(f"## {value.path}\n\n{value.meaning}".rstrip())
            sections.append(_table([one for part in value.parts for one in _rows(part)]))
    return "\n\n".join(sections) + "\n"


def parsed(text: str) -> list[Value]:
    """The keys of a ``values.yaml`` in their order, but those inside of lists."""
    lines = text.splitlines()
    return list(_values("", yaml.compose(text), yaml.safe_load(text), lines))


def untold(values: list[Value]) -> list[str]:
    """Values of which nobody says what they are."""
    bare = [value.path for value in values if not value.meaning and not value.parts]
    return bare + [path for value in values for path in untold(value.parts)]


def _rows(value: Value) -> Iterator[Value]:
    if value.meaning or not value.parts:
        yield value
    for part in value.parts:
        yield from _rows(part)


def _table(rows: list[Value]) -> str:
    lines = [f"| `{row.path}` | {_default(row)} | {_cell(row.meaning)} |" for row in rows]
    return "\n".join(["| value | default | meaning |", "|---|---|---|", *lines])


def _default(value: Value) -> str:
    if value.parts or value.default in ("", None):
        return ""
    text = value.default
    if not isinstance(text, str):
        text = yaml.safe_dump(text, default_flow_style=True, sort_keys=False, width=10_000)
        text = text.removesuffix("...\n")
    return f"`{_cell(text.strip())}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _values(path: str, node: yaml.Node | None, data: Any, lines: list[str]) -> Iterator[Value]:
    if not isinstance(node, yaml.MappingNode) or node.flow_style or not data:
        return
    told_at: int | None = None
    for key, child in node.value:
        name = str(key.value)
        below = f"{path}.{name}" if path else name
        meaning = _comment(lines, key.start_mark.line, key.start_mark.column)
        parts = list(_values(below, child, data[name], lines))
        if not any(part.meaning or part.parts for part in parts):
            parts = []
        line = key.start_mark.line
        if not meaning and not parts:
            meaning = USUAL.get(name, "")
        if not meaning and not parts and line - 1 == told_at:  # one comment for several
            meaning = "See the one above."
        if meaning:
            told_at = line
        yield Value(below, meaning, data[name], parts)


def _comment(lines: list[str], line: int, column: int) -> str:
    """The lines of comment right above *line*, as far in as its key, and what stands behind it."""
    found: list[str] = []
    for above in reversed(lines[:line]):
        text = above.strip()
        if not text.startswith("#") or len(above) - len(above.lstrip()) != column:
            break
        found.insert(0, text.lstrip("#").removeprefix(" --").strip())
    _, _, beside = lines[line].partition(" # ")
    return " ".join([*found, beside.strip()]).strip()
