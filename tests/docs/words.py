"""What the product can say, from its source: to find out whether a document quotes it right."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
LEAST_LETTERS = 8
"""Letters that a text must have to be told from others by."""
_HOLE = "\0"


@cache
def sayings() -> tuple[re.Pattern[str], ...]:
    """Everything that the product may print, with `.*` where it puts something in."""
    texts = {text for text in _texts() if len(re.findall("[A-Za-z]", text)) >= LEAST_LETTERS}
    return tuple(
        re.compile(".*".join(re.escape(part) for part in text.split(_HOLE)), re.DOTALL)
        for text in sorted(texts)
    )


def says(line: str) -> bool:
    """Whether the product can say *line*."""
    return any(saying.fullmatch(line) for saying in sayings())


def _texts() -> Iterator[str]:
    for path in sorted((REPOSITORY / "operator").rglob("*.py")):
        tree = ast.parse(path.read_text())
        for text in _of_code(tree):
            # Arguments of logging, and what str.format puts in.
            yield re.sub(r"%[srd.0-9f]+", _HOLE, text)
    for path in sorted((REPOSITORY / "crds").glob("*.yaml")):
        yield from _messages(yaml.safe_load(path.read_text()))
    for path in sorted((REPOSITORY / "charts" / "wpsjobs" / "templates").glob("*.yaml")):
        yield from _of_template(path.read_text())


def _of_code(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.JoinedStr | ast.BinOp | ast.Constant):
        text = _text(node)
        if text is not None and text.strip(_HOLE):
            yield text
    for child in ast.iter_child_nodes(node):
        yield from _of_code(child)


def _text(node: ast.AST) -> str | None:
    """An expression as the text that it makes, with a hole for each part that is none."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(_text(part) or _HOLE for part in parts)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            both = _text(left), _text(right)
            return None if both == (None, None) else "".join(part or _HOLE for part in both)
        case _:
            return None


def _messages(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("rule"), str):
            yield str(node.get("message", ""))
        for child in node.values():
            yield from _messages(child)
    elif isinstance(node, list):
        for child in node:
            yield from _messages(child)


def _of_template(text: str) -> Iterator[str]:
    """Messages of admission policies, with a hole for what Helm or CEL puts in."""
    for found in re.finditer(r"^ *message: (.*)$", text, re.MULTILINE):
        yield re.sub(r"\{\{.*?\}\}", _HOLE, found[1])
    for found in re.finditer(r"messageExpression: >-\n((?: {8,}.*\n)+)", text):
        parts = re.split(r"('[^']*')", " ".join(found[1].split()))
        yield "".join(part[1:-1] if part.startswith("'") else _HOLE for part in parts).strip(_HOLE)
