"""The input of a task as the content of a file."""

from __future__ import annotations

import json
import pickle
from typing import Any

_JSON, _PICKLE = b"wpsjobs-task json\n", b"wpsjobs-task pickle\n"
_PLAIN = (str, int, float, bool, type(None))


def encode(value: Any) -> bytes:
    """*value* as bytes: as JSON where that gives it back as it is, else as a pickle.

    Raises what pickle raises where *value* cannot be pickled.
    """
    try:
        text = json.dumps(value, allow_nan=False, separators=(",", ":"))
        if is_same(json.loads(text), value):
            return _JSON + text.encode()
    except (TypeError, ValueError, RecursionError):
        pass
    return _PICKLE + pickle.dumps(value, protocol=5)


def decode(content: bytes) -> Any:
    """The value in *content*, whose hash has to be checked before.

    Raises ValueError where it is no payload, and whatever unpickling raises.
    """
    if content.startswith(_JSON):
        return json.loads(content[len(_JSON) :])
    if content.startswith(_PICKLE):
        return pickle.loads(content[len(_PICKLE) :])  # noqa: S301 (its SHA-256 is in the spec)
    raise ValueError("The stored input was made by another version of WpsJobs.")


def is_same(one: Any, other: Any) -> bool:
    """Whether both are equal and of equal types, all the way down.

    Of types that JSON can have; True and 1, (1,) and [1], 1.0 and 1 are not the same.
    """
    if type(one) is not type(other):
        return False
    if isinstance(one, list):
        return len(one) == len(other) and all(map(is_same, one, other))
    if isinstance(one, dict):
        # In the same order, which a handler may go by.
        return is_same([*one], [*other]) and is_same([*one.values()], [*other.values()])
    return type(one) in _PLAIN and bool(one == other)
