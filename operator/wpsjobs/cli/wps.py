"""WPS 1.0 (OGC 05-007r7) as far as ``kubectl wps`` speaks it: an Execute, and what comes of it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass
from xml.etree import ElementTree

import urllib3

from wpsjobs.api.request import ExecuteRequest, Input
from wpsjobs.cli.errors import CliError, RefusedError, UnreachableError, UsageError

WPS = "http://www.opengis.net/wps/1.0.0"
OWS = "http://www.opengis.net/ows/1.1"
XLINK = "http://www.w3.org/1999/xlink"
_NAMES = {"wps": WPS, "ows": OWS, "xlink": XLINK}
CONNECT_SECONDS = 5.0
READ_SECONDS = 60.0

for _prefix, _namespace in _NAMES.items():
    ElementTree.register_namespace(_prefix, _namespace)


@dataclass(frozen=True)
class Result:
    """One output of a response document."""

    id: str
    kind: str
    """``reference``, ``literal``, ``bbox`` or ``complex``."""
    value: str
    """URL, text, or XML."""
    mime_type: str | None = None
    encoding: str | None = None
    uom: str | None = None

    @property
    def content(self) -> bytes:
        """What was meant, for a file. Raises CliError where it is not what its encoding says."""
        if (self.encoding or "").lower() != "base64":
            return self.value.encode()
        try:
            return base64.b64decode(self.value)
        except binascii.Error as error:
            raise CliError(f"The output {self.id!r} is not in base64, as it says.") from error


def execute_document(process: str, request: ExecuteRequest, complex_ids: frozenset[str]) -> bytes:
    """An asynchronous Execute; *complex_ids* are those inputs that are no literals."""
    root = ElementTree.Element(_wps("Execute"), {"service": "WPS", "version": "1.0.0"})
    ElementTree.SubElement(root, _ows("Identifier")).text = process
    if request.inputs:
        inputs = ElementTree.SubElement(root, _wps("DataInputs"))
        for item in request.inputs:
            _add_input(inputs, item, is_complex=item.id in complex_ids)
    form = ElementTree.SubElement(root, _wps("ResponseForm"))
    response = ElementTree.SubElement(
        form, _wps("ResponseDocument"), {"storeExecuteResponse": "true", "status": "true"}
    )
    for output in request.outputs:
        attributes = _present(
            asReference=None if output.as_reference is None else str(output.as_reference).lower(),
            mimeType=output.mime_type,
            encoding=output.encoding,
            schema=output.schema,
            uom=output.uom,
        )
        element = ElementTree.SubElement(response, _wps("Output"), attributes)
        ElementTree.SubElement(element, _ows("Identifier")).text = output.id
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))


def send_execute(url: str, document: bytes) -> str:
    """Send an Execute; the result is the job's identifier, from its status location.

    Raises RefusedError with the words of the service.
    """
    with _told(f"The service at {url}"), _pool(url) as pool:
        headers = {"Content-Type": "text/xml"}
        # Not tried again: the first one may have been accepted.
        answer = pool.request(
            "POST", url, body=document, headers=headers, timeout=_timeout(), retries=False
        )
        text, status = answer.data, answer.status
    root = _parse(text, f"The service at {url} answered {status}, and not in XML: is it WPS?")
    if (words := exception_text(root)) is not None:
        raise RefusedError(f"The service refuses the request: {words}")
    location = root.get("statusLocation") or ""
    if root.tag != _wps("ExecuteResponse") or location.count("/") < 2:
        raise RefusedError(
            f"The service at {url} answered {status} without a status location: is it the URL of "
            "a WPS, such as https://…/ows, with WpsJobs as its asynchronous back-end?"
        )
    return location.rstrip("/").split("/")[-2]


@contextmanager
def fetch(url: str) -> Iterator[Iterator[bytes]]:
    """The content of *url* in pieces. Raises CliError."""
    with _told(url), _pool(url) as pool:
        answer = pool.request("GET", url, preload_content=False, timeout=_timeout(), retries=1)
        try:
            if answer.status != 200:
                raise UnreachableError(f"{url} answers {answer.status} {answer.reason}.")
            yield answer.stream(amt=None, decode_content=True)
        finally:
            answer.close()


def read_results(document: bytes) -> list[Result]:
    """The outputs of a response document. Raises CliError where it is none."""
    root = _parse(document, "The stored response is no XML document.")
    if (words := exception_text(root)) is not None:
        raise CliError(f"The response says that the process failed: {words}")
    return [_result(output) for output in root.iterfind("wps:ProcessOutputs/wps:Output", _NAMES)]


def exception_text(root: Any) -> str | None:
    """What an exception report, or a ProcessFailed, says; None where there is none."""
    found = root.find(".//ows:Exception", _NAMES)
    if found is None:
        return None
    text = " ".join((found.findtext("ows:ExceptionText", "", _NAMES)).split())
    code, locator = found.get("exceptionCode"), found.get("locator")
    return f"{text or 'no reason is given'} ({', '.join(filter(None, (code, locator)))})"


def _result(output: Any) -> Result:
    identifier = output.findtext("ows:Identifier", "", _NAMES)
    reference = output.find("wps:Reference", _NAMES)
    if reference is not None:
        href = reference.get("href") or reference.get(f"{{{XLINK}}}href") or ""
        return Result(identifier, "reference", href, mime_type=reference.get("mimeType"))
    data = output.find("wps:Data", _NAMES)
    value = data[0] if data is not None and len(data) else None
    if value is None:
        return Result(identifier, "literal", "")
    if value.tag == _wps("LiteralData"):
        return Result(identifier, "literal", value.text or "", uom=value.get("uom"))
    if value.tag == _wps("BoundingBoxData"):
        corners = [value.findtext(f"ows:{name}Corner", "", _NAMES) for name in ("Lower", "Upper")]
        return Result(identifier, "bbox", " ".join([*corners, value.get("crs") or ""]).strip())
    inner = "".join(ElementTree.tostring(child, encoding="unicode") for child in value)
    return Result(
        identifier,
        "complex",
        ((value.text or "") + inner) if inner else (value.text or ""),
        mime_type=value.get("mimeType"),
        encoding=value.get("encoding"),
    )


def _add_input(parent: Any, item: Input, *, is_complex: bool) -> None:
    element = ElementTree.SubElement(parent, _wps("Input"))
    ElementTree.SubElement(element, _ows("Identifier")).text = item.id
    form = _present(mimeType=item.mime_type, encoding=item.encoding, schema=item.schema)
    if item.href is not None:
        attributes = {f"{{{XLINK}}}href": item.href, **form}
        ElementTree.SubElement(element, _wps("Reference"), attributes)
        return
    data = ElementTree.SubElement(element, _wps("Data"))
    if is_complex or form:
        value = ElementTree.SubElement(data, _wps("ComplexData"), form)
    else:
        value = ElementTree.SubElement(data, _wps("LiteralData"), _present(uom=item.uom))
    if item.data and not item.data.isprintable():
        _check_characters(item)
    value.text = item.data


def _check_characters(item: Input) -> None:
    allowed = {"\t", "\n", "\r"}
    for character in item.data or "":
        if character < " " and character not in allowed:
            raise UsageError(
                f"The input {item.id!r} has the character {character!r}, which XML cannot hold."
            )


def _parse(text: bytes, otherwise: str) -> Any:
    try:
        # The service's own answer; entities beyond XML's five are not expanded by this parser.
        return ElementTree.fromstring(text)  # noqa: S314
    except ElementTree.ParseError as error:
        raise CliError(otherwise) from error


@contextmanager
def _told(what: str) -> Iterator[None]:
    try:
        yield
    except (urllib3.exceptions.HTTPError, OSError) as error:
        reason = getattr(error, "reason", None) or error
        words = str(reason).rpartition(": ")[2]
        raise UnreachableError(f"{what} cannot be reached: {words}.") from error


def _pool(url: str) -> urllib3.PoolManager:
    """By the proxy that the environment names for *url*, if it does, as other programs."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        raise UsageError(f"{url!r} is no URL of http or https.")
    proxy = getproxies().get(parts.scheme)
    if proxy is None or proxy_bypass(parts.netloc):
        return urllib3.PoolManager()
    return urllib3.ProxyManager(proxy)


def _timeout() -> urllib3.Timeout:
    return urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS)


def _present(**attributes: str | None) -> dict[str, str]:
    return {name: value for name, value in attributes.items() if value is not None}


def _wps(name: str) -> str:
    return f"{{{WPS}}}{name}"


def _ows(name: str) -> str:
    return f"{{{OWS}}}{name}"
