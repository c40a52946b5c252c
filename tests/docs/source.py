"""Tables of settings, from the source that reads them: names, defaults and docstrings."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Attribute:
    """An attribute of a class with its docstring, as the source has them."""

    name: str
    value: object
    """Its default, or None where there is none or it is no literal."""
    meaning: str


def attributes(path: Path, class_name: str) -> list[Attribute]:
    """The attributes of a class that have a value or a type, in their order."""
    tree = ast.parse(path.read_text())
    (found,) = [
        node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == class_name
    ]
    return list(_attributes(found.body))


def _attributes(body: list[ast.stmt]) -> Iterator[Attribute]:
    for number, statement in enumerate(body):
        match statement:
            case ast.AnnAssign(target=ast.Name(id=name), value=value):
                pass
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                pass
            case _:
                continue
        meaning = ""
        match body[number + 1 : number + 2]:
            case [ast.Expr(value=ast.Constant(value=str(text)))]:
                meaning = sentence(text)
        literal = value.value if isinstance(value, ast.Constant) else None
        yield Attribute(name, literal, meaning)


def sentence(docstring: str) -> str:
    """A docstring on one line, with literals as Markdown has them."""
    words = re.sub(r"\s+", " ", docstring).strip()
    return words.replace("``", "`").replace("|", "\\|")
