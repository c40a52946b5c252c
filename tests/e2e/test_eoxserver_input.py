"""Inputs at the boundary: large, by reference, in parts, hostile, and in any script."""

from __future__ import annotations

import hashlib

import pytest
import requests
from lxml import etree

from tests.deployment.tools import get, kubectl
from tests.e2e.own import Own, accepted_job, status_of
from tests.e2e.wps import NAMESPACES, exception_of, job_id

DOCUMENT = """<?xml version="1.0" encoding="UTF-8"?>{head}
<wps:Execute service="WPS" version="1.0.0" xmlns:wps="http://www.opengis.net/wps/1.0.0"
    xmlns:ows="http://www.opengis.net/ows/1.1" xmlns:xlink="http://www.w3.org/1999/xlink">
  <ows:Identifier>{process}</ows:Identifier>
  <wps:DataInputs><wps:Input><ows:Identifier>{name}</ows:Identifier>{value}</wps:Input>
  </wps:DataInputs>
  <wps:ResponseForm>
    <wps:ResponseDocument storeExecuteResponse="true" status="true"/>
  </wps:ResponseForm>
</wps:Execute>"""
LARGE = 50 * 1024 * 1024
BOUNDARY = "here-it-ends"


def post(own: Own, body: str | bytes, content_type: str = "text/xml") -> requests.Response:
    data = body.encode() if isinstance(body, str) else body
    headers = {"Content-Type": content_type}
    return requests.post(own.release.wps_url, data, headers=headers, timeout=120)


def document(value: str, process: str = "Digest", name: str = "text", head: str = "") -> str:
    return DOCUMENT.format(value=value, process=process, name=name, head=head)


def inline(text: str) -> str:
    return f"<wps:Data><wps:ComplexData>{text}</wps:ComplexData></wps:Data>"


def multipart(root: str, part: bytes) -> bytes:
    return (
        (
            f"--{BOUNDARY}\r\nContent-Type: text/xml\r\n\r\n{root}\r\n"
            f"--{BOUNDARY}\r\nContent-Type: text/plain\r\nContent-ID: <part>\r\n\r\n"
        ).encode()
        + part
        + f"\r\n--{BOUNDARY}--\r\n".encode()
    )


def outputs(final: etree._Element) -> dict[str, str]:
    return {
        output.findtext("ows:Identifier", "", NAMESPACES): "".join(
            output.find("wps:Data", NAMESPACES).itertext()
        ).strip()
        for output in final.iterfind(".//wps:ProcessOutputs/wps:Output", NAMESPACES)
    }


def digest(own: Own, response: requests.Response, text: bytes) -> None:
    """The job has got *text*, byte for byte."""
    job = accepted_job(response)
    final = own.until_final(job)
    assert status_of(final) == "ProcessSucceeded", etree.tostring(final)
    sha256 = hashlib.sha256(text).hexdigest()
    assert outputs(final) == {"length": str(len(text)), "sha256": sha256}
    own.purge(job)


