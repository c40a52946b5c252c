"""The OGC's schemas of WPS 1.0.0, from a package of Maven Central, and validation against them.

The package is fetched once by Maven itself into the cache; nothing of it is in this repository.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import NoReturn

import pytest
import xmlschema
from lxml import etree

PACKAGE = "org.jvnet.ogc:ogc-schemas:2.6.1"
PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"
EXECUTE_RESPONSE = "ogc/wps/1.0.0/wpsExecute_response.xsd"
EXCEPTION_REPORT = "ogc/ows/1.1.0/owsExceptionReport.xsd"
OGC = "http://schemas.opengis.net/"


def cache() -> Path:
    base = os.environ.get("WPSJOBS_CACHE")
    if base:
        return Path(base)
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "wpsjobs"


@functools.cache
def schema(name: str = EXECUTE_RESPONSE) -> etree.XMLSchema:
    """The schema of that name; skips the test where it cannot be had."""
    root = _unpacked()
    shipped = Path(xmlschema.__file__).parent / "schemas"
    w3c = {
        "http://www.w3.org/2001/xml.xsd": shipped / "XML" / "xml.xsd",
        "http://www.w3.org/1999/xlink.xsd": shipped / "XLINK" / "xlink.xsd",
    }

    class Resolver(etree.Resolver):
        def resolve(self, url: str, _public_id: object, context: object) -> object:
            if url in w3c:
                return self.resolve_filename(str(w3c[url]), context)
            if url.startswith(OGC):
                return self.resolve_filename(str(root / "ogc" / url.removeprefix(OGC)), context)
            return None

    parser = etree.XMLParser(no_network=True)
    parser.resolvers.add(Resolver())
    return etree.XMLSchema(etree.parse(str(root / name), parser))


def check(document: str | bytes, name: str = EXECUTE_RESPONSE) -> None:
    """Fail the test where *document* is not valid by that schema."""
    data = document.encode() if isinstance(document, str) else document
    validator = schema(name)
    assert validator.validate(etree.fromstring(data)), f"{validator.error_log}\n{data.decode()}"


def _cannot_be_had(why: str) -> NoReturn:
    """Skip the test; fail it in CI, where nobody would notice that it is skipped for ever."""
    words = f"the OGC's schemas cannot be had: {why}"
    if os.environ.get("CI") == "true":
        pytest.fail(words)
    pytest.skip(words)


def _unpacked() -> Path:
    folder = cache() / "ogc-schemas-2.6.1"
    if (folder / EXECUTE_RESPONSE).exists():
        return folder
    if shutil.which("mvn") is None:
        _cannot_be_had("they are fetched by Maven, which is not installed here")
    download = cache() / "ogc-schemas-download"
    done = subprocess.run(
        ["mvn", "-q", "-B", PLUGIN, f"-Dartifact={PACKAGE}", f"-DoutputDirectory={download}"],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    if done.returncode != 0:
        _cannot_be_had(done.stdout[-500:])
    partial = folder.with_name(f"{folder.name}.{os.getpid()}")
    with zipfile.ZipFile(next(download.glob("*.jar"))) as archive:
        archive.extractall(partial)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    return folder
