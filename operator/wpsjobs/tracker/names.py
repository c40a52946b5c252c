"""Names of the objects of tasks and task types: the same ones whoever computes them.

The API server has one object of a name. That makes a task unique, however many enqueue it at once.
"""

from __future__ import annotations

import hashlib
import re

MAX_IDENTIFIER = 256
"""Characters of an identifier, of a type's by the schema of WpsProcess."""


def task_name(type: str, identifier: str) -> str:
    """``metadata.name`` of the WpsJob of a task."""
    return f"task-{_digest(type, identifier)}"


def process_name(identifier: str) -> str:
    """``metadata.name`` of the WpsProcess of a task type: readable, and no WPS process's."""
    words = re.sub(r"[^a-z0-9]+", "-", identifier.lower()).strip("-")[:30].strip("-")
    return f"{words or 'type'}-{_digest(identifier)[:16]}"


def checked(identifier: str, what: str) -> str:
    """*identifier*; raises TypeError or ValueError where it cannot be one."""
    if not isinstance(identifier, str):
        raise TypeError(f"{what} must be a string, not {identifier!r}")
    if not 0 < len(identifier) <= MAX_IDENTIFIER:
        raise ValueError(f"{what} must have 1 to {MAX_IDENTIFIER} characters: {identifier!r}")
    identifier.encode()  # halves of surrogate pairs raise a ValueError, too
    return identifier


def _digest(*parts: str) -> str:
    """32 hexadecimal digits; lengths keep ("ab", "c") and ("a", "bc") apart."""
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
