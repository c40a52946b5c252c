"""All I/O of the operator: the only module that talks to the API server.

Answers stay JSON (the client's models cost seconds for thousands of objects), errors become ours.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio import client, config
from kubernetes.config.config_exception import ConfigException as SyncConfigException

from wpsjobs.api.fields import Raw
from wpsjobs.api.metadata import Metadata
from wpsjobs.api.names import (
    API_VERSION,
    GROUP,
    LABEL_MANAGED_BY,
    LABEL_WPSJOB,
    MANAGED_BY,
    VERSION,
    WPSJOB_KIND,
)
from wpsjobs.api.phases import FINISHED
from wpsjobs.api.times import format_seconds
from wpsjobs.controller import metrics
from wpsjobs.controller.actions import Milestone
from wpsjobs.controller.state import Kind

PAGE = 500
"""Objects a page when finished WpsJobs are listed."""

_PATHS = {
    Kind.WPSJOB: (f"apis/{GROUP}/{VERSION}", "wpsjobs"),
    Kind.WPSQUEUE: (f"apis/{GROUP}/{VERSION}", "wpsqueues"),
    Kind.WPSPROCESS: (f"apis/{GROUP}/{VERSION}", "wpsprocesses"),
    Kind.KUBERNETES_JOB: ("apis/batch/v1", "jobs"),
    Kind.POD: ("api/v1", "pods"),
}
_UNCHECKED = {"fieldValidation": "Ignore"}
"""For our own status patches: the search for unknown fields is a fifth of what one costs the API
server, and would end in a warning that nobody reads. The schema itself is enforced all the same."""
_MERGE_PATCH = {"Content-Type": "application/merge-patch+json"}
_UNFINISHED = ",".join(f"status.phase!={phase}" for phase in sorted(FINISHED))


class ClusterError(Exception):
    """A request to the API server failed; what was asked for may or may not have been done."""


class RefusedError(ClusterError):
    """The API server refused the request; nothing was done."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class ConflictError(RefusedError):
    """The object was changed meanwhile, or one of this name is there already; read it again."""


class GoneError(RefusedError):
    """There is no such object (any more)."""


@dataclass(frozen=True)
class Listing:
    """A complete list of a selection of objects."""

    items: Sequence[Raw]
    version: int
    """The resourceVersion at which it was taken."""


