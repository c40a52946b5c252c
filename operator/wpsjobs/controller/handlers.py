"""kopf's decorators and settings: what the watches bring goes to the loop, and nothing else.

kopf stores nothing on the objects: no annotation, no finalizer, no timer. Handlers for creation or
deletion would patch each object two or three times, and an index keeps the ghosts of objects that
were deleted while a watch was down.
"""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import kopf

from wpsjobs.api.names import GROUP, LABEL_WPSJOB, VERSION
from wpsjobs.controller.loop import Loop
from wpsjobs.controller.state import Kind
from wpsjobs.controller.storages import NoDiffs, NoProgress


def registry(loop: Loop) -> kopf.OperatorRegistry:
    """The handlers that fill *loop*."""
    handlers = kopf.OperatorRegistry()

    async def login(**arguments: Any) -> kopf.ConnectionInfo | None:
        in_cluster = kopf.login_with_service_account(**arguments)
        if in_cluster is None:
            return kopf.login_with_kubeconfig(**arguments)
        # kopf takes the service's DNS name; a pod always has its address, and not always a DNS.
        host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
        address = f"[{host}]" if ":" in host else host
        return dataclasses.replace(in_cluster, server=f"https://{address}:{port}")

    kopf.on.login(registry=handlers)(login)

    def watch(kind: Kind, *resource: str) -> None:
        async def notice(*, event: Any, **_: Any) -> None:
            loop.notice(kind, event["type"], event["object"])

        kopf.on.event(*resource, id=f"notice-{kind.lower()}", registry=handlers)(notice)

    watch(Kind.WPSJOB, GROUP, VERSION, "wpsjobs")
    watch(Kind.WPSQUEUE, GROUP, VERSION, "wpsqueues")
    watch(Kind.WPSPROCESS, GROUP, VERSION, "wpsprocesses")
    watch(Kind.KUBERNETES_JOB, "batch", "v1", "jobs")
    watch(Kind.POD, "", "v1", "pods")
    return handlers


def settings() -> kopf.OperatorSettings:
    """kopf's settings, where they are not its own; each for a reason that was measured."""
    chosen = kopf.OperatorSettings()
    chosen.peering.standalone = True  # peering is no lock
    chosen.posting.enabled = False  # Events go through ``cluster``, like all else
    chosen.persistence.diffbase_storage = NoDiffs()
    chosen.persistence.progress_storage = NoProgress()
    # The custom resources are there before the operator. To watch for more takes cluster-wide
    # rights, and without these repeats refused requests for a minute.
    chosen.scanning.disabled = True
    # A watch can freeze without an error; each is begun anew before it can do harm.
    chosen.watching.server_timeout = 300
    chosen.watching.client_timeout = 330
    chosen.watching.connect_timeout = 10
    chosen.watching.inactivity_timeout = 90
    # By default the first list comes in one piece, and memory never shrinks to what is kept of it.
    chosen.watching.chunk_size = 200
    chosen.networking.request_timeout = 30
    chosen.networking.error_backoffs = (0.2, 0.5, 1, 2, 5)
    chosen.queueing.idle_timeout = 0.1  # an idle worker task of an object keeps its memory
    chosen.queueing.error_delays = (0.5, 1, 2, 5, 10)  # ten minutes of deafness by default
    for resource in (("batch", "v1", "jobs"), ("", "v1", "pods")):
        chosen.watching.label_selectors[resource] = LABEL_WPSJOB
    return chosen
