"""``python -m tests.docs``: write the pages that are made from schemas, values and source."""

from __future__ import annotations

from tests.docs.pages import write

for name in write():
    print(f"written: {name}")
