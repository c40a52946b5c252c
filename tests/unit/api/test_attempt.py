"""The termination message and the exit codes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wpsjobs.api.attempt import MAX_TERMINATION_MESSAGE, ExitCode, TerminationMessage

WORDS = st.text(max_size=300) | st.text('aü€🛰\n"\\\x01', max_size=300)


@given(WORDS, st.text(max_size=128), st.none() | st.text(max_size=256))
def test_a_message_comes_back_as_it_was(message: str, code: str, locator: str | None) -> None:
    said = TerminationMessage(message, code, locator)
    assert TerminationMessage.from_json(said.to_json()) == said


@given(WORDS, st.integers(1, 40), WORDS, WORDS)
def test_it_is_one_line_that_fits_in_bytes(
    message: str, times: int, code: str, locator: str
) -> None:
    said = TerminationMessage(message * times, code * times, locator * times)
    text = said.to_json()
    assert len(text.encode()) <= MAX_TERMINATION_MESSAGE
    assert "\n" not in text
    back = TerminationMessage.from_json(text)
    assert back is not None
    assert said.message.startswith(back.message.removesuffix("…").rstrip("…"))


@pytest.mark.parametrize("character", ["a", "ü", "🛰", "\x01", '"', "…"])
def test_a_huge_message_keeps_as_much_as_fits(character: str) -> None:
    text = TerminationMessage(character * 1_000_000, "c" * 500, "l" * 500).to_json()
    assert len(text.encode()) <= MAX_TERMINATION_MESSAGE
    back = TerminationMessage.from_json(text)
    assert back is not None
    assert back.message.endswith("…")


@pytest.mark.parametrize("character", ["a", "ü", "🛰"])
def test_most_of_what_fits_is_kept(character: str) -> None:
    """What is cut off is not counted in characters where the limit is in bytes."""
    text = TerminationMessage(character * 100_000).to_json()
    assert len(text.encode()) > 3500


def test_an_undecodable_file_name_does_not_raise() -> None:
    name = b"caf\xe9.tif".decode(errors="surrogateescape")
    text = TerminationMessage(f"No such file: {name!s}", locator=name).to_json()
    assert len(text.encode()) <= MAX_TERMINATION_MESSAGE
    back = TerminationMessage.from_json(text)
    assert back is not None
    assert back.message.startswith("No such file: caf")


@pytest.mark.parametrize(
    "text",
    ["", "Killed", "{", "[]", "null", "3", '"x"', "{}", '{"message": 5}', '{"message": null}'],
)
def test_what_is_none_is_no_message(text: str) -> None:
    assert TerminationMessage.from_json(text) is None


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.dictionaries(
            st.sampled_from(["message", "code", "locator", "x"]), inner, max_size=4
        ),
    )
)
def test_no_json_raises(value: object) -> None:
    TerminationMessage.from_json(json.dumps(value))


def test_exit_codes_differ_from_those_of_signals_and_shells() -> None:
    assert len(set(ExitCode)) == len(ExitCode)
    for code in ExitCode:
        # 1 is any exception of Python, 2 its usage, 126 to 128 + 64 are the shell's and signals'.
        assert code == 0 or 2 < code < 126
