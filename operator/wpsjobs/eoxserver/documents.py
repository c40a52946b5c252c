"""The stored response documents (OGC 05-007r7), made by EOxServer's own encoder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from io import BytesIO
from typing import Any

from eoxserver.services.ows.wps.exceptions import OWS10Exception
from eoxserver.services.ows.wps.parameters import ResponseForm
from eoxserver.services.ows.wps.v10.encoders import WPS10ExecuteResponseXMLEncoder
from eoxserver.services.ows.wps.v10.util import ns_ows, ns_wps
from lxml import etree

# What XML 1.0 cannot hold (section 2.2): such a character in a message must not cost the document.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class DocumentStatus(StrEnum):
    """The element below ``wps:Status``."""

    ACCEPTED = "ProcessAccepted"
    STARTED = "ProcessStarted"
    PAUSED = "ProcessPaused"
    SUCCEEDED = "ProcessSucceeded"
    FAILED = "ProcessFailed"


FINAL_STATUSES = frozenset({DocumentStatus.SUCCEEDED, DocumentStatus.FAILED})


class ReportedError(OWS10Exception):  # type: ignore[misc]  # EOxServer has no types
    """An exception known by its code, locator and words alone."""


class UnknownProcess:
    """Stands for a process that this instance does not have, in the document that says so."""

    inputs: tuple[()] = ()
    outputs: tuple[()] = ()

    def __init__(self, identifier: str) -> None:
        self.identifier = identifier
        self.title = identifier
        self.description = ""


class _ProcessView:
    """A process whose definitions are lists of pairs, as the encoder needs them for lineage."""

    def __init__(self, process: Any) -> None:
        self._process = process
        self.identifier = identifier_of(process)
        self.inputs = _pairs(process.inputs)
        self.outputs = _pairs(process.outputs)
        self.__doc__ = process.__doc__

    def __getattr__(self, name: str) -> Any:
        return getattr(self._process, name)


class ResponseDocuments:
    """The documents of one job, as bytes."""

    def __init__(
        self,
        process: Any,
        resp_form: ResponseForm,
        raw_inputs: Mapping[str, Any],
        status_location: str,
    ) -> None:
        self._encoder = WPS10ExecuteResponseXMLEncoder(
            _ProcessView(process), resp_form, raw_inputs, status_location=status_location
        )

    def accepted(self) -> bytes:
        return self._serialize(self._encoder.encode_accepted())

    def started(self, percent: int, message: str | None) -> bytes:
        return self._serialize(self._encoder.encode_started(percent, printable(message or "")))

    def succeeded(self, packed_outputs: Mapping[str, Any]) -> bytes:
        """Raises whatever the encoding of an output raises."""
        return self._serialize(self._encoder.encode_response(packed_outputs))

    def failed(self, code: str, locator: str | None, message: str) -> bytes:
        locator = printable(locator) if locator else None
        error = ReportedError(printable(code), locator, printable(message))
        return self._serialize(self._encoder.encode_failed(error))

    def _serialize(self, element: Any) -> bytes:
        _make_valid(element)
        payload, _ = self._encoder.serialize(element)
        return payload if isinstance(payload, bytes) else payload.encode()


def read_status(document: bytes) -> DocumentStatus | None:
    """The status in a stored response, or None where it is no such document."""
    try:
        # resolve_entities: documents may come from an older back-end, and entities are nobody's.
        events = etree.iterparse(BytesIO(document), resolve_entities=False, no_network=True)
        for _, element in events:
            if element.tag == ns_wps("Status") and len(element):
                return DocumentStatus(etree.QName(element[0]).localname)
    except (etree.XMLSyntaxError, ValueError):
        return None
    return None


def read_percent(document: bytes) -> int:
    """``percentCompleted`` of a stored response, 0 where it has none."""
    match = re.search(rb'percentCompleted="(\d{1,3})"', document)
    return int(match.group(1)) if match else 0


def identifier_of(process: Any) -> str:
    """The identifier that EOxServer knows *process* by."""
    return getattr(process, "identifier", None) or type(process).__name__


def list_definitions(process: Any) -> None:
    """Turn dictionaries of definitions into lists of pairs, in place.

    EOxServer does the same before it describes a process, and its encoder needs it for lineage.
    """
    if isinstance(process.inputs, Mapping):
        process.inputs = _pairs(process.inputs)
    if isinstance(process.outputs, Mapping):
        process.outputs = _pairs(process.outputs)


def printable(text: str) -> str:
    """*text* with what XML cannot hold replaced."""
    return _NOT_XML.sub("\ufffd", text)


def _pairs(definitions: Any) -> list[tuple[str, Any]]:
    items = definitions.items() if isinstance(definitions, Mapping) else definitions
    return [(name, definition) for name, definition in items]


def _make_valid(element: Any) -> None:
    """Put right what the schema wpsExecute_response.xsd refuses of the encoder's work."""
    for report in element.iter(ns_wps("ExceptionReport")):
        report.tag = ns_ows("ExceptionReport")
        report.set("version", "1.0.0")
    for tag, child in (("DataInputs", "Input"), ("OutputDefinitions", "Output")):
        for part in element.findall(ns_wps(tag)):
            if part.find(ns_wps(child)) is None:
                element.remove(part)
