"""From words on the command line to an Execute, and what is said of wrong words."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from wpsjobs.api.request import ExecuteRequest, Input, Output
from wpsjobs.cli.errors import ExitCode, UsageError
from wpsjobs.cli.inputs import check_fits, parse_request


def one(word: str, *formats: str) -> Input:
    request, _ = parse_request([word], formats, [])
    (item,) = request.inputs
    return item


@pytest.mark.parametrize(
    ("word", "data"),
    [
        ("text=hello", "hello"),
        ("text=", ""),
        ("text=a=b;c@d", "a=b;c@d"),
        ("text=https://example.org/a", "https://example.org/a"),
        ("text=@@home", "@home"),
        ("text=@@", "@"),
        ("bbox=-35,-8.1,-34.8,-7.9", "-35,-8.1,-34.8,-7.9"),
    ],
)
def test_a_value_is_taken_as_it_is(word: str, data: str) -> None:
    assert one(word) == Input(id=word.partition("=")[0], data=data)


def test_a_url_after_an_at_sign_is_a_reference() -> None:
    request, complex_ids = parse_request(["scene=@https://example.org/a?b=c"], [], [])
    assert request.inputs == (Input(id="scene", href="https://example.org/a?b=c"),)
    assert complex_ids == {"scene"}


def test_a_file_of_text_and_one_of_bytes(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("façade\n")
    (tmp_path / "bytes").write_bytes(b"\xff\x00\x01")
    words = [f"a=@{tmp_path}/text", f"b=@{tmp_path}/bytes", "c=1"]
    request, complex_ids = parse_request(words, [], [])
    assert request.inputs == (
        Input(id="a", data="façade\n"),
        Input(id="b", data="/wAB", encoding="base64"),
        Input(id="c", data="1"),
    )
    assert complex_ids == {"a", "b"}


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"piped")))
    assert one("a=@-") == Input(id="a", data="piped")


def test_formats_and_wanted_outputs() -> None:
    assert one("a=1", "a=text/xml;charset=utf-8@schema=http://x/y@encoding=base64") == Input(
        id="a",
        data="1",
        mime_type="text/xml;charset=utf-8",
        schema="http://x/y",
        encoding="base64",
    )
    assert one("a=1", "a=@uom=m") == Input(id="a", data="1", uom="m")
    request, _ = parse_request([], [], ["map@asreference=true@mimeType=image/tiff", "mean"])
    assert request.outputs == (
        Output(id="map", as_reference=True, mime_type="image/tiff"),
        Output(id="mean"),
    )


@pytest.mark.parametrize(
    ("inputs", "formats", "outputs", "words"),
    [
        (["text"], [], [], r"'text' is no input: write KEY=VALUE"),
        (["=1"], [], [], "is no input"),
        (["a=@/nowhere/at/all"], [], [], "'a' cannot be read: No such file.*a=@@"),
        (["a=1", "a=2"], [], [], "has the id 'a' twice"),
        (["a=1"], ["b=text/xml"], [], "input 'b', which is not given"),
        (["a=1"], ["a"], [], "write KEY=MIMETYPE"),
        (["a=1"], ["a=x@colour=red"], [], "no attribute 'colour'; there are mimeType"),
        (["a=1"], ["a=x@asReference=true"], [], "no attribute 'asReference'"),
        ([], [], ["@asReference=true"], "write OUTPUT"),
        ([], [], ["map@asReference=yes"], "asReference is true or false"),
    ],
)
def test_what_is_wrong_is_said(
    inputs: list[str], formats: list[str], outputs: list[str], words: str
) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        parse_request(inputs, formats, outputs)
    assert caught.value.code is ExitCode.USAGE


def test_a_large_request_is_told_where_to_go(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_text("x" * 9000)
    request, _ = parse_request([f"text=@{path}"], [], [])
    with pytest.raises(UsageError, match=r"9036 bytes, and a WpsJob may hold 8192.*--url"):
        check_fits(request)
    check_fits(ExecuteRequest())
