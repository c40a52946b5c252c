"""The Execute request between EOxServer's objects and what a WpsJob carries.

What survives the way through ``wpsjobs.api.request`` becomes ``spec.execute``, where people can
read it. The rest (multipart parts, Python objects in hidden inputs, what is large) becomes a file.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from eoxserver.services.ows.wps.parameters import (
    ComplexData,
    InputData,
    InputReference,
    Output,
    ResponseDocument,
    ResponseForm,
)

from wpsjobs.api.request import ExecuteRequest
from wpsjobs.api.request import Input as NeutralInput
from wpsjobs.api.request import Output as NeutralOutput

_PAYLOAD_VERSION = 1
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_SEPARATOR = re.compile(r"[\s,]+")
_XML_DECLARATION = "<?xml"


class UnstorableError(Exception):
    """The request holds what cannot be stored; the message says what."""


def straightened(key: str, raw: Any) -> Any:
    """*raw*, or what it should have been.

    EOxServer 1.5.5 makes the references of an XML request with the first four arguments in the
    wrong order: the identifier stands in the place of the URL, and the URL in that of the abstract.
    """
    if not isinstance(raw, InputReference) or raw.href != key:
        return raw
    if raw.identifier == key and ":" in key:
        return raw  # a name that is a URL, and its own
    return InputReference(
        raw.abstract,
        key,
        title=raw.identifier,
        abstract=raw.title,
        headers=raw.headers,
        body=raw.body,
        method=raw.method,
        mime_type=raw.mime_type,
        encoding=raw.encoding,
        schema=raw.schema,
        body_href=raw.body_href,
    )


@dataclass
class WpsRequest:
    """An Execute request as EOxServer's handler passes it to a back-end."""

    raw_inputs: dict[str, Any]
    resp_form: ResponseForm
    extra_parts: dict[str, bytes] = field(default_factory=dict)

    def to_neutral(self, input_defs: Mapping[str, Any]) -> ExecuteRequest | None:
        """As ``spec.execute``; None where something would be lost on the way or it is too large."""
        if self.extra_parts or self.resp_form.raw:
            return None
        inputs = [_neutral_input(key, raw) for key, raw in self.raw_inputs.items()]
        if any(item is None for item in inputs):
            return None
        try:
            request = ExecuteRequest(
                inputs=tuple(item for item in inputs if item is not None),
                outputs=tuple(_neutral_output(output) for output in self.resp_form.values()),
                lineage=bool(self.resp_form.lineage),
            )
        except AttributeError:  # not EOxServer's own objects
            return None
        if not request.fits():
            return None
        back = WpsRequest.from_neutral(request, input_defs)
        return request if back.is_same(self) else None

    @classmethod
    def from_neutral(cls, request: ExecuteRequest, input_defs: Mapping[str, Any]) -> WpsRequest:
        """The request in EOxServer's objects, as its decoders would make them."""
        resp_form = ResponseDocument(lineage=request.lineage, status=True, store_response=True)
        for output in request.outputs:
            resp_form.set_output(
                Output(
                    output.id,
                    output.title,
                    output.abstract,
                    output.uom,
                    output.crs,
                    output.mime_type,
                    output.encoding,
                    output.schema,
                    output.as_reference,
                )
            )
        raw_inputs = {
            item.id: _raw_input(item, _is_complex(input_defs, item.id)) for item in request.inputs
        }
        return cls(raw_inputs, resp_form)

    def to_payload(self) -> bytes:
        """As the content of a payload file. Raises UnstorableError."""
        content = {
            "version": _PAYLOAD_VERSION,
            "raw_inputs": dict(self.raw_inputs),
            "resp_form": self.resp_form,
            "extra_parts": dict(self.extra_parts),
        }
        try:
            return pickle.dumps(content, protocol=5)
        except Exception as error:  # whatever the objects of hidden inputs raise
            raise UnstorableError(f"The request cannot be stored: {error}") from error

    @classmethod
    def from_payload(cls, payload: bytes) -> WpsRequest:
        """From a payload file, whose hash has to be checked before.

        Raises ValueError where it is of another version of WpsJobs.
        """
        content = pickle.loads(payload)  # noqa: S301 (its SHA-256 stands in the immutable spec)
        if not isinstance(content, dict) or content.get("version") != _PAYLOAD_VERSION:
            raise ValueError("The stored request was made by another version of WpsJobs.")
        return cls(content["raw_inputs"], content["resp_form"], content["extra_parts"])

    def is_same(self, other: WpsRequest) -> bool:
        """Whether a process sees no difference."""
        return (
            self.raw_inputs.keys() == other.raw_inputs.keys()
            and all(
                _comparable(raw) == _comparable(other.raw_inputs[key])
                for key, raw in self.raw_inputs.items()
            )
            and [(key, vars(output)) for key, output in self.resp_form.items()]
            == [(key, vars(output)) for key, output in other.resp_form.items()]
            and bool(self.resp_form.lineage) == bool(other.resp_form.lineage)
            and self.extra_parts == other.extra_parts
        )


