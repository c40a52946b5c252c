"""Talks to the node's containerd: images in, stale containers out."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.cluster.binaries import ensure_pause
from tests.cluster.configs import sandbox_image
from tests.cluster.progress import run
from tests.cluster.settings import ClusterError, Instance

NAMESPACE = "k8s.io"


def ctr(instance: Instance, *words: str) -> str:
    """Run containerd's own client."""
    address = ["--address", str(instance.containerd_socket)]
    return run(["ctr", *address, "--namespace", NAMESPACE, *words])


def image_names(instance: Instance) -> set[str]:
    """Names of the images on the node."""
    return set(ctr(instance, "images", "list", "-q").split())


def import_image(instance: Instance, archive: Path) -> None:
    """Bring an image archive to the node."""
    ctr(instance, "images", "import", str(archive))


def tag_image(instance: Instance, name: str, others: Sequence[str]) -> None:
    """Let *others* mean the image *name*, whatever they meant before."""
    ctr(instance, "images", "tag", "--force", name, *others)


def remove_images(instance: Instance, names: set[str]) -> None:
    """Remove images, and the nameless records that Kubernetes' interface made of them."""
    if names:
        ctr(instance, "images", "remove", *sorted(names))
    nameless = unnamed_records(ctr(instance, "images", "list"))
    if nameless:
        ctr(instance, "images", "remove", "--sync", *nameless)


def unnamed_records(listing: str) -> list[str]:
    """Records that are called by a digest alone, of whose image no name is left.

    `listing` is a table with the columns REF, TYPE, DIGEST and more.
    """
    rows = [line.split()[:3] for line in listing.splitlines()[1:] if len(line.split()) > 2]
    named = {digest for reference, _, digest in rows if not reference.startswith("sha256:")}
    return [
        reference
        for reference, _, digest in rows
        if reference.startswith("sha256:") and digest not in named
    ]


def ensure_sandbox_image(instance: Instance) -> None:
    """The image of pod sandboxes: one static program."""
    name = sandbox_image()
    if name in image_names(instance):
        return
    program = ensure_pause(instance).read_bytes()
    with tempfile.TemporaryDirectory(prefix="wpsjobs-") as directory:
        archive = Path(directory) / "pause.tar"
        archive.write_bytes(single_program_image(name, "pause", program))
        import_image(instance, archive)


def remove_stale_containers(instance: Instance) -> None:
    """Forget containers of an earlier cluster, which the new API server does not know."""
    found = ctr(instance, "containers", "list", "-q").split()
    for name in found:
        try:
            ctr(instance, "containers", "remove", name)
        except ClusterError as error:
            if "not found" not in str(error):
                raise


def single_program_image(name: str, program: str, content: bytes) -> bytes:
    """An image archive, as `docker save` writes it, that holds one program and runs it."""
    layer = _tar({program: content}, mode=0o755)
    digest = hashlib.sha256(layer).hexdigest()
    config = json.dumps(
        {
            "architecture": _architecture(),
            "os": "linux",
            "config": {"Entrypoint": [f"/{program}"], "User": "65535:65535"},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        }
    ).encode()
    config_name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = [{"Config": config_name, "RepoTags": [name], "Layers": [f"{digest}.tar"]}]
    return _tar(
        {
            "manifest.json": json.dumps(manifest).encode(),
            config_name: config,
            f"{digest}.tar": layer,
        },
        mode=0o644,
    )


def _architecture() -> str:
    machine = {"x86_64": "amd64", "aarch64": "arm64"}
    return machine.get(os.uname().machine, os.uname().machine)


def _tar(files: dict[str, bytes], mode: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), mode
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()
