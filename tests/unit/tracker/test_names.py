"""Names that everybody computes alike, and that no two tasks share."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wpsjobs.api.names import MAX_RESOURCE_NAME_LENGTH
from wpsjobs.tracker.names import checked, process_name, task_name

LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
WORDS = st.text(min_size=1, max_size=256)


def test_a_task_has_the_same_name_for_ever() -> None:
    assert task_name("SequenceSum", "Task001") == "task-2ec167e8b44def8864fb0ef89101308f"


@given(WORDS.filter(lambda text: text.isprintable()), WORDS.filter(lambda text: text.isprintable()))
def test_names_are_dns_labels(task_type: str, identifier: str) -> None:
    name = task_name(task_type, identifier)
    assert LABEL.fullmatch(name)
    assert len(name) <= MAX_RESOURCE_NAME_LENGTH
    assert LABEL.fullmatch(process_name(identifier))


def test_where_the_type_ends_makes_a_difference() -> None:
    assert task_name("ab", "c") != task_name("a", "bc")
    assert task_name("a", "1:b") != task_name("a1:", "b")


def test_types_that_read_alike_have_different_names() -> None:
    assert process_name("Sequence Sum").startswith("sequence-sum-")
    assert process_name("Sequence Sum") != process_name("sequence_sum")


@pytest.mark.parametrize("identifier", ["", "x" * 257, "\ud800"])
def test_what_cannot_be_an_identifier_is_refused(identifier: str) -> None:
    with pytest.raises(ValueError, match=r"must have 1 to 256|surrogates not allowed"):
        checked(identifier, "the identifier")


def test_an_identifier_is_text() -> None:
    with pytest.raises(TypeError, match="must be a string, not 7"):
        checked(7, "the identifier")  # type: ignore[arg-type]
