"""Images are named by their content, and the node gets only what it lacks."""

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from tests.cluster import buildah, current, images
from tests.cluster.containers import single_program_image, unnamed_records
from tests.cluster.settings import REPOSITORY, ClusterError
from tests.cluster.sources import IMAGES, Image, content_tag, find_image

IMAGE = Image("demo", "wpsjobs-demo", ("pyproject.toml", "operator"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in (IMAGE.dockerfile, ".dockerignore", "pyproject.toml", "operator/a.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path


@pytest.mark.parametrize("name", [IMAGE.dockerfile, ".dockerignore", "operator/a.py", "operator/b"])
def test_the_tag_changes_with_every_input(root: Path, name: str) -> None:
    before = content_tag(IMAGE, root)
    (root / name).write_text("changed")
    assert content_tag(IMAGE, root) != before


def test_the_tag_changes_with_the_base(root: Path) -> None:
    assert content_tag(IMAGE, root, ["bookworm"]) != content_tag(IMAGE, root, ["trixie"])


def test_what_the_build_does_not_see_leaves_the_tag_alone(root: Path) -> None:
    before = content_tag(IMAGE, root)
    for name in ("operator/__pycache__/a.pyc", "operator/.ruff_cache/x", "docs/x.md"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x")
    assert content_tag(IMAGE, root) == before


def test_a_missing_input_is_named(root: Path) -> None:
    (root / "pyproject.toml").unlink()
    with pytest.raises(ClusterError, match="pyproject"):
        content_tag(IMAGE, root)


@pytest.mark.parametrize("image", IMAGES, ids=lambda image: image.name)
def test_inputs_are_what_the_dockerfile_copies(image: Image) -> None:
    lines = (REPOSITORY / image.dockerfile).read_text().splitlines()
    copied = [line.split()[1:-1] for line in lines if line.startswith("COPY ")]
    from_context = {name for names in copied for name in names if not names[0].startswith("--")}
    assert from_context == set(image.inputs)


def test_an_unknown_image_is_refused_with_the_known_names() -> None:
    assert find_image("wpsjobs-operator") is find_image("operator")
    with pytest.raises(ClusterError, match="eoxserver"):
        find_image("web")


def test_superseded_tags_are_those_of_the_same_image_but_the_kept() -> None:
    names = {"r/wpsjobs-operator:a", "r/wpsjobs-operator:b", "r/wpsjobs-operator-builder:latest"}
    found = images._superseded(names, "r/wpsjobs-operator:", {"r/wpsjobs-operator:b"})
    assert found == {"r/wpsjobs-operator:a"}


def test_the_last_few_images_stay_on_the_node_the_newest_first() -> None:
    earlier = [f"x:{number}" for number in range(9)]
    assert images.newest_first("x:new", earlier)[:2] == ["x:new", "x:0"]
    assert images.newest_first("x:3", earlier)[:3] == ["x:3", "x:0", "x:1"]
    assert len(images.newest_first("x:new", earlier)) == images.KEPT_ON_NODE


def test_records_without_a_name_go_when_their_image_has_none_left() -> None:
    listing = """\
REF                     TYPE  DIGEST      SIZE
docker.io/library/x:1   oci   sha256:aaa  1 MiB
sha256:111              oci   sha256:aaa  1 MiB
sha256:222              oci   sha256:bbb  1 MiB
"""
    assert unnamed_records(listing) == ["sha256:222"]


def docker_archive(layers: list[bytes], config: bytes) -> tuple[io.BytesIO, list[str]]:
    """An archive as buildah streams it: layers first, the manifest last."""
    digests = [hashlib.sha256(layer).hexdigest() for layer in layers]
    files = {f"{name}.tar": layer for name, layer in zip(digests, layers, strict=True)}
    files["c.json"] = config
    manifest = [{"Config": "c.json", "Layers": [f"{name}.tar" for name in digests]}]
    files["manifest.json"] = json.dumps(manifest).encode()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    buffer.seek(0)
    return buffer, [f"sha256:{name}" for name in digests]


def test_layers_that_the_node_has_are_left_out_of_the_archive(tmp_path: Path) -> None:
    stream, digests = docker_archive([b"base", b"project"], b"{}")
    archive = tmp_path / "image.tar"
    names = ["docker.io/library/x:1", "docker.io/library/x:dev"]
    assert buildah.write_archive(stream, archive, names, {digests[0]}) == [digests[1]]
    with tarfile.open(archive) as tar:
        content = {member.name: tar.extractfile(member) for member in tar}
        blobs = {name for name in content if name.startswith("blobs/")}
        index_file = content["index.json"]
        assert index_file is not None
        index = json.loads(index_file.read())
        manifest_file = content[f"blobs/{index['manifests'][0]['digest'].replace(':', '/')}"]
        assert manifest_file is not None
        manifest = json.loads(manifest_file.read())
    assert [layer["digest"] for layer in manifest["layers"]] == digests
    assert [layer["size"] for layer in manifest["layers"]] == [4, 7]
    named = [entry["annotations"]["io.containerd.image.name"] for entry in index["manifests"]]
    assert named == names
    assert f"blobs/{digests[0].replace(':', '/')}" not in blobs
    assert len(blobs) == 3


def test_the_sandbox_image_holds_one_program_and_runs_it() -> None:
    archive = single_program_image("localhost/pause:1", "pause", b"program")
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        manifest_file = tar.extractfile("manifest.json")
        assert manifest_file is not None
        manifest = json.loads(manifest_file.read())[0]
        layer_file = tar.extractfile(manifest["Layers"][0])
        assert layer_file is not None
        with tarfile.open(fileobj=io.BytesIO(layer_file.read())) as layer:
            assert [(m.name, m.mode) for m in layer] == [("pause", 0o755)]
    assert manifest["RepoTags"] == ["localhost/pause:1"]


def test_the_machines_way_to_pypi_is_passed_on() -> None:
    environ = {"PIP_INDEX_URL": "https://pypi.example.org/simple", "PIP_DEFAULT_TIMEOUT": "9"}
    assert buildah.pip_config(environ, has_ca=True).splitlines() == [
        "[global]",
        "index-url = https://pypi.example.org/simple",
        "timeout = 9",
        "cert = /run/secrets/ca.crt",
    ]
    assert buildah.pip_config({}, has_ca=False) == "[global]\n"


def test_a_cluster_of_the_users_own_keeps_its_kubeconfig() -> None:
    assert current.is_current({"CLUSTER": "current"})
    assert not current.is_current({})
    assert current.kubeconfig({"KUBECONFIG": "/a:/b", "HOME": "/h"}) == "/a:/b"
    assert current.kubeconfig({"HOME": "/h"}) == "/h/.kube/config"


def test_pushing_needs_a_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REGISTRY", raising=False)
    with pytest.raises(ClusterError, match="REGISTRY="):
        images._registry()
