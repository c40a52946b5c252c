"""The API server as the tests ask it: raw JSON over one connection, no models, no sleeping."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from kubernetes import client, config

from tests.deployment.tools import environment, run
from wpsjobs.api.names import API_VERSION, GROUP, VERSION

T = TypeVar("T")

WPS = f"/apis/{GROUP}/{VERSION}"
PATHS = {
    "wpsjobs": WPS,
    "wpsqueues": WPS,
    "wpsprocesses": WPS,
    "jobs": "/apis/batch/v1",
    "pods": "/api/v1",
    "events": "/api/v1",
    "serviceaccounts": "/api/v1",
}
KINDS = {"wpsjobs": "WpsJob", "wpsqueues": "WpsQueue", "wpsprocesses": "WpsProcess"}
NEVER = {"wps.eoxserver.org/no-such-node": "true"}
"""A node selector that no node has: what becomes of the pod is then up to the test."""


class RefusedError(Exception):
    """The API server refused a request; the message is what it said."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Kube:
    """A connection to the API server of the test cluster."""

    def __init__(self, token: str | None = None, kubeconfig: str = "") -> None:
        """As the administrator, or as the service account of *token*."""
        file = kubeconfig or environment()["KUBECONFIG"]
        self._api = config.new_client_from_config(config_file=file)
        if token is not None:
            known = self._api.configuration
            own = client.Configuration(
                host=known.host,
                api_key={"authorization": token},
                api_key_prefix={"authorization": "Bearer"},
            )
            own.ssl_ca_cert = known.ssl_ca_cert
            self._api = client.ApiClient(own)

    def request(
        self, method: str, path: str, body: Any = None, content_type: str = "application/json"
    ) -> Any:
        """The answer as JSON; raises RefusedError."""
        headers = {"Accept": "application/json", "Content-Type": content_type}
        method, url, headers, sent, form = self._api.param_serialize(
            method, path, header_params=headers, body=body, auth_settings=["BearerToken"]
        )
        try:
            response = self._api.call_api(method, url, headers, sent, form)
            response.read()
            status, data = response.status, response.data
        except client.ApiException as error:
            status, data = error.status, error.body
        text = data.decode() if isinstance(data, bytes) else str(data)
        if not 200 <= (status or 0) < 300:
            with contextlib.suppress(ValueError, KeyError, TypeError):
                text = json.loads(text)["message"]
            raise RefusedError(status or 0, text)
        return json.loads(text) if text.lstrip().startswith("{") else text


class Space:
    """A namespace of the tests' own."""

    def __init__(self, kube: Kube, name: str) -> None:
        self.kube = kube
        self.name = name

    def make(self) -> None:
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.name}}
        self.kube.request("POST", "/api/v1/namespaces", body)
        account = {"apiVersion": "v1", "kind": "ServiceAccount"}
        account["metadata"] = {"name": "wpsjobs-worker"}  # type: ignore[assignment]
        self.create("serviceaccounts", account)

    def remove(self) -> None:
        """Begin its deletion."""
        self.kube.request("DELETE", f"/api/v1/namespaces/{self.name}")

    def path(self, plural: str, name: str = "", *rest: str) -> str:
        parts = [PATHS[plural], "namespaces", self.name, plural, name, *rest]
        return "/".join(part for part in parts if part)

    def create(self, plural: str, body: Mapping[str, Any]) -> Any:
        return self.kube.request("POST", self.path(plural), body)

    def get(self, plural: str, name: str) -> Any:
        return self.kube.request("GET", self.path(plural, name))

    def find(self, plural: str, name: str) -> Any:
        """The object, or None."""
        try:
            return self.get(plural, name)
        except RefusedError as error:
            if error.status == 404:
                return None
            raise

    def items(self, plural: str, query: str = "") -> list[Any]:
        items: list[Any] = self.kube.request("GET", self.path(plural) + query)["items"]
        return items

    def patch(self, plural: str, name: str, body: Mapping[str, Any], *subresource: str) -> Any:
        """A merge patch."""
        path = self.path(plural, name, *subresource)
        return self.kube.request("PATCH", path, body, "application/merge-patch+json")

    def delete(self, plural: str, name: str) -> None:
        self.kube.request("DELETE", self.path(plural, name))

    def custom(self, plural: str, name: str, **spec: Any) -> Any:
        """Make a WpsJob, WpsQueue or WpsProcess."""
        return self.create(
            plural,
            {
                "apiVersion": API_VERSION,
                "kind": KINDS[plural],
                "metadata": {"name": name},
                "spec": spec,
            },
        )

    def queue(self, name: str, **spec: Any) -> Any:
        """Make a queue whose pods are never bound to a node."""
        container = {"name": "worker", "image": "example.org/none"}
        pod = {"nodeSelector": NEVER, "containers": [container], "terminationGracePeriodSeconds": 0}
        return self.custom("wpsqueues", name, template={"spec": pod}, **spec)

    def status(self, name: str) -> dict[str, Any]:
        """The status of a WpsJob; empty while there is none."""
        status: dict[str, Any] = self.get("wpsjobs", name).get("status", {})
        return status

    def wait_phase(self, name: str, phase: str, seconds: float = 20) -> dict[str, Any]:
        """The status of a WpsJob, once it is in *phase*."""
        self.wait(lambda: self.status(name).get("phase") == phase, f"{name} {phase}", seconds)
        return self.status(name)

    def pod_of(self, kubernetes_job: str, seconds: float = 20) -> str:
        """Name of the pod of a Kubernetes Job, once there is one."""
        query = f"?labelSelector=batch.kubernetes.io/job-name={kubernetes_job}"

        def names() -> list[str]:
            return [pod["metadata"]["name"] for pod in self.items("pods", query)]

        return self.wait(names, f"pod of {kubernetes_job}", seconds)[0]

    def run_pod(self, kubernetes_job: str) -> str:
        """Let the pod of a Kubernetes Job run, as a kubelet would tell it."""
        pod = self.pod_of(kubernetes_job)
        state = {"running": {"startedAt": _now()}}
        self.patch("pods", pod, {"status": _pod_status("Running", state)}, "status")
        return pod

    def end_pod(self, kubernetes_job: str, code: int, message: str = "", reason: str = "") -> None:
        """Let the pod of a Kubernetes Job end."""
        pod, phase = self.pod_of(kubernetes_job), "Succeeded" if code == 0 else "Failed"
        terminated = {
            "exitCode": code,
            "reason": reason or ("Error" if code else "Completed"),
            "message": message,
            "startedAt": _now(),
            "finishedAt": _now(),
        }
        status = _pod_status(phase, {"terminated": terminated})
        self.patch("pods", pod, {"status": status}, "status")

    def wait(self, question: Callable[[], T], what: str, seconds: float = 20) -> T:
        """The first answer that is true; fails with what there is in the namespace."""
        deadline = time.monotonic() + seconds
        while not (answer := question()):
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {seconds:.0f} s: {what}\n{self.picture()}")
            # Polling with a deadline; the API server needs the processor, too.
            time.sleep(0.05)
        return answer

    def picture(self) -> str:
        """What kubectl shows of the namespace."""
        wanted = "wpsjobs,wpsqueues,jobs,pods"
        return run("kubectl", "get", wanted, "-n", self.name, "-o", "wide")


def _pod_status(phase: str, state: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "phase": phase,
        "containerStatuses": [
            {
                "name": "worker",
                "image": "example.org/none",
                "imageID": "",
                "ready": False,
                "restartCount": 0,
                "state": state,
            }
        ],
    }


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
