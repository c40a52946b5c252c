"""The processes of this instance, and the check of a request against one."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from eoxserver.services.ows.wps.exceptions import (
    InvalidInputReferenceError,
    InvalidInputValueError,
    MissingRequiredInputError,
    NoSuchProcessError,
    OWS10Exception,
)
from eoxserver.services.ows.wps.parameters import InputReference
from eoxserver.services.ows.wps.util import get_process_by_identifier, get_processes
from eoxserver.services.ows.wps.v10.execute_util import (
    check_invalid_inputs,
    check_invalid_outputs,
    decode_output_requests,
    decode_raw_inputs,
    parse_params,
)

from wpsjobs.eoxserver.documents import identifier_of
from wpsjobs.eoxserver.parsing import limits_for
from wpsjobs.eoxserver.requests import WpsRequest

CLIENT_ERROR_CODES = frozenset(
    {"InvalidParameterValue", "MissingParameterValue", "FileSizeExceeded"}
)
"""Codes of the exceptions that are about what the client sent (OGC 05-007r7, table 62)."""


def find(identifier: str) -> Any | None:
    """The process of that identifier, or None."""
    try:
        return get_process_by_identifier(identifier)
    except NoSuchProcessError:
        return None


def identifiers() -> list[str]:
    """The identifiers of the asynchronous processes, sorted."""
    return sorted(
        identifier_of(process)
        for process in get_processes()
        if getattr(process, "asynchronous", False)
    )


def is_client_error(error: BaseException) -> bool:
    """Whether *error* says that the client's request was wrong."""
    return isinstance(error, OWS10Exception) and error.code in CLIENT_ERROR_CODES


def validate(process: Any, request: WpsRequest) -> None:
    """Check all that can be known without fetching references.

    Raises the OWS exception for what is wrong.
    """
    input_defs, output_defs = parse_params(process.inputs), parse_params(process.outputs)
    # Inputs whose names start with a backslash come from the instance's own code, not a client.
    visible = [key for key in request.raw_inputs if not key.startswith("\\")]
    check_invalid_inputs(visible, input_defs)
    check_invalid_outputs(request.resp_form, output_defs)
    decode_output_requests(request.resp_form, output_defs)
    # A reference stands in for its value: required inputs are not missing, and nothing is fetched.
    for identifier, (name, definition) in input_defs.items():
        raw = request.raw_inputs.get(identifier)
        if not isinstance(raw, InputReference):
            _decode(request, identifier, name, definition, _refuse_reference)
        elif getattr(definition, "resolve_input_references", True):
            _check_reference(identifier, raw, request.extra_parts)


def decode_one(request: WpsRequest, identifier: str, name: str, definition: Any) -> dict[str, Any]:
    """The argument for one input that came with its value. Raises as ``decode`` does."""
    return _decode(request, identifier, name, definition, _refuse_reference)


def decode(process: Any, request: WpsRequest, resolver: Any) -> dict[str, Any]:
    """The arguments for the inputs of *process*, with references fetched by *resolver*.

    Raises the OWS exception for what is wrong with them, and OSError where the machine fails.
    """
    inputs: dict[str, Any] = {}
    for identifier, (name, definition) in parse_params(process.inputs).items():
        inputs |= _decode(request, identifier, name, definition, resolver)
    return inputs


def _decode(
    request: WpsRequest, identifier: str, name: str, definition: Any, resolver: Any
) -> dict[str, Any]:
    try:
        with limits_for(request.raw_inputs.get(identifier)):
            decoded = decode_raw_inputs(
                request.raw_inputs, {identifier: (name, definition)}, resolver
            )
    except (OWS10Exception, OSError, MemoryError):
        raise
    except Exception as error:  # a parser's own, as lxml's SyntaxError for XML
        raise InvalidInputValueError(identifier, error) from error
    return dict(decoded)


def _check_reference(identifier: str, reference: Any, extra_parts: dict[str, bytes]) -> None:
    if not reference.href:
        raise MissingRequiredInputError(identifier)
    try:
        url = urlsplit(reference.href)
    except ValueError as error:
        raise InvalidInputReferenceError(identifier, error) from error
    if url.scheme == "cid":
        if url.path not in extra_parts:
            raise InvalidInputReferenceError(identifier, f"No part with content-id {url.path!r}.")
    elif url.scheme not in {"http", "https"}:
        raise InvalidInputReferenceError(identifier, f"Unsupported URL scheme {url.scheme!r}!")


def _refuse_reference(href: str, body: object, headers: object) -> bytes:  # noqa: ARG001
    raise ValueError("references are fetched when the process is executed")
