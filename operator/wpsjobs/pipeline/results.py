"""The outputs of a finished job, from its stored response (OGC 05-007r7, 10.3)."""

from __future__ import annotations

from typing import Any

from lxml import etree

_NAMES = {
    "wps": "http://www.opengis.net/wps/1.0.0",
    "ows": "http://www.opengis.net/ows/1.1",
}
Outputs = dict[str, dict[str, Any]]


def outputs(document: bytes) -> Outputs:
    """By their identifiers: ``href`` with ``mime_type``, ``value``, or ``bounds``.

    Outputs that the document itself contains are left out; so are those of no response.
    """
    try:
        root = etree.fromstring(document, etree.XMLParser(resolve_entities=False, no_network=True))
    except etree.XMLSyntaxError:
        return {}
    found: Outputs = {}
    for output in root.iterfind("wps:ProcessOutputs/wps:Output", _NAMES):
        identifier = output.findtext("ows:Identifier", None, _NAMES)
        value = _value(output)
        if identifier and value:
            found[identifier] = value
    return found


def result_url(found: Outputs) -> str | None:
    """The first output that has a URL."""
    return next((each["href"] for each in found.values() if "href" in each), None)


def _value(output: etree._Element) -> dict[str, Any] | None:
    reference = output.find("wps:Reference", _NAMES)
    if reference is not None:
        return {"href": reference.get("href"), "mime_type": reference.get("mimeType")}
    literal = output.find("wps:Data/wps:LiteralData", _NAMES)
    if literal is not None:
        return {"value": literal.text or ""}
    box = output.find("wps:Data/wps:BoundingBoxData", _NAMES)
    if box is not None:
        corners = [box.findtext(f"ows:{name}Corner", "", _NAMES) for name in ("Lower", "Upper")]
        return {"bounds": [float(word) for corner in corners for word in corner.split()]}
    return None
