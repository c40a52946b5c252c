"""Builds the project's images and brings them to the cluster."""

from __future__ import annotations

import os
import shutil
import subprocess
import tomllib
from collections.abc import Mapping, Sequence

from tests.cluster.binaries import exclusive
from tests.cluster.buildah import Buildah, build_secrets
from tests.cluster.containers import image_names, remove_images
from tests.cluster.progress import run, say, step
from tests.cluster.settings import REPOSITORY, ClusterError, Instance
from tests.cluster.sources import IMAGES, Image, content_tag

FIXED_TAG = "dev"
"""A tag that always means the latest build, beside the one by content."""

NODE_PREFIX = "docker.io/library/"
"""How the node completes an image name without a registry."""


def image_tag(instance: Instance, image: Image, *, current: bool) -> str:
    """The image's name with the tag that its present sources give it."""
    if current:
        return f"{_registry()}/{image.repository}:{content_tag(image, REPOSITORY)}"
    return f"{image.repository}:{_local_tag(instance, image)}"


def _local_tag(instance: Instance, image: Image) -> str:
    base = (instance.versions.base_name, instance.versions.base_suite)
    return content_tag(image, REPOSITORY, base)


def build_for_node(instance: Instance, wanted: Sequence[Image] = IMAGES) -> None:
    """Build what has changed and import it into the node's containerd."""
    if not instance.containerd_socket.exists():
        raise ClusterError("the node is not there. Try: python -m tests.cluster up")
    with exclusive(instance.cache / "locks" / "images"):
        on_node = image_names(instance)
        tags = {image: _local_tag(instance, image) for image in wanted}
        missing = [image for image in wanted if _node_name(image, tags[image]) not in on_node]
        for image in wanted:
            if image not in missing:
                say(f"  {image.repository}:{tags[image]} is on the node")
        if missing:
            builder = Buildah(instance)
            builder.prepare()
            for image in missing:
                _build_one(instance, builder, image, tags[image])


def _build_one(instance: Instance, builder: Buildah, image: Image, tag: str) -> None:
    built = builder.names()
    name = f"localhost/{image.repository}:{tag}"
    if name not in built:
        with step(f"building {image.repository}:{tag}"):
            builder.build(image, tag, {"VERSION": _version()})
    with step(f"importing {image.repository}:{tag}"):
        builder.hand_over(name, [_node_name(image, tag), _node_name(image, FIXED_TAG)])
    keep = {_node_name(image, tag), _node_name(image, FIXED_TAG)}
    old = sorted(_superseded(image_names(instance), _node_name(image, ""), keep))
    remove_images(instance, old)
    builder.remove(sorted(_superseded(built, f"localhost/{image.repository}:", {name})))


def _superseded(names: set[str], prefix: str, keep: set[str]) -> set[str]:
    return {name for name in names if name.startswith(prefix) and name not in keep}


def _node_name(image: Image, tag: str) -> str:
    return f"{NODE_PREFIX}{image.repository}:{tag}"


def _version() -> str:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    return str(project.get("version", "0"))


def build_for_registry(instance: Instance, wanted: Sequence[Image] = IMAGES) -> None:
    """Build with whatever tool the user has and push to the registry that `$REGISTRY` names."""
    registry = _registry()
    tool = _user_tool()
    secrets = build_secrets(instance.cache / "images" / "secrets", os.environ)
    env = {**os.environ, "DOCKER_BUILDKIT": "1"}
    log = instance.cache / "logs" / "images.log"
    for image in wanted:
        tag = content_tag(image, REPOSITORY)
        names = [
            f"{registry}/{image.repository}:{tag}",
            f"{registry}/{image.repository}:{FIXED_TAG}",
        ]
        dockerfile = REPOSITORY / image.dockerfile
        labels = _arguments({"VERSION": _version()} | _base_argument())
        command = [tool, "build", "--file", str(dockerfile), *labels, *secrets]
        with step(f"building {names[0]} with {tool}"):
            tags = [word for name in names for word in ("--tag", name)]
            run([*command, *tags, str(REPOSITORY)], env=env, log=log)
        with step(f"pushing {names[0]}"):
            for name in names:
                run([tool, "push", name], env=env, log=log, hint=f"  Try: {tool} login {registry}")


def _arguments(values: Mapping[str, str]) -> list[str]:
    return [word for key, value in values.items() for word in ("--build-arg", f"{key}={value}")]


def _base_argument() -> dict[str, str]:
    base = os.environ.get("BASE_IMAGE")
    return {"BASE_IMAGE": base} if base else {}


def _registry() -> str:
    registry = os.environ.get("REGISTRY", "").rstrip("/")
    if not registry:
        raise ClusterError(
            "with CLUSTER=current the images go to a registry that your cluster pulls from.\n"
            "  Try: REGISTRY=registry.example.org/me CLUSTER=current make images"
        )
    return registry


def _user_tool() -> str:
    checks = {
        "docker": ["docker", "info"],
        "podman": ["podman", "info"],
        "buildah": ["buildah", "version"],
    }
    for tool, check in checks.items():
        if (
            shutil.which(tool)
            and subprocess.run(check, capture_output=True, check=False).returncode == 0
        ):
            return tool
    raise ClusterError("none of docker, podman and buildah works here. Try: install one of them")
