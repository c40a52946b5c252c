"""libxml2's limits, lifted where they guard nothing.

They keep entities from growing, and texts from being longer than 10 MB.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from lxml import etree

MAX_TEXT_BYTES = 10_000_000
"""``XML_MAX_TEXT_LENGTH`` of libxml2."""
_ENCODING = re.compile(rb"""\s*<\?xml[^>]*\sencoding\s*=\s*["']([^"']*)""")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def is_harmless(document: bytes) -> bool:
    """Whether it can be parsed without limits: in UTF-8, and with no entities of its own.

    Entities could make a small document expand to any size.
    """
    declared = _ENCODING.match(document[:1000].removeprefix(_BYTE_ORDER_MARK))
    if declared is not None and declared.group(1).lower() not in {b"utf-8", b"us-ascii"}:
        return False
    return b"<!DOCTYPE" not in document


@contextlib.contextmanager
def without_limits() -> Iterator[None]:
    """Let this thread parse large documents; only for one that ``is_harmless``.

    UTF-8 is forced on the parser, so that it reads what was looked at.
    """
    before = etree.get_default_parser()
    etree.set_default_parser(
        etree.XMLParser(huge_tree=True, resolve_entities=False, no_network=True, encoding="utf-8")
    )
    try:
        yield
    finally:
        etree.set_default_parser(before)


def limits_for(raw: Any) -> AbstractContextManager[None]:
    """What the request itself holds may be large; what a reference leads to may not."""
    data = getattr(raw, "data", None)
    document = data.encode(errors="replace") if isinstance(data, str) else data
    if isinstance(document, bytes) and len(document) > MAX_TEXT_BYTES and is_harmless(document):
        return without_limits()
    return nullcontext()
