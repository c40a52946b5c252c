"""Asks the cluster's components over HTTP, as probes and `status` do."""

from __future__ import annotations

import datetime as dt
import json
import ssl
import urllib.error
import urllib.request
from typing import Any

from tests.cluster.settings import NODE_NAME, ClusterError, Instance

TIMEOUT_SECONDS = 5.0


class Client:
    """A client with the administrator's certificate, which trusts the cluster's authority alone."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._opener: urllib.request.OpenerDirector | None = None

    def get(self, url: str) -> str:
        """The body of the answer; raises `ClusterError` in words."""
        return self._send(urllib.request.Request(url))  # noqa: S310 - fixed http(s) addresses

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """A request to the API server, at the node's own address."""
        request = urllib.request.Request(  # noqa: S310 - as above
            self._instance.api_url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        answer = json.loads(self._send(request))
        assert isinstance(answer, dict)
        return answer

    def _send(self, request: urllib.request.Request) -> str:
        try:
            with self._open(request) as answer:
                body: bytes = answer.read()
                return body.decode(errors="replace")
        except urllib.error.HTTPError as error:
            said = error.read().decode(errors="replace")[:300]
            raise ClusterError(f"{request.full_url}: HTTP {error.code} {said}") from error
        except (OSError, ValueError) as error:
            raise ClusterError(f"{request.full_url}: {error}") from error

    def _open(self, request: urllib.request.Request) -> Any:
        if self._opener is None:
            pki = self._instance.pki
            context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
            context.load_cert_chain(pki / "admin.crt", pki / "admin.key")
            # The cluster is on this machine: no proxy of the environment may stand between.
            self._opener = urllib.request.build_opener(
                urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
            )
        return self._opener.open(request, timeout=TIMEOUT_SECONDS)


def node_ready(client: Client, since: dt.datetime | None = None) -> str:
    """Empty when the node is Ready, and has said so after `since`; else why it is not."""
    try:
        node = client.call("GET", f"/api/v1/nodes/{NODE_NAME}")
    except ClusterError as error:
        return str(error)
    for condition in node.get("status", {}).get("conditions", []):
        if condition["type"] != "Ready":
            continue
        if since and dt.datetime.fromisoformat(condition["lastHeartbeatTime"]) < since:
            return "its last report is from before this start"
        return "" if condition["status"] == "True" else str(condition.get("message", ""))
    return "the kubelet has not reported yet"
