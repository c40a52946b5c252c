"""Inputs by reference and multipart requests, over HTTP."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import quote

import pytest

from tests.contract.conftest import Ended, Wps, job_id, only_job
from tests.contract.fakeapi import FakeApi
from wpsjobs.api.attempt import ExitCode

TEXT = "grüße aus der ferne"
DOCUMENT = """<?xml version="1.0" encoding="UTF-8"?>
<wps:Execute service="WPS" version="1.0.0" xmlns:wps="http://www.opengis.net/wps/1.0.0"
    xmlns:ows="http://www.opengis.net/ows/1.1" xmlns:xlink="http://www.w3.org/1999/xlink">
  <ows:Identifier>Digest</ows:Identifier>
  <wps:DataInputs><wps:Input><ows:Identifier>text</ows:Identifier>
    <ows:Title>a title</ows:Title><ows:Abstract>an abstract</ows:Abstract>
    <wps:Reference xlink:href="{href}"/></wps:Input></wps:DataInputs>
  <wps:ResponseForm>
    <wps:ResponseDocument storeExecuteResponse="true" status="true"/>
  </wps:ResponseForm>
</wps:Execute>"""


@pytest.fixture
def url() -> Iterator[str]:
    """Of a file that is TEXT."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(TEXT.encode())

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/text"
        server.shutdown()
        thread.join()


def multipart(root: str, *parts: tuple[str, bytes], boundary: str = "=_limit") -> bytes:
    """A message of *root* and of parts, each with its header lines."""
    chunks = [("Content-Type: text/xml", root.encode()), *parts]
    body = b"".join(
        f"--{boundary}\r\n{head}\r\n\r\n".encode() + data + b"\r\n" for head, data in chunks
    )
    return body + f"--{boundary}--\r\n".encode()


CONTENT_TYPE = 'multipart/related; boundary="=_limit"; type="text/xml"'


def test_a_reference_in_an_xml_request_is_fetched(
    wps: Wps, api: FakeApi, run_worker: Callable[..., Ended], url: str
) -> None:
    answer = wps.post(DOCUMENT.format(href=url))

    assert answer.status_code == 200, answer.content
    job = only_job(api)
    assert job["spec"]["execute"]["inputs"] == [
        {"id": "text", "href": url, "title": "a title", "abstract": "an abstract"}
    ]
    assert run_worker(job_id(job)).code == ExitCode.SUCCEEDED
    assert f">{len(TEXT.encode())}<" in wps.document(job_id(job))


def test_a_reference_in_xml_without_its_namespace_is_refused_with_words(
    wps: Wps, api: FakeApi
) -> None:
    """Its place is in the namespace of XLink (OGC 05-007r7, table 32); EOxServer says so."""
    answer = wps.post(DOCUMENT.replace("xlink:href=", "href=").format(href="http://example.org/"))

    assert answer.status_code == 400
    assert b"xlink:href" in answer.content
    assert api.jobs == {}


def test_what_a_reference_leads_to_may_be_the_clients_error(
    wps: Wps, api: FakeApi, run_worker: Callable[..., Ended], url: str
) -> None:
    """It is no XML; another attempt would not better it."""
    path = "/ows?service=WPS&version=1.0.0&request=Execute&identifier=Inputs&status=true"
    path += "&storeExecuteResponse=true&DataInputs=required=1;"
    assert wps.http.get(f"{path}xml=@href={quote(url, safe='')}").status_code == 200
    ended = run_worker(job_id(only_job(api)))

    assert ended.code == ExitCode.CLIENT_ERROR, ended.output
    document = wps.document(job_id(only_job(api)))
    assert 'exceptionCode="InvalidParameterValue" locator="xml"' in document


def test_a_reference_that_the_process_wants_as_it_is_is_not_fetched(
    wps: Wps, api: FakeApi, run_worker: Callable[..., Ended]
) -> None:
    """It may be of a kind that nothing here can fetch."""
    path = "/ows?service=WPS&version=1.0.0&request=Execute&identifier=Forwarder&status=true"
    path += "&storeExecuteResponse=true&DataInputs=far=@href=s3%3A%2F%2Fbucket%2Fscene.tif"
    answer = wps.http.get(path)

    assert answer.status_code == 200, answer.content
    ended = run_worker(job_id(only_job(api)))
    assert ended.code == ExitCode.SUCCEEDED, ended.output
    assert "s3://bucket/scene.tif" in wps.document(job_id(only_job(api)))


@pytest.mark.parametrize("attribute", ["href", "xlink:href"])
def test_a_reference_in_a_url_is_fetched(
    wps: Wps, api: FakeApi, run_worker: Callable[..., Ended], url: str, attribute: str
) -> None:
    path = "/ows?service=WPS&version=1.0.0&request=Execute&identifier=Digest&status=true"
    path += f"&storeExecuteResponse=true&DataInputs=text=@{attribute}={quote(url, safe='')}"
    answer = wps.http.get(path)

    assert answer.status_code == 200, answer.content
    job = only_job(api)
    assert job["spec"]["execute"]["inputs"][0]["href"] == url
    assert run_worker(job_id(job)).code == ExitCode.SUCCEEDED


@pytest.mark.parametrize(
    ("head", "data"),
    [
        ("Content-ID: <one@here>", TEXT.encode()),
        ("content-id: one@here\r\nContent-Type: text/plain", TEXT.encode()),
        (
            "Content-Id: <one@here>\r\nContent-Transfer-Encoding: base64",
            base64.encodebytes(TEXT.encode()),
        ),
    ],
)
def test_a_part_of_a_multipart_request_is_an_input(
    wps: Wps, api: FakeApi, run_worker: Callable[..., Ended], head: str, data: bytes
) -> None:
    body = multipart(DOCUMENT.format(href="cid:one@here"), (head, data))
    answer = wps.post(body, CONTENT_TYPE)

    assert answer.status_code == 200, answer.content
    job = only_job(api)
    assert "payload" in job["spec"]
    assert run_worker(job_id(job)).code == ExitCode.SUCCEEDED
    assert f">{len(TEXT.encode())}<" in wps.document(job_id(job))


@pytest.mark.parametrize(
    ("content_type", "cut"),
    [
        ("multipart/related", 0),
        (CONTENT_TYPE.replace("=_limit", "other"), 0),
        (CONTENT_TYPE, 20),
    ],
)
def test_a_broken_multipart_request_is_refused(
    wps: Wps, api: FakeApi, content_type: str, cut: int
) -> None:
    body = multipart(DOCUMENT.format(href="cid:one"), ("Content-ID: <one>", b"x"))
    answer = wps.post(body[: len(body) - cut], content_type)

    assert answer.status_code == 400
    assert b"multipart" in answer.content
    assert api.jobs == {}
    assert wps.files() == []
