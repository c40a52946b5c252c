"""The Execute that is sent, and the outputs that are read from a response."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from lxml import etree

from wpsjobs.api.request import ExecuteRequest, Input, Output
from wpsjobs.cli import wps
from wpsjobs.cli.errors import CliError, UsageError
from wpsjobs.cli.wps import Result, execute_document, read_results

NAMES = {"wps": wps.WPS, "ows": wps.OWS, "xlink": wps.XLINK}


def found(document: bytes, path: str) -> list[str]:
    return [str(one) for one in etree.fromstring(document).xpath(path, namespaces=NAMES)]


def test_an_execute_is_asynchronous_and_has_each_input_in_its_form() -> None:
    request = ExecuteRequest(
        inputs=(
            Input(id="plain", data="a < b & c"),
            Input(id="length", data="3", uom="m"),
            Input(id="scene", href="https://example.org/?a=b&c=d", mime_type="image/tiff"),
            Input(id="file", data="<a/>", mime_type="text/xml", encoding="base64"),
        ),
        outputs=(Output(id="map", as_reference=True, mime_type="image/tiff"),),
    )
    document = execute_document("Process", request, frozenset({"file", "scene"}))

    assert found(document, "/wps:Execute/ows:Identifier/text()") == ["Process"]
    assert found(document, "//wps:ResponseDocument/@*") == ["true", "true"]
    literal = "//wps:LiteralData"
    assert found(document, f"{literal}/text()") == ["a < b & c", "3"]
    assert found(document, f"{literal}/@uom") == ["m"]
    assert found(document, "//wps:Reference/@xlink:href") == ["https://example.org/?a=b&c=d"]
    assert found(document, "//wps:ComplexData/text()") == ["<a/>"]
    assert found(document, "//wps:ComplexData/@*") == ["text/xml", "base64"]
    assert found(document, "//wps:Output/@asReference") == ["true"]


def test_what_xml_cannot_hold_is_said() -> None:
    request = ExecuteRequest(inputs=(Input(id="a", data="x\0"),))
    with pytest.raises(UsageError, match=r"'a' has the character '\\x00', which XML cannot hold"):
        execute_document("Process", request, frozenset())


RESPONSE = f"""<?xml version="1.0"?>
<wps:ExecuteResponse xmlns:wps="{wps.WPS}" xmlns:ows="{wps.OWS}" xmlns:xlink="{wps.XLINK}">
  <wps:Status creationTime="2026-01-01T00:00:00Z"><wps:ProcessSucceeded/></wps:Status>
  <wps:ProcessOutputs>
    <wps:Output><ows:Identifier>map</ows:Identifier>
      <wps:Reference href="https://e.org/map.tif" mimeType="image/tiff"/></wps:Output>
    <wps:Output><ows:Identifier>old</ows:Identifier>
      <wps:Reference xlink:href="https://e.org/old.tif"/></wps:Output>
    <wps:Output><ows:Identifier>mean</ows:Identifier>
      <wps:Data><wps:LiteralData uom="m">3.5</wps:LiteralData></wps:Data></wps:Output>
    <wps:Output><ows:Identifier>area</ows:Identifier>
      <wps:Data><wps:BoundingBoxData crs="EPSG:4326"><ows:LowerCorner>1 2</ows:LowerCorner>
        <ows:UpperCorner>3 4</ows:UpperCorner></wps:BoundingBoxData></wps:Data></wps:Output>
    <wps:Output><ows:Identifier>json</ows:Identifier>
      <wps:Data><wps:ComplexData mimeType="application/json">{{"a": 1}}</wps:ComplexData></wps:Data>
    </wps:Output>
    <wps:Output><ows:Identifier>bytes</ows:Identifier>
      <wps:Data><wps:ComplexData encoding="base64">/wAB</wps:ComplexData></wps:Data></wps:Output>
    <wps:Output><ows:Identifier>xml</ows:Identifier>
      <wps:Data><wps:ComplexData><b c="d"/></wps:ComplexData></wps:Data></wps:Output>
    <wps:Output><ows:Identifier>nothing</ows:Identifier><wps:Data/></wps:Output>
  </wps:ProcessOutputs>
</wps:ExecuteResponse>""".encode()


def test_all_kinds_of_outputs_are_read() -> None:
    assert read_results(RESPONSE) == [
        Result("map", "reference", "https://e.org/map.tif", mime_type="image/tiff"),
        Result("old", "reference", "https://e.org/old.tif"),
        Result("mean", "literal", "3.5", uom="m"),
        Result("area", "bbox", "1 2 3 4 EPSG:4326"),
        Result("json", "complex", '{"a": 1}', mime_type="application/json"),
        Result("bytes", "complex", "/wAB", encoding="base64"),
        Result("xml", "complex", '<b c="d" />'),
        Result("nothing", "literal", ""),
    ]


def test_the_content_is_what_was_meant() -> None:
    assert Result("a", "complex", "/wAB", encoding="base64").content == b"\xff\x00\x01"
    assert Result("a", "complex", "ä").content == "ä".encode()
    with pytest.raises(CliError, match="'a' is not in base64"):
        _ = Result("a", "complex", "x", encoding="base64").content


def test_a_failed_process_and_what_is_no_document() -> None:
    failed = f"""<wps:ExecuteResponse xmlns:wps="{wps.WPS}" xmlns:ows="{wps.OWS}">
      <wps:Status><wps:ProcessFailed><ows:ExceptionReport>
        <ows:Exception exceptionCode="InvalidParameterValue" locator="a">
          <ows:ExceptionText>not
             that</ows:ExceptionText></ows:Exception>
      </ows:ExceptionReport></wps:ProcessFailed></wps:Status></wps:ExecuteResponse>"""
    with pytest.raises(CliError, match=r"not that \(InvalidParameterValue, a\)"):
        read_results(failed.encode())
    with pytest.raises(CliError, match="no XML document"):
        read_results(b"busy")


def test_what_is_no_web_address_is_not_fetched() -> None:
    for url in ("file:///etc/passwd", "ftp://example.org/a", "nonsense"):
        with pytest.raises(CliError, match="is no URL of http"), wps.fetch(url):
            raise AssertionError(url)


def test_the_proxy_of_the_environment_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.server_address[1]}")
        monkeypatch.setenv("no_proxy", "")
        with wps.fetch("http://results.example.org/a.tif") as content:
            assert b"".join(content) == b"ok"
        server.shutdown()
    assert asked == ["http://results.example.org/a.tif"]
