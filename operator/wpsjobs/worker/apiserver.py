"""The API server, as much of it as a job pod needs, by the standard library alone."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

from wpsjobs.api.names import GROUP, VERSION, WPSJOB_PLURAL
from wpsjobs.worker.settings import ApiSettings

REQUEST_TIMEOUT = 5.0
"""Seconds to wait for the API server to connect or to answer."""
WATCH_SECONDS = 240
"""How long the API server keeps one watch open."""
WATCH_SILENCE = WATCH_SECONDS + 30.0
"""Seconds without a word after which a watch is taken for dead."""

_MERGE_PATCH = "application/merge-patch+json"


class ApiError(Exception):
    """The API server said no, or nothing; worth another try unless a subclass says otherwise."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class NotFoundError(ApiError):
    """The WpsJob does not exist."""


class ForbiddenError(ApiError):
    """This pod may not do that: it lacks the right, or it is no longer the current attempt."""


class InvalidError(ApiError):
    """The API server cannot use what was sent; sending it again will not help."""


class ExpiredError(ApiError):
    """The resourceVersion that a watch was to go on from is gone: read again."""


_ERRORS: dict[int, type[ApiError]] = {
    403: ForbiddenError,
    404: NotFoundError,
    410: ExpiredError,
    400: InvalidError,
    422: InvalidError,
}


class ApiServer:
    """One connection to the API server; each thread makes its own by ``clone``."""

    def __init__(self, settings: ApiSettings, context: ssl.SSLContext | None = None) -> None:
        self._settings = settings
        self._context = context
        self._connection: http.client.HTTPSConnection | None = None

    def clone(self) -> ApiServer:
        return ApiServer(self._settings, self._context)

    def get_job(self, namespace: str, name: str) -> dict[str, Any]:
        """The WpsJob as JSON. Raises ApiError."""
        return self._json("GET", _job_path(namespace, name))

    def get_namespace_uid(self, namespace: str) -> str:
        """UID of the namespace. Raises ApiError."""
        raw = self._json("GET", f"/api/v1/namespaces/{quote(namespace, safe='')}")
        return str(raw["metadata"]["uid"])

    def patch_progress(self, namespace: str, name: str, progress: dict[str, Any]) -> None:
        """Merge *progress* into ``status.progress``. Raises ApiError."""
        self._json(
            "PATCH", _job_path(namespace, name) + "/status", {"status": {"progress": progress}}
        )

    def watch_job(
        self, namespace: str, name: str, resource_version: str
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Changes of the WpsJob after *resource_version*, as (type, object), until the watch ends.

        Raises ApiError; ExpiredError where the WpsJob has to be read again first.
        """
        query = urlencode(
            {
                "watch": "1",
                "fieldSelector": f"metadata.name={name}",
                "resourceVersion": resource_version,
                "timeoutSeconds": WATCH_SECONDS,
                "allowWatchBookmarks": "true",
            }
        )
        connection = self._connect(WATCH_SILENCE)
        try:
            connection.request("GET", f"{_jobs_path(namespace)}?{query}", headers=self._headers())
            response = connection.getresponse()
            if response.status != 200:
                raise _error(response.status, response.read())
            while line := response.readline():
                yield _watch_event(line)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise ApiError(f"the watch broke: {error!r}") from error
        finally:
            connection.close()

    def _json(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        reused = self._connection is not None
        try:
            status, data = self._exchange(method, path, body)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            # A kept connection may have been closed by the server meanwhile. All that is sent
            # from here may be sent twice.
            if not reused:
                raise ApiError(f"the API server cannot be reached: {error}") from error
            return self._json(method, path, body)
        if status >= 300:
            raise _error(status, data)
        try:
            parsed = json.loads(data)
        except ValueError as error:
            raise ApiError("the API server's answer is no JSON") from error
        if not isinstance(parsed, dict):
            raise ApiError("the API server's answer is no object")
        return parsed

    def _exchange(self, method: str, path: str, body: Any) -> tuple[int, bytes]:
        if self._connection is None:
            self._connection = self._connect(REQUEST_TIMEOUT)
        headers = self._headers()
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = _MERGE_PATCH
        self._connection.request(method, path, body=data, headers=headers)
        response = self._connection.getresponse()
        return response.status, response.read()

    def _connect(self, timeout: float) -> http.client.HTTPSConnection:
        if self._context is None:
            ca_file = self._settings.service_account_dir / "ca.crt"
            self._context = ssl.create_default_context(cafile=str(ca_file))
        return http.client.HTTPSConnection(
            self._settings.host, self._settings.port, timeout=timeout, context=self._context
        )

    def _headers(self) -> dict[str, str]:
        # Read each time: the kubelet replaces the token well before it expires.
        token = (self._settings.service_account_dir / "token").read_text().strip()
        return {"Authorization": f"Bearer {token}", "Accept": "application/json"}

    def close(self) -> None:
        """Close the kept connection; the next request opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _jobs_path(namespace: str) -> str:
    return f"/apis/{GROUP}/{VERSION}/namespaces/{quote(namespace, safe='')}/{WPSJOB_PLURAL}"


def _job_path(namespace: str, name: str) -> str:
    return f"{_jobs_path(namespace)}/{quote(name, safe='')}"


def _watch_event(line: bytes) -> tuple[str, dict[str, Any]]:
    event = json.loads(line)
    if event["type"] == "ERROR":
        raise _error(event["object"].get("code", 500), line)
    return event["type"], event["object"]


def _error(status: int, data: bytes) -> ApiError:
    try:
        answer = json.loads(data)
        message = (answer.get("object") or answer).get("message") or answer.get("reason")
    except (ValueError, AttributeError):
        message = None
    text = f"the API server answered {status}: {message or data[:200].decode(errors='replace')}"
    return _ERRORS.get(status, ApiError)(text, status)
