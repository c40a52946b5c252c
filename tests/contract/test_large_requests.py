"""XML requests of more than libxml2 takes by itself."""

from __future__ import annotations

import hashlib
import threading
import time
from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory, override_settings
from lxml import etree

from tests.contract.conftest import Wps, job_id, only_job
from tests.contract.fakeapi import FakeApi
from tests.contract.test_accept import execute_document
from tests.contract.test_refuse import assert_nothing_left
from tests.contract.test_worker import RunWorker, read
from wpsjobs.api.attempt import ExitCode
from wpsjobs.eoxserver.large import LargeRequestMiddleware
from wpsjobs.eoxserver.multipart import MultipartMiddleware
from wpsjobs.eoxserver.parsing import is_harmless

LARGE = 50 * 1024 * 1024
GROWING = "".join(
    f'<!ENTITY {name} "{f"&{of};" * 10}">' for of, name in zip("abcdefgh", "bcdefghi", strict=True)
)
LAUGHS = f'<!DOCTYPE x [<!ENTITY a "ha ha ha ha ha">{GROWING}]>'


def large(text: str, head: str = "") -> str:
    return execute_document("Digest", f"<wps:ComplexData>{text}</wps:ComplexData>", head=head)


def test_fifty_megabytes_inline_reach_the_process(
    wps: Wps, api: FakeApi, run_worker: RunWorker
) -> None:
    text = "grüße, 世界 " * (LARGE // 17)
    before = etree.get_default_parser()
    answer = wps.post(large(text))

    assert answer.status_code == 200, answer.content[:1000]
    assert etree.get_default_parser() is before
    ended = run_worker(job_id(only_job(api)))
    assert ended.code == ExitCode.SUCCEEDED, ended.output
    outputs = read(wps.document(job_id(only_job(api)))).processOutputs
    found = {output.identifier: output.data[0] for output in outputs}
    assert found["sha256"] == hashlib.sha256(text.encode()).hexdigest()


def test_a_large_text_in_embedded_xml_is_parsed_in_the_job_too(
    wps: Wps, api: FakeApi, run_worker: RunWorker
) -> None:
    tree = f"<wps:ComplexData><a xmlns=''>{'x' * 11_000_000}</a></wps:ComplexData>"
    value = (
        f"<wps:Input><ows:Identifier>xml</ows:Identifier><wps:Data>{tree}</wps:Data></wps:Input>"
    )
    document = execute_document(
        "Inputs", "<wps:LiteralData>1</wps:LiteralData>", identifier="required", more=value
    )
    assert wps.post(document).status_code == 200
    ended = run_worker(job_id(only_job(api)))
    assert ended.code == ExitCode.SUCCEEDED, ended.output[-2000:]


@pytest.mark.parametrize("use", ["&i;", "<e xmlns='' a='&i;'/>"], ids=["text", "attribute"])
def test_entities_do_not_grow_in_a_large_request(wps: Wps, api: FakeApi, use: str) -> None:
    began = time.process_time()
    answer = wps.post(large(use + "x" * 11_000_000, head=LAUGHS))

    assert answer.status_code == 400
    assert time.process_time() - began < 5.0
    assert_nothing_left(wps, api)


def test_an_external_entity_of_a_large_request_is_not_read(
    wps: Wps, api: FakeApi, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("do not tell")
    head = f'<!DOCTYPE x [<!ENTITY e SYSTEM "file://{tmp_path}/secret">]>'
    answer = wps.post(large("&e;" + "x" * 11_000_000, head=head))

    assert answer.status_code == 400
    assert b"do not tell" not in answer.content
    assert_nothing_left(wps, api)


def test_what_is_refused_is_refused_with_what_to_do(wps: Wps, api: FakeApi) -> None:
    document = large("x" * 11_000_000).replace("UTF-8", "iso-8859-1").encode("iso-8859-1")
    answer = wps.post(document)

    assert answer.status_code == 400
    assert b'exceptionCode="FileSizeExceeded"' in answer.content
    assert b"multipart/related" in answer.content
    assert len(answer.content) < 5_000
    assert_nothing_left(wps, api)


@override_settings(DATA_UPLOAD_MAX_MEMORY_SIZE=1000)
@pytest.mark.parametrize("content_type", ["text/xml", "multipart/related; boundary=x"])
def test_a_request_over_the_servers_limit_is_refused_with_what_to_do(
    wps: Wps, api: FakeApi, content_type: str
) -> None:
    answer = wps.post(large("x" * 1000), content_type)

    assert answer.status_code == 400
    assert b'exceptionCode="FileSizeExceeded"' in answer.content
    assert b"more than 1000 bytes" in answer.content
    assert_nothing_left(wps, api)


@override_settings(DATA_UPLOAD_MAX_MEMORY_SIZE=1000)
def test_uploads_to_other_parts_of_the_instance_are_not_read() -> None:
    """Django streams files, and does not count them."""
    upload = SimpleUploadedFile("scene.tif", b"x" * 10_000)
    request = RequestFactory().post("/upload", {"file": upload})
    answer = HttpResponse()

    def view(request: HttpRequest) -> HttpResponse:
        assert request.FILES["file"].size == 10_000
        return answer

    assert MultipartMiddleware(LargeRequestMiddleware(view))(request) is answer


def test_another_threads_requests_keep_their_limits(wps: Wps, api: FakeApi) -> None:
    """Whose parser was there before; a thread's own is not another one's."""
    etree.fromstring("<a/>")
    refused: list[etree.XMLSyntaxError] = []
    started, goes_on = threading.Event(), threading.Event()

    def other() -> None:
        etree.fromstring("<a/>")
        started.set()
        goes_on.wait(30)
        try:
            etree.fromstring(b"<a>" + b"x" * 11_000_000 + b"</a>")
        except etree.XMLSyntaxError as error:
            refused.append(error)

    thread = threading.Thread(target=other)
    thread.start()
    assert started.wait(30)

    def created(_: object) -> dict[str, str]:
        goes_on.set()
        thread.join(30)
        return {"phase": "Accepted"}

    api.on_created = created
    assert wps.post(large("x" * 11_000_000)).status_code == 200
    thread.join()
    assert len(refused) == 1


@pytest.mark.parametrize(
    ("document", "harmless"),
    [
        ("<a/>", True),
        ('<?xml version="1.0"?><a/>', True),
        ('\ufeff<?xml version="1.0" encoding="utf-8"?><a/>', True),
        ("<?xml version='1.0' encoding='US-ASCII'?><a/>", True),
        ("<?xml version='1.0' encoding = 'UTF-7'?><a/>", False),
        ('<?xml version="1.0" encoding="iso-8859-1"?><a/>', False),
        ('<?xml version="1.0"?><!DOCTYPE a []><a/>', False),
    ],
)
def test_only_plain_documents_are_harmless(document: str, harmless: bool) -> None:
    assert is_harmless(document.encode()) is harmless
