"""The API server, as Django-side code sees it: WpsJobs in one namespace, as raw JSON.

Connections are kept and shared by threads; a process that was forked makes its own.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import urllib3
from kubernetes import client as kubernetes_client
from kubernetes import config as kubernetes_config
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException

from wpsjobs.api.names import GROUP, VERSION, WPSJOB_PLURAL

logger = logging.getLogger(__name__)

Raw = dict[str, Any]

REQUEST_TIMEOUT = 5.0
"""Seconds for a request where the caller has no deadline of its own."""
PAGE_SIZE = 500
_POOL_SIZE = 32
"""Connections kept for threads of one process."""
_JSON = "application/json"
_MERGE_PATCH = "application/merge-patch+json"
_JSON_PATCH = "application/json-patch+json"


class ClusterError(Exception):
    """The API server did not do what it was asked; the message says why."""


class UnreachableError(ClusterError):
    """No answer from the API server. *sent* says whether the request may have reached it."""

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


class NotFoundError(ClusterError):
    """There is no such object."""


class ConflictError(ClusterError):
    """The object has changed meanwhile, or one of its name exists."""


class ForbiddenError(ClusterError):
    """This service account lacks the right."""


class InvalidError(ClusterError):
    """The API server refuses the object as it is."""


class OverloadedError(ClusterError):
    """The API server has no time for the request, and has done nothing of it."""


class ExpiredError(ClusterError):
    """The resourceVersion to go on from is gone: list again."""


_ERRORS: dict[int, type[ClusterError]] = {
    400: InvalidError,
    401: ForbiddenError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    410: ExpiredError,
    422: InvalidError,
    429: OverloadedError,
}
_NOT_SENT = (
    urllib3.exceptions.NewConnectionError,
    urllib3.exceptions.NameResolutionError,
    urllib3.exceptions.ConnectTimeoutError,
)


@dataclass(frozen=True)
class JobList:
    """All WpsJobs of the namespace at one moment."""

    items: list[Raw]
    resource_version: str


class Watch:
    """Changes as (type, object). Iterating raises ClusterError."""

    def __init__(self, response: Any) -> None:
        self._response = response

    def __iter__(self) -> Iterator[tuple[str, Raw]]:
        try:
            yield from _events(self._response)
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise UnreachableError(f"the watch broke: {error}", sent=True) from error

    def stop(self) -> None:
        """Have it end at once; from any thread."""
        with contextlib.suppress(OSError, RuntimeError, ValueError):  # it has ended already
            self._response.shutdown()

    def close(self) -> None:
        """Give up the connection; in the thread that iterates."""
        self._response.close()


class Cluster:
    """WpsJobs of one namespace. Methods raise ClusterError."""

    def __init__(self, namespace: str, context: str | None = None) -> None:
        self.namespace = namespace
        self._context = context
        self._namespace_uid: str | None = None
        self.renew()

    def renew(self) -> None:
        """Forget the connections, and a lock that another thread may have held at a fork."""
        self._lock = threading.Lock()
        self._api: Any = None
        self._pid: int | None = None

    def close(self) -> None:
        """Close the kept connections; the next request opens others."""
        with self._lock:
            api, self._api = self._api, None
        if api is not None:
            api.rest_client.pool_manager.clear()

    def namespace_uid(self, timeout: float = REQUEST_TIMEOUT) -> str:
        """UID of the namespace; it never changes while the namespace exists."""
        if self._namespace_uid is None:
            raw = self._json("GET", f"/api/v1/namespaces/{_q(self.namespace)}", timeout=timeout)
            self._namespace_uid = str(raw["metadata"]["uid"])
        return self._namespace_uid

    def create_job(self, body: Raw, timeout: float = REQUEST_TIMEOUT) -> Raw:
        return self._json("POST", self._path(), body=body, timeout=timeout)

    def get_job(self, name: str, timeout: float = REQUEST_TIMEOUT) -> Raw:
        return self._json("GET", self._path(name), timeout=timeout)

    def patch_job(self, name: str, patch: Raw, timeout: float = REQUEST_TIMEOUT) -> Raw:
        """Merge *patch* (RFC 7386) into the WpsJob; its status stays."""
        return self._json(
            "PATCH", self._path(name), body=patch, content_type=_MERGE_PATCH, timeout=timeout
        )

    def patch_job_status(self, name: str, patch: Raw, timeout: float = REQUEST_TIMEOUT) -> Raw:
        """Merge *patch* into the WpsJob's status subresource."""
        path = self._path(name) + "/status"
        return self._json("PATCH", path, body=patch, content_type=_MERGE_PATCH, timeout=timeout)

    def operate_on_job_status(
        self, name: str, operations: list[Raw], timeout: float = REQUEST_TIMEOUT
    ) -> Raw:
        """Apply *operations*, a JSON Patch (RFC 6902), to the WpsJob's status subresource.

        They are about the WpsJob as it is when they are carried out, and are so all or none. Raises
        InvalidError where a test among them fails, or what they make is not valid.
        """
        path = self._path(name) + "/status"
        return self._json("PATCH", path, body=operations, content_type=_JSON_PATCH, timeout=timeout)

    def delete_job(
        self,
        name: str,
        *,
        uid: str | None = None,
        resource_version: str | None = None,
        timeout: float = REQUEST_TIMEOUT,
    ) -> None:
        """Delete the WpsJob, and what it owns in the background.

        Raises ConflictError where *uid* or *resource_version* is not that of the WpsJob.
        """
        preconditions = {
            key: value
            for key, value in (("uid", uid), ("resourceVersion", resource_version))
            if value is not None
        }
        body: Raw = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
        }
        if preconditions:
            body["preconditions"] = preconditions
        self._json("DELETE", self._path(name), body=body, timeout=timeout)

    def list_jobs(
        self,
        field_selector: str | None = None,
        *,
        most: int | None = None,
        timeout: float = REQUEST_TIMEOUT,
    ) -> JobList:
        """All WpsJobs, read in pages of one and the same moment: complete, or an error.

        With *most*, any so many of them.
        """
        items: list[Raw] = []
        query: dict[str, Any] = {"limit": min(PAGE_SIZE, most or PAGE_SIZE)}
        if field_selector:
            query["fieldSelector"] = field_selector
        while True:
            page = self._json("GET", self._path(), query=query, timeout=timeout)
            items += page["items"]
            metadata = page["metadata"]
            if not metadata.get("continue") or (most is not None and len(items) >= most):
                return JobList(items, str(metadata["resourceVersion"]))
            query["continue"] = metadata["continue"]

    def jobs_version(self) -> str:
        """A resourceVersion of this moment, to begin a watch at."""
        page = self._json("GET", self._path(), query={"limit": 1})
        return str(page["metadata"]["resourceVersion"])

    def watch_jobs(
        self, resource_version: str, seconds: float, field_selector: str | None = None
    ) -> Iterator[tuple[str, Raw]]:
        """Changes after *resource_version* as (type, object), for at most *seconds*.

        Raises ExpiredError where the list has to be read again.
        """
        with contextlib.closing(
            self.open_watch(resource_version, seconds, field_selector)
        ) as watch:
            yield from watch

    def open_watch(
        self, resource_version: str, seconds: float, field_selector: str | None = None
    ) -> Watch:
        """As ``watch_jobs``, but the API server has answered by the time that this returns."""
        query = {
            "watch": "true",
            "resourceVersion": resource_version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": max(1, round(seconds)),
        }
        if field_selector:
            query["fieldSelector"] = field_selector
        response = self._request("GET", self._path(), query=query, timeout=seconds + 1.0)
        return Watch(response)

    def raw_get(self, path: str, timeout: float = REQUEST_TIMEOUT) -> Raw:
        """Any object by its path."""
        return self._json("GET", path, timeout=timeout)

    def raw_post(self, path: str, body: Raw) -> Raw:
        """Create by path; for access reviews and what ``wpsjobs sync`` makes."""
        return self._json("POST", path, body=body)

    def raw_patch(self, path: str, patch: Raw) -> Raw:
        return self._json("PATCH", path, body=patch, content_type=_MERGE_PATCH)

    def raw_delete(self, path: str) -> None:
        """Delete by path."""
        self._json("DELETE", path)

    def _path(self, name: str | None = None) -> str:
        path = f"/apis/{GROUP}/{VERSION}/namespaces/{_q(self.namespace)}/{WPSJOB_PLURAL}"
        return path if name is None else f"{path}/{_q(name)}"

    def _json(self, method: str, path: str, **options: Any) -> Raw:
        response = self._request(method, path, **options)
        try:
            data = response.read(decode_content=True)
            parsed = json.loads(data)
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise UnreachableError(
                f"the API server's answer broke off: {error}", sent=True
            ) from error
        finally:
            response.release_conn()
        return dict(parsed)

    def _request(
        self,
        method: str,
        path: str,
        *,
        body: Raw | list[Raw] | None = None,
        query: Mapping[str, Any] | None = None,
        content_type: str = _JSON,
        timeout: float = REQUEST_TIMEOUT,
    ) -> Any:
        """The response with its body unread. Raises ClusterError for any status from 300 on."""
        headers = {"Accept": _JSON, "Content-Type": content_type}
        api = self._client()
        try:
            api.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
            response = api.rest_client.pool_manager.request(
                method,
                api.configuration.host + path,
                fields=None if query is None else {k: str(v) for k, v in query.items()},
                body=None if body is None else json.dumps(body).encode(),
                headers=headers,
                timeout=urllib3.Timeout(connect=max(0.05, timeout), read=max(0.05, timeout)),
                preload_content=False,
                retries=False,
            )
        except _NOT_SENT as error:
            raise UnreachableError(
                f"the API server cannot be reached: {_words(error)}", sent=False
            ) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise UnreachableError(
                f"the API server does not answer: {_words(error)}", sent=True
            ) from error
        except (ApiException, ConfigException) as error:
            raise UnreachableError(f"no access to the API server: {error}", sent=False) from error
        if response.status >= 300:
            raise _error(response)
        return response

    def _client(self) -> Any:
        """The client of this process: sockets must not be shared across a fork."""
        with self._lock:
            if self._api is None or self._pid != os.getpid():
                self._api, self._pid = self._connect(), os.getpid()
            return self._api

    def _connect(self) -> Any:
        configuration = kubernetes_client.Configuration()
        configuration.connection_pool_maxsize = _POOL_SIZE
        try:
            if self._context is None and "KUBERNETES_SERVICE_HOST" in os.environ:
                kubernetes_config.load_incluster_config(client_configuration=configuration)
            else:
                kubernetes_config.load_kube_config(
                    context=self._context, client_configuration=configuration
                )
        except (ConfigException, OSError) as error:
            raise UnreachableError(f"no access to a cluster: {error}", sent=False) from error
        return kubernetes_client.ApiClient(configuration)


def _events(response: Any) -> Iterator[tuple[str, Raw]]:
    rest = b""
    for chunk in response.stream(amt=None, decode_content=True):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if not line:
                continue
            event = json.loads(line)
            if event["type"] == "ERROR":
                status = event["object"].get("code", 500)
                raise _ERRORS.get(status, ClusterError)(str(event["object"].get("message")))
            if event["type"] != "BOOKMARK":
                yield event["type"], event["object"]


def _error(response: Any) -> ClusterError:
    data = response.read(decode_content=True)
    response.release_conn()
    try:
        message = json.loads(data).get("message") or data.decode()
    except (ValueError, AttributeError):
        message = data[:200].decode(errors="replace")
    kind = _ERRORS.get(response.status, ClusterError)
    return kind(f"the API server answered {response.status}: {message}")


def _words(error: BaseException) -> str:
    reason = getattr(error, "reason", None)
    return str(reason or error).rpartition(": ")[2] or type(error).__name__


def _q(text: str) -> str:
    return quote(text, safe="")
