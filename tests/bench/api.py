"""The API server as the benchmarks ask it: raw JSON over kept connections, as cheap as can be.

The client shares the machine with what is measured, so that whatever it saves is the figures' gain.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import ssl
import tempfile
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import yaml

from tests.deployment.tools import environment
from tests.integration.kube import KINDS, PATHS
from wpsjobs.api.names import API_VERSION

Raw = dict[str, Any]

MERGE_PATCH = "application/merge-patch+json"
WATCH_SECONDS = 3600
CONNECTIONS = 128


class RefusedError(Exception):
    """The API server refused a request; the message is what it said."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message[:500]}")
        self.status = status


class Api:
    """A namespace at the API server of the test cluster. Use it as an asynchronous context."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self._server, self._tls = _cluster(Path(environment()["KUBECONFIG"]))
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Api:
        connector = aiohttp.TCPConnector(limit=CONNECTIONS, ssl=self._tls)
        self._session = aiohttp.ClientSession(
            self._server, connector=connector, timeout=aiohttp.ClientTimeout(total=60)
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._session is not None
        await self._session.close()

    def path(self, plural: str, *rest: str) -> str:
        """Of a kind of objects, or of one of them."""
        return "/".join([PATHS[plural], "namespaces", self.namespace, plural, *rest])

    async def request(
        self, method: str, path: str, body: Any = None, content_type: str = "application/json"
    ) -> bytes:
        """The answer; raises RefusedError."""
        assert self._session is not None
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": content_type} if body is not None else {}
        async with self._session.request(method, path, data=data, headers=headers) as response:
            answer = await response.read()
            if response.status >= 300:
                raise RefusedError(response.status, answer.decode(errors="replace"))
            return answer

    async def get(self, path: str, **query: str) -> Raw:
        """An object or a list."""
        text = await self.request("GET", path + (f"?{urlencode(query)}" if query else ""))
        answer: Raw = json.loads(text)
        return answer

    async def create(self, plural: str, body: Raw) -> Raw:
        """Make an object."""
        answer: Raw = json.loads(await self.request("POST", self.path(plural), body))
        return answer

    async def patch(self, plural: str, name: str, body: Raw, *subresource: str) -> None:
        """A merge patch."""
        await self.request("PATCH", self.path(plural, name, *subresource), body, MERGE_PATCH)

    async def delete(self, plural: str, name: str) -> None:
        """Delete an object, and what it owns in the background; gone is as good."""
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        with contextlib.suppress(RefusedError):
            await self.request("DELETE", self.path(plural, name), body)

    async def delete_all(self, plural: str) -> None:
        """Delete all objects of a kind."""
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        await self.request("DELETE", self.path(plural), body)

    async def count(self, plural: str) -> int:
        """How many objects of a kind there are."""
        page = await self.get(self.path(plural), limit="1")
        rest: int = page["metadata"].get("remainingItemCount", 0)
        return len(page["items"]) + rest

    async def version(self, plural: str) -> str:
        """A resourceVersion to begin a watch at."""
        page = await self.get(self.path(plural), limit="1")
        return str(page["metadata"]["resourceVersion"])

    async def watch(
        self, plural: str, version: str, selector: str = "", seconds: float = WATCH_SECONDS
    ) -> AsyncGenerator[tuple[str, Raw], None]:
        """Changes after *version* of what the field *selector* chooses, as (type, object)."""
        assert self._session is not None
        query = {
            "watch": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(max(1, round(seconds))),
        }
        if selector:
            query["fieldSelector"] = selector
        timeout = aiohttp.ClientTimeout(total=seconds + 5)
        async with self._session.get(
            self.path(plural), params=query, timeout=timeout, read_bufsize=2**20
        ) as response:
            if response.status >= 300:
                raise RefusedError(response.status, await response.text())
            async for line in response.content:
                event = json.loads(line)
                yield event["type"], event["object"]

    async def metric(self, name: str, **labels: str) -> float:
        """Sum of a metric of the API server over all series with these labels."""
        text = (await self.request("GET", "/metrics")).decode()
        wanted = {f'{key}="{value}"' for key, value in labels.items()}
        total = 0.0
        for line in re.findall(rf"^{name}\{{.*$", text, re.MULTILINE):
            series, _, value = line.rpartition(" ")
            if wanted <= set(re.findall(r'\w+="[^"]*"', series)):
                total += float(value)
        return total


def custom(plural: str, name: str, **spec: Any) -> Raw:
    """A WpsJob, WpsQueue or WpsProcess."""
    return {
        "apiVersion": API_VERSION,
        "kind": KINDS[plural],
        "metadata": {"name": name},
        "spec": spec,
    }


def _cluster(kubeconfig: Path) -> tuple[str, ssl.SSLContext]:
    """URL of the API server, and a context with the certificate of the kubeconfig's user."""
    config = yaml.safe_load(kubeconfig.read_text())
    context = _named(config["contexts"], config["current-context"])["context"]
    cluster = _named(config["clusters"], context["cluster"])["cluster"]
    user = _named(config["users"], context["user"])["user"]
    tls = ssl.create_default_context(cadata=_pem(cluster, "certificate-authority").decode())
    with tempfile.NamedTemporaryFile() as pair:
        pair.write(_pem(user, "client-certificate") + b"\n" + _pem(user, "client-key"))
        pair.flush()
        tls.load_cert_chain(pair.name)
    return cluster["server"], tls


def _named(entries: list[Raw], name: str) -> Raw:
    return next(entry for entry in entries if entry["name"] == name)


def _pem(entry: Mapping[str, str], key: str) -> bytes:
    data = entry.get(f"{key}-data")
    return base64.b64decode(data) if data else Path(entry[key]).read_bytes()