def _neutral_input(key: str, raw: Any) -> NeutralInput | None:
    if isinstance(raw, InputReference):
        return _neutral_reference(key, raw)
    if type(raw) is not InputData or raw.identifier != key:
        return None
    common = {
        "id": key,
        "title": raw.title,
        "abstract": raw.abstract,
        "mime_type": raw.mime_type,
        "encoding": raw.encoding,
        "schema": raw.schema,
        "uom": raw.uom,
        "as_url": bool(raw.asurl),
    }
    if isinstance(raw.data, str):
        return NeutralInput(data=raw.data, crs=raw.crs, **common)
    if isinstance(raw.data, bytes):
        text = _xml_text(raw.data)
        return None if text is None else NeutralInput(data=text, crs=raw.crs, **common)
    if isinstance(raw.data, tuple) and len(raw.data) == 3:
        lower, upper = _numbers(raw.data[0]), _numbers(raw.data[1])
        if lower is not None and upper is not None and len(lower) == len(upper):
            return NeutralInput(bbox=(*lower, *upper), crs=raw.data[2], **common)
    return None


def _neutral_reference(key: str, raw: Any) -> NeutralInput | None:
    plain = raw.method in {None, "GET"} and not (raw.headers or raw.body or raw.body_href)
    if not plain or raw.identifier != key:
        return None
    return NeutralInput(
        id=key,
        href=raw.href,
        title=raw.title,
        abstract=raw.abstract,
        mime_type=raw.mime_type,
        encoding=raw.encoding,
        schema=raw.schema,
    )


def _neutral_output(output: Any) -> NeutralOutput:
    return NeutralOutput(
        id=output.identifier,
        title=output.title,
        abstract=output.abstract,
        mime_type=output.mime_type,
        encoding=output.encoding,
        schema=output.schema,
        uom=output.uom,
        crs=output.crs,
        as_reference=output.as_reference,
    )


def _raw_input(item: NeutralInput, is_complex: bool) -> Any:
    if item.href is not None:
        return InputReference(
            item.href,
            item.id,
            title=item.title,
            abstract=item.abstract,
            method="GET",
            mime_type=item.mime_type,
            encoding=item.encoding,
            schema=item.schema,
        )
    crs = item.crs
    data: object = item.data
    if item.bbox is not None:
        half = len(item.bbox) // 2
        corners = (item.bbox[:half], item.bbox[half:])
        data = (*(" ".join(repr(value) for value in corner) for corner in corners), item.crs)
        crs = None
    elif is_complex and item.data is not None and item.data.startswith(_XML_DECLARATION):
        # EOxServer's decoder passes embedded XML as bytes with a declaration, and lxml refuses
        # text that declares an encoding.
        data = item.data.encode()
    return InputData(
        data,
        item.id,
        title=item.title,
        abstract=item.abstract,
        uom=item.uom,
        crs=crs,
        mime_type=item.mime_type,
        encoding=item.encoding,
        schema=item.schema,
        asurl=item.as_url,
    )


def _is_complex(input_defs: Mapping[str, Any], identifier: str) -> bool:
    return identifier in input_defs and isinstance(input_defs[identifier][1], ComplexData)


def _xml_text(data: bytes) -> str | None:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    return text if text.startswith(_XML_DECLARATION) else None


def _numbers(text: object) -> tuple[float, ...] | None:
    """The coordinates of one corner, or None where they are not plain numbers."""
    if not isinstance(text, str):
        return None
    items = _SEPARATOR.split(text.strip())
    if not all(_NUMBER.fullmatch(item) for item in items):
        return None
    return tuple(float(item) for item in items)


def _comparable(raw: object) -> object:
    """*raw* by its fields, with what means the same made equal."""
    if not isinstance(raw, InputData | InputReference):
        return raw
    values = {"type": type(raw), **vars(raw)}
    if isinstance(raw, InputReference):
        values["method"] = values["method"] or "GET"
        values["headers"] = dict(values["headers"])
    else:
        values["asurl"] = bool(values["asurl"])
        data = values["data"]
        if isinstance(data, tuple) and len(data) == 3:
            corners = (_numbers(text) or text for text in data[:2])
            values["data"] = (*corners, data[2])
    return values