class Cluster:
    """The API server, as the operator needs it. Use it as an asynchronous context manager."""

    def __init__(self, request_timeout: float) -> None:
        self._timeout = aiohttp.ClientTimeout(total=request_timeout)
        self._api: client.ApiClient | None = None
        self.fence: Callable[[], None] = lambda: None
        """Called before each write; raises a ClusterError where this operator may not write."""
        self.under_way = 0
        """Requests that wait for their answers."""

    async def __aenter__(self) -> Cluster:
        configuration = client.Configuration()
        try:
            config.load_incluster_config(client_configuration=configuration)
        except (config.ConfigException, SyncConfigException):
            await config.load_kube_config(client_configuration=configuration)
        configuration.connection_pool_maxsize = 64
        # Otherwise aiohttp looks for a proxy and for a netrc file in a thread, at each request.
        configuration.client_session_kwargs = {"trust_env": False}
        self._api = client.ApiClient(configuration)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._api is not None:
            await self._api.close()

    async def listing(self, kind: Kind, namespace: str) -> Listing:
        """All objects of *kind* in *namespace* that the loop works on.

        These are all but finished WpsJobs, and Kubernetes Jobs and pods that are not ours.
        """
        query: dict[str, str] = {}
        if kind is Kind.WPSJOB:
            query["fieldSelector"] = _UNFINISHED
        elif kind in (Kind.KUBERNETES_JOB, Kind.POD):
            query["labelSelector"] = LABEL_WPSJOB
        answer = await self._request("GET", _path(kind, namespace), query)
        return Listing(answer["items"], int(answer["metadata"]["resourceVersion"]))

    async def finished(self, namespace: str) -> AsyncIterator[Listing]:
        """The finished WpsJobs of *namespace*, phase by phase in pages."""
        for phase in sorted(FINISHED):
            query = {"fieldSelector": f"status.phase={phase}", "limit": str(PAGE)}
            while True:
                answer = await self._request("GET", _path(Kind.WPSJOB, namespace), query)
                metadata = answer["metadata"]
                yield Listing(answer["items"], int(metadata["resourceVersion"]))
                if not metadata.get("continue"):
                    break
                query["continue"] = metadata["continue"]

    async def get(self, kind: Kind, metadata: Metadata) -> Raw:
        """The object as it is now. Raises GoneError where it is none, or another of that name."""
        raw = await self._request("GET", _path(kind, metadata.namespace, metadata.name), {})
        if raw["metadata"]["uid"] != metadata.uid:
            raise GoneError(f"{kind} {metadata.key} is another one now", 404)
        return raw

    async def patch_status(self, kind: Kind, metadata: Metadata, status: Mapping[str, Any]) -> Raw:
        """Change the status of the very version *metadata* tells of; returns the new object.

        Raises ConflictError where the object has changed meanwhile, GoneError where it was deleted.
        """
        body = {
            "metadata": {
                "resourceVersion": str(metadata.resource_version),
                "uid": metadata.uid,
            },
            "status": status,
        }
        path = _path(kind, metadata.namespace, metadata.name, "status")
        return await self._request("PATCH", path, _UNCHECKED, body, _MERGE_PATCH)

    async def patch_counts(self, kind: Kind, metadata: Metadata, status: Mapping[str, Any]) -> Raw:
        """Change the status of an object of which nobody else writes the status."""
        path = _path(kind, metadata.namespace, metadata.name, "status")
        return await self._request("PATCH", path, _UNCHECKED, {"status": status}, _MERGE_PATCH)

    async def create_kubernetes_job(self, manifest: Mapping[str, Any]) -> Raw:
        """Make a Kubernetes Job; one of this name and owner that is there already is success."""
        metadata = manifest["metadata"]
        path = _path(Kind.KUBERNETES_JOB, metadata["namespace"])
        try:
            return await self._request("POST", path, {}, manifest)
        except ConflictError:
            there = await self._request("GET", f"{path}/{metadata['name']}", {})
            owners = there["metadata"].get("ownerReferences") or []
            if [owner["uid"] for owner in owners] != [
                owner["uid"] for owner in metadata["ownerReferences"]
            ]:
                raise RefusedError(
                    f"The Kubernetes Job {metadata['namespace']}/{metadata['name']} belongs to "
                    "something else; delete it, and the attempt begins",
                    409,
                ) from None
            return there

    async def delete(self, kind: Kind, metadata: Metadata, *, after_pods: bool) -> Raw | None:
        """Delete the very object *metadata* tells of; returns what is still there of it, if known.

        With *after_pods*, a Kubernetes Job stays, and so does the slot it holds, until its pods are
        gone; that costs the API server two more writes. Raises GoneError where the object is gone,
        and ConflictError where another one may have its name: read it again.
        """
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": metadata.uid},
            "propagationPolicy": "Foreground" if after_pods else "Background",
        }
        path = _path(kind, metadata.namespace, metadata.name)
        answer = await self._request("DELETE", path, {}, body)
        return None if answer["kind"] == "Status" else answer

    async def get_lease(self, namespace: str, name: str) -> Raw:
        """The Lease. Raises GoneError where there is none."""
        return await self._request("GET", _lease_path(namespace, name), {})

    async def create_lease(self, namespace: str, name: str) -> Raw:
        """Make the Lease, without a holder. Raises ConflictError where it is there already."""
        lease = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": name, "labels": {LABEL_MANAGED_BY: MANAGED_BY}},
        }
        return await self._request("POST", _lease_path(namespace), {}, lease, fenced=False)

    async def patch_lease(self, namespace: str, name: str, body: Mapping[str, Any]) -> Raw:
        """Change the Lease of the version that *body* tells of."""
        path = _lease_path(namespace, name)
        return await self._request("PATCH", path, {}, body, _MERGE_PATCH, fenced=False)

    async def warnings(self, pod: Metadata) -> str | None:
        """The newest warning among the Events on *pod*: why, say, a volume is not mounted."""
        selector = f"involvedObject.uid={pod.uid},type=Warning"
        path = f"/api/v1/namespaces/{pod.namespace}/events"
        items = (await self._request("GET", path, {"fieldSelector": selector}))["items"]
        newest = max(items, key=lambda item: int(item["metadata"]["resourceVersion"]), default=None)
        return newest and f"{newest.get('reason')}: {newest.get('message')}"

    async def post_event(self, metadata: Metadata, milestone: Milestone, at: datetime) -> None:
        """Put a Kubernetes Event on a WpsJob, of what came to pass *at* that time."""
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                # kubectl describe sorts by whole seconds, and what it reads is sorted by name.
                "generateName": f"{metadata.name}.{round(at.timestamp() * 1e6):x}-",
                "namespace": metadata.namespace,
                "labels": {LABEL_MANAGED_BY: MANAGED_BY},
            },
            "involvedObject": {
                "apiVersion": API_VERSION,
                "kind": WPSJOB_KIND,
                "name": metadata.name,
                "namespace": metadata.namespace,
                "uid": metadata.uid,
            },
            "type": "Warning" if milestone.warning else "Normal",
            "reason": milestone.reason,
            "message": milestone.message[:1024],
            "source": {"component": "wpsjobs"},
            "reportingComponent": "wpsjobs",
            "firstTimestamp": format_seconds(at),
            "lastTimestamp": format_seconds(at),
            "count": 1,
        }
        await self._request("POST", f"/api/v1/namespaces/{metadata.namespace}/events", {}, event)

    async def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        fenced: bool = True,
    ) -> dict[str, Any]:
        if self._api is None:
            raise RuntimeError("Cluster is used outside of its context")
        if fenced and method != "GET":
            self.fence()
        metrics.API_REQUESTS.labels(method=method).inc()
        self.under_way += 1
        try:
            # Not by param_serialize, which goes through each body for models that are none here.
            url = self._api.configuration.host + path + (f"?{urlencode(query)}" if query else "")
            sent_headers = {"Accept": "application/json", **(headers or {})}
            await self._api.update_params_for_auth(
                sent_headers, [], ["BearerToken"], path, method, body
            )
            response = await self._api.call_api(
                method, url, sent_headers, body, _request_timeout=self._timeout
            )
            text = await response.read()
        except client.ApiException as error:
            raise _refusal(method, path, error.status or 0, str(error.body or error)) from error
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise ClusterError(f"{method} {path}: no answer ({error!r})") from error
        finally:
            self.under_way -= 1
        if response.status >= 300:
            raise _refusal(method, path, response.status, text.decode(errors="replace"))
        answer: dict[str, Any] = json.loads(text)
        return answer


def _lease_path(namespace: str, *rest: str) -> str:
    api = "/apis/coordination.k8s.io/v1/namespaces"
    return "/".join([api, namespace, "leases", *rest])


def _path(kind: Kind, namespace: str, *rest: str) -> str:
    api, plural = _PATHS[kind]
    return "/".join(["", api, "namespaces", namespace, plural, *rest])


def _refusal(method: str, path: str, status: int, body: str) -> ClusterError:
    try:
        words = json.loads(body)["message"]
    except (ValueError, KeyError, TypeError):
        words = body[:500]
    message = f"{method} {path}: {status} {words}"
    if status == 409:
        return ConflictError(message, status)
    if status == 404:
        return GoneError(message, status)
    if 400 <= status < 500 and status != 429:
        return RefusedError(message, status)
    return ClusterError(message)