def test_eight_megabytes_inline(own: Own) -> None:
    text = "grüße, 世界 " * (8 * 1024 * 1024 // 17)
    digest(own, post(own, document(inline(text))), text.encode())


def test_fifty_megabytes_as_a_part(own: Own) -> None:
    part = b"0123456789abcde\n" * (LARGE // 16)
    root = document('<wps:Reference xlink:href="cid:part"/>')
    kind = f'multipart/related; boundary="{BOUNDARY}"; type="text/xml"'
    digest(own, post(own, multipart(root, part), kind), part)


def test_fifty_megabytes_inline(own: Own) -> None:
    text = "grüße, 世界 " * (LARGE // 17)
    digest(own, post(own, document(inline(text))), text.encode())


def test_an_input_by_reference(own: Own) -> None:
    """The file is another job's result, which the web pods serve within the cluster, too."""
    first = accepted_job(own.client.kvp("Recorder"))
    own.until_final(first)
    service = get("service", f"{own.release.name}-web", "-n", own.release.namespace)["spec"]
    url = f"http://{service['clusterIP']}/results/{first}/result.txt"
    digest(own, post(own, document(f'<wps:Reference xlink:href="{url}"/>')), "déjà vu".encode())

    job = accepted_job(post(own, document(f'<wps:Reference xlink:href="{url}.none"/>')))
    final = own.until_final(job)
    assert status_of(final) == "ProcessFailed"
    assert "404" in final.findtext(".//ows:ExceptionText", "", NAMESPACES)
    own.purge(first, job)


def test_an_external_entity_is_not_read(own: Own) -> None:
    head = '<!DOCTYPE wps [<!ENTITY e SYSTEM "file:///etc/passwd">]>'
    value = "<wps:Data><wps:LiteralData>&e;</wps:LiteralData></wps:Data>"
    response = post(own, document(value, "Echo", head=head))
    assert b"root:" not in response.content
    if response.status_code == 200:
        job = accepted_job(response)
        assert b"root:" not in etree.tostring(own.until_final(job))
        assert "root:" not in str(own.client.wpsjob(job))
        own.purge(job)


@pytest.mark.parametrize("target", ["../escaped.txt", "/etc/passwd", "executeResponse.xml"])
def test_only_files_of_the_workspace_are_published(own: Own, target: str) -> None:
    execution = own.client.finish(own.client.execute("Recorder", {"publish": target}))
    assert not execution.isSucceded()
    assert execution.errors[0].locator == "ContextError"
    job = job_id(execution)
    assert {path.name for path in (own.volume / "perm" / job).iterdir()} == {"executeResponse.xml"}
    assert not (own.volume / "perm" / "escaped.txt").exists()
    own.purge(job)


@pytest.mark.parametrize("path", ["..%2ftask", "%2e%2e/task/", "x/..%2f..%2ftask", ".%00/x"])
def test_nothing_beside_the_published_folder_is_served(own: Own, path: str) -> None:
    assert requests.get(f"{own.release.url}/results/{path}", timeout=30).status_code in {400, 404}


def test_any_script_in_an_input_and_in_an_error(own: Own) -> None:
    text = "Ünïcödé 測試 дно \u202e 🛰 &<>\"'"
    echo = own.client.finish(own.client.execute("Echo", {"text": text}))
    assert echo.processOutputs[0].data == [text]
    fail = own.client.finish(own.client.execute("Fail", {"message": text}))
    assert text in fail.errors[0].text
    assert text in own.client.wpsjob(job_id(fail))["status"]["message"]
    own.purge(job_id(echo), job_id(fail))


def test_owslib_reads_an_error_of_the_clients_own(own: Own) -> None:
    execution = own.client.finish(own.client.execute("Recorder", {"act": "client"}))
    assert not execution.isSucceded()
    (error,) = execution.errors
    assert (error.code, error.locator) == ("InvalidParameterValue", "act")
    assert "not that one" in error.text
    own.purge(job_id(execution))


def test_a_waiting_client_is_told_its_place(own: Own) -> None:
    own.hold(True)
    try:
        jobs = [accepted_job(own.client.kvp("Echo", "text=a")) for _ in range(3)]
        before = (own.volume / "perm" / jobs[2] / "executeResponse.xml").read_bytes()
        text = own.document(jobs[2]).findtext(".//wps:ProcessAccepted", "", NAMESPACES)
        assert "Position in the queue: 3." in text
        assert (own.volume / "perm" / jobs[2] / "executeResponse.xml").read_bytes() == before
        assert "Position in the queue: 2." in own.manage("show", jobs[1])
        own.purge(*jobs)
    finally:
        own.hold(False)


def test_a_refused_execute_says_what_is_wrong_with_it(own: Own) -> None:
    response = post(own, document("<wps:Data/>"))
    assert response.status_code == 400
    assert exception_of(response)[0]


def test_doctor_finds_nothing_wrong_here_nor_in_a_job_pod(own: Own) -> None:
    found = own.in_web("sh", "-c", "python manage.py wpsjobs doctor || true")
    assert "ok   WpsQueue default" in found
    # A pod does not reach the node's port by the node's loopback address, and doctor says so.
    bad = [line for line in found.splitlines() if line.startswith("BAD")]
    assert all("url_base" in line for line in bad), found
    # As docs/migration.md tells an administrator.
    manifest = own.manage("doctor", "--job-manifest")
    namespace = own.release.namespace
    name = kubectl("create", "-f", "-", "-o", "name", stdin=manifest).strip()
    kubectl("wait", "--for=condition=Complete", name, "-n", namespace, "--timeout=60s")
    logs = kubectl("logs", name, "-n", namespace)
    assert "BAD" not in logs
    assert "path_perm: /var/lib/wps/perm can be written to by the user 1000" in logs
    kubectl("delete", name, "-n", namespace)
