"""Which cluster is meant, and as whom: the kubeconfig, as kubectl takes it."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wpsjobs.cli.errors import CliError

DEFAULT_TIMEOUT = 30.0
NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


@dataclass(frozen=True)
class Access:
    """What the user says; None leaves it to the kubeconfig."""

    namespace: str | None = None
    context: str | None = None
    kubeconfig: str | None = None
    timeout: float | None = None

    @property
    def request_timeout(self) -> float:
        """Seconds for one request; watches and followed logs take as long as they take."""
        return self.timeout or DEFAULT_TIMEOUT

    def over(self, other: Access | None) -> Access:
        """This one, with what it leaves open from *other*."""
        if other is None:
            return self
        return Access(
            self.namespace or other.namespace,
            self.context or other.context,
            self.kubeconfig or other.kubeconfig,
            self.timeout or other.timeout,
        )


def connect(access: Access) -> tuple[Any, str]:
    """A client of the API server, and the namespace. Raises CliError."""
    # Half a second: what needs no cluster, such as help, does without.
    from kubernetes import client, config  # noqa: PLC0415
    from kubernetes.config.config_exception import ConfigException  # noqa: PLC0415

    configuration = client.Configuration()
    try:
        if _is_in_pod(access):
            config.load_incluster_config(client_configuration=configuration)
            namespace = _namespace_of_pod()
        else:
            config.load_kube_config(
                access.kubeconfig, access.context, client_configuration=configuration
            )
            contexts, active = config.list_kube_config_contexts(access.kubeconfig)
            if access.context is not None:
                active = next(one for one in contexts if one["name"] == access.context)
            namespace = active.get("context", {}).get("namespace")
    except (ConfigException, OSError, ValueError, TypeError) as error:
        words = str(error).rstrip(".")
        raise CliError(
            f"The kubeconfig cannot be used: {words}. See what there is: kubectl config "
            "get-contexts. Choose by --kubeconfig and --context."
        ) from error
    return client.ApiClient(configuration), access.namespace or namespace or "default"


def _is_in_pod(access: Access) -> bool:
    """Whether the service account of a pod is all there is, as for kubectl."""
    named = access.kubeconfig or access.context or os.environ.get("KUBECONFIG")
    default = Path("~/.kube/config").expanduser()
    return "KUBERNETES_SERVICE_HOST" in os.environ and not named and not default.exists()


def _namespace_of_pod() -> str | None:
    with contextlib.suppress(OSError):
        return NAMESPACE_FILE.read_text().strip() or None
    return None
