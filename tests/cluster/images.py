"""Builds the project's images and brings them to the cluster."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.binaries import exclusive
from tests.cluster.buildah import Buildah, build_secrets
from tests.cluster.containers import image_names, remove_images, tag_image
from tests.cluster.progress import run, say, step
from tests.cluster.settings import REPOSITORY, ClusterError, Instance
from tests.cluster.sources import IMAGES, Image, content_tag

MAX_BUILDS = 4
KEPT_ON_NODE = 6
"""What is installed with an earlier tag must be able to start pods; they share most layers."""

FIXED_TAG = "dev"
"""A tag that always means the latest build, beside the one by content and the version's."""

NODE_PREFIX = "docker.io/library/"
"""How the node completes an image name without a registry."""


def recorded_name(instance: Instance, image: Image, *, current: bool) -> str:
    """The image that was last brought to the cluster, as a pod's manifest names it.

    Not computed from the sources: they may have changed since.
    """
    names = _read_record(_record_file(instance, current=current)).get(image.name)
    if not names:
        raise ClusterError(f"the image {image.name} is not built. Try: make images")
    return names[0]


def _record_file(instance: Instance, *, current: bool) -> Path:
    return instance.cache / "images" / "pushed.json" if current else instance.state / "images.json"


def _read_record(path: Path) -> dict[str, list[str]]:
    """Short name of an image → its last names, the newest first."""
    try:
        data = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def _record(path: Path, image: Image, name: str) -> list[str]:
    """Note an image as the newest; those to keep are returned."""
    data = _read_record(path)
    names = newest_first(name, data.get(image.name, []))
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".new")
    partial.write_text(json.dumps(data | {image.name: names}, indent=2))
    partial.replace(path)
    return names


def newest_first(name: str, earlier: Sequence[str]) -> list[str]:
    """The names to keep on the node."""
    return [name, *(other for other in earlier if other != name)][:KEPT_ON_NODE]


def _local_tag(instance: Instance, image: Image) -> str:
    base = (instance.versions.base_name, instance.versions.base_suite)
    return content_tag(image, REPOSITORY, base)


def build_for_node(instance: Instance, wanted: Sequence[Image] = IMAGES) -> None:
    """Build what has changed and import it into the node's containerd."""
    if not instance.containerd_socket.exists():
        raise ClusterError("the node is not there. Try: python -m tests.cluster up")
    builder = Buildah(instance)
    with exclusive(instance.cache / "locks" / "images"):
        for image in wanted:
            tag = _local_tag(instance, image)
            if _node_name(image, tag) in image_names(instance):
                say(f"  {image.repository}:{tag} is on the node")
            else:
                tag = _build_one(instance, builder, image)
            name = f"{image.repository}:{tag}"
            # An earlier content may be the newest again, so that these two are moved each time.
            moving = [_node_name(image, other) for other in _moving_tags()]
            tag_image(instance, _node_name(image, tag), moving)
            kept = _record(_record_file(instance, current=False), image, name)
            _forget(instance, image, kept)


@contextmanager
def built(instance: Instance, wanted: Sequence[Image] = IMAGES) -> Iterator[Buildah]:
    """Build what has changed, bring it nowhere, and keep others from removing it meanwhile."""
    builder = Buildah(instance)
    with exclusive(instance.cache / "locks" / "images"):
        builder.prepare()
        for image in wanted:
            tag = _build_as_it_is(instance, builder, image, builder.names())
            builder.tags[image] = tag
        yield builder


def _build_one(instance: Instance, builder: Buildah, image: Image) -> str:
    """Build an image, bring it to the node and remove what it supersedes; return its tag."""
    builder.prepare()
    tag = _build_as_it_is(instance, builder, image, builder.names())
    name = f"localhost/{image.repository}:{tag}"
    with step(f"importing {image.repository}:{tag}"):
        builder.hand_over(name, [_node_name(image, tag)])
    built = builder.names()
    builder.remove(sorted(_superseded(built, f"localhost/{image.repository}:", {name})))
    return tag


def _build_as_it_is(instance: Instance, builder: Buildah, image: Image, built: set[str]) -> str:
    """Build until the sources did not change meanwhile, so that the tag says what is inside."""
    for _ in range(MAX_BUILDS):
        tag = _local_tag(instance, image)
        if f"localhost/{image.repository}:{tag}" in built:
            return tag
        with step(f"building {image.repository}:{tag}"):
            builder.build(image, tag, _labels())
        if _local_tag(instance, image) == tag:
            return tag
        say("  the sources have changed meanwhile; building again")
    raise ClusterError("the sources change all the time. Try: again, without editing them")


def _forget(instance: Instance, image: Image, kept: Sequence[str]) -> None:
    """Remove all but the last few images, so that the disk does not fill."""
    names = {f"{NODE_PREFIX}{name}" for name in kept}
    names |= {_node_name(image, tag) for tag in _moving_tags()}
    remove_images(instance, _superseded(image_names(instance), _node_name(image, ""), names))


def _superseded(names: set[str], prefix: str, keep: set[str]) -> set[str]:
    return {name for name in names if name.startswith(prefix) and name not in keep}


def _node_name(image: Image, tag: str) -> str:
    return f"{NODE_PREFIX}{image.repository}:{tag}"


def _version() -> str:
    """The project's, which is the tag that the chart asks for where it is told no other."""
    return str(tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"])


def _moving_tags() -> tuple[str, str]:
    return FIXED_TAG, _version()


def _labels() -> dict[str, str]:
    """What the Dockerfiles are told for the labels: the version, and the commit it is built at."""
    labels = {"VERSION": _version()}
    command = ["git", "-C", str(REPOSITORY), "rev-parse", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:  # else the sources came without their history
        labels["REVISION"] = done.stdout.strip()
    return labels


def build_for_registry(instance: Instance, wanted: Sequence[Image] = IMAGES) -> None:
    """Build with whatever tool the user has and push to the registry that `$REGISTRY` names."""
    registry = _registry()
    tool = _user_tool()
    secrets = build_secrets(instance.cache / "images" / "secrets", os.environ)
    env = {**os.environ, "DOCKER_BUILDKIT": "1"}
    log = instance.cache / "logs" / "images.log"
    for image in wanted:
        tag = content_tag(image, REPOSITORY)
        names = [f"{registry}/{image.repository}:{each}" for each in (tag, *_moving_tags())]
        dockerfile = REPOSITORY / image.dockerfile
        labels = _arguments(_labels() | _base_argument())
        command = [tool, "build", "--file", str(dockerfile), *labels, *secrets]
        with step(f"building {names[0]} with {tool}"):
            tags = [word for name in names for word in ("--tag", name)]
            run([*command, *tags, str(REPOSITORY)], env=env, log=log)
        with step(f"pushing {names[0]}"):
            for name in names:
                run([tool, "push", name], env=env, log=log, hint=f"  Try: {tool} login {registry}")
        _record(_record_file(instance, current=True), image, names[0])


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
