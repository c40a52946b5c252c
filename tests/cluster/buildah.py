"""Builds images with buildah, without any container engine, and hands them to the node."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tests.cluster.containers import ctr, import_image
from tests.cluster.packages import IMAGE_PACKAGES, ensure_packages
from tests.cluster.progress import run, step
from tests.cluster.settings import REPOSITORY, ClusterError, Instance
from tests.cluster.sources import Image

KEPT_STAGE = "builder"
"""The stage of each Dockerfile that the others mount: no image has its layers."""

_LAYER = re.compile(r"[0-9a-f]{64}\.tar")

CA_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")


def pip_config(environ: Mapping[str, str], has_ca: bool) -> str:
    """The machine's way to PyPI, as a pip.conf for the build alone."""
    options = {
        "index-url": environ.get("PIP_INDEX_URL"),
        "extra-index-url": environ.get("PIP_EXTRA_INDEX_URL"),
        "trusted-host": environ.get("PIP_TRUSTED_HOST"),
        "timeout": environ.get("PIP_DEFAULT_TIMEOUT"),
        "cert": "/run/secrets/ca.crt" if has_ca else None,
    }
    lines = [f"{name} = {value}" for name, value in options.items() if value]
    return "\n".join(["[global]", *lines, ""])


def build_secrets(directory: Path, environ: Mapping[str, str]) -> list[str]:
    """Options that lend the machine's CA bundle and pip settings to a build.

    They are mounted while a step runs and never become part of a layer.
    """
    candidates = [environ.get("PIP_CERT", ""), environ.get("SSL_CERT_FILE", ""), *CA_BUNDLES]
    bundle = next((path for path in candidates if path and Path(path).is_file()), None)
    directory.mkdir(parents=True, exist_ok=True)
    config = directory / "pip.conf"
    config.write_text(pip_config(environ, bundle is not None))
    secrets = ["--secret", f"id=pip.conf,src={config}"]
    return [*secrets, "--secret", f"id=ca.crt,src={bundle}"] if bundle else secrets


class Buildah:
    """An image store of our own, outside of the checkout."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._root = instance.cache / "images"
        self._log = instance.cache / "logs" / "images.log"
        self._driver = ""
        self.tags: dict[Image, str] = {}
        """Of images that are known to be built."""

    def prepare(self) -> None:
        """Install buildah, and make the base image unless it is there."""
        ensure_packages(IMAGE_PACKAGES, self._instance.cache / "logs" / "apt.log")
        (self._root / "tmp").mkdir(parents=True, exist_ok=True)
        if self.base_image not in self.names():
            with step(f"base image: Debian {self._instance.versions.base_suite}"):
                self._make_base()

    @property
    def base_image(self) -> str:
        """The base that stands in for a public Debian image, which no registry here offers."""
        versions = self._instance.versions
        return f"localhost/{versions.base_name}:{versions.base_suite}"

    def names(self) -> set[str]:
        """Names of all tagged images."""
        found = json.loads(self._run("images", "--json") or "null") or []
        return {name for image in found for name in image.get("names") or []}

    def name_of(self, image: Image) -> str:
        """Full name of a built image."""
        return f"localhost/{image.repository}:{self.tags[image]}"

    def labels(self, name: str) -> dict[str, str]:
        """The labels of an image, as a registry shows them."""
        told = json.loads(self._run("inspect", "--type", "image", name))
        return dict(told["OCIv1"]["config"].get("Labels") or {})

    @contextmanager
    def mounted(self, name: str) -> Iterator[Path]:
        """The file system of an image, to be read."""
        container = self._run("from", "--pull-never", name).strip()
        try:
            yield Path(self._run("mount", container).strip())
        finally:
            self._run("rm", container)

    def build(self, image: Image, tag: str, labels: Mapping[str, str]) -> str:
        """Build an image; its full name is returned."""
        name = f"localhost/{image.repository}:{tag}"
        self._log.unlink(missing_ok=True)
        # Named too, so that it survives the removal of layers that belong to no image.
        self._build_stage(image, f"localhost/{image.repository}-{KEPT_STAGE}", {}, KEPT_STAGE)
        self._build_stage(image, name, labels)
        return name

    def _build_stage(
        self, image: Image, name: str, labels: Mapping[str, str], stage: str = ""
    ) -> None:
        arguments = {"BASE_IMAGE": self.base_image, **labels}
        self._run(
            "build",
            "--layers",
            *("--isolation", "chroot"),
            *("--network", "host"),
            "--pull-never",
            *("--file", str(REPOSITORY / image.dockerfile)),
            *(word for key in arguments for word in ("--build-arg", f"{key}={arguments[key]}")),
            *build_secrets(self._root / "secrets", os.environ),
            *(("--target", stage) if stage else ()),
            *("--tag", name),
            str(REPOSITORY),
            logged=True,
        )

    def hand_over(self, name: str, node_names: Sequence[str]) -> None:
        """Bring an image to the node: only the layers that it lacks."""
        archive = self._root / "tmp" / "image.tar"
        present = set(ctr(self._instance, "content", "list", "-q").split())
        command = [*self._command(), "push", "--quiet", name]
        # Uncompressed and unstored: compressing alone would take longer than all the rest.
        command += [f"docker-archive:/dev/stdout:{node_names[0]}"]
        try:
            with subprocess.Popen(command, stdout=subprocess.PIPE, env=self._env()) as push:
                assert push.stdout is not None
                write_archive(push.stdout, archive, node_names, present)
            if push.returncode:
                raise ClusterError(f"buildah push failed with exit code {push.returncode}")
            import_image(self._instance, archive)
        except tarfile.TarError as error:
            raise ClusterError(f"buildah push did not give an image: {error}") from error
        finally:
            archive.unlink(missing_ok=True)

    def remove(self, names: Sequence[str]) -> None:
        """Remove superseded images, and all layers that then belong to none."""
        if names:
            self._run("rmi", *names)
        self._run("rmi", "--prune", "--force")

    def _make_base(self) -> None:
        suite = self._instance.versions.base_suite
        archive = self._root / "tmp" / f"{suite}.tar"
        mirror = os.environ.get("WPSJOBS_DEBIAN_MIRROR")
        excluded = [
            f"--dpkgopt=path-exclude={pattern}"
            for pattern in ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*")
        ]
        command = ["mmdebstrap", "--variant=minbase", *excluded, suite, str(archive)]
        try:
            run([*command, *([mirror] if mirror else [])], log=self._log)
            container = self._run("from", "scratch").strip()
            self._run("add", "--quiet", container, str(archive), "/")
            self._run("config", "--cmd", "bash", container)
            self._run("commit", "--quiet", "--rm", container, self.base_image)
        finally:
            archive.unlink(missing_ok=True)

    def _run(self, *words: str, logged: bool = False) -> str:
        log = self._log if logged else None
        return run([*self._command(), *words], env=self._env(), log=log)

    def _env(self) -> dict[str, str]:
        return {**os.environ, "TMPDIR": str(self._root / "tmp")}

    def _command(self) -> list[str]:
        if not self._driver:
            self._driver = self._choose_driver()
        store = self._root / f"store-{self._driver}"
        options = ["--storage-driver", self._driver, "--root", str(store)]
        return ["buildah", *options, "--runroot", "/run/wpsjobs-images"]

    def _choose_driver(self) -> str:
        """overlay if this kernel and file system can, which is quicker and smaller; else vfs."""
        chosen = self._root / "driver"
        if chosen.exists():
            return chosen.read_text().strip()
        driver = "overlay"
        store = self._root / "store-overlay"
        command = ["buildah", "--storage-driver", driver, "--root", str(store)]
        command += ["--runroot", "/run/wpsjobs-images"]
        try:
            container = run([*command, "from", "scratch"]).strip()
            run([*command, "mount", container])
            run([*command, "umount", container])
            run([*command, "rm", container])
        except ClusterError:
            shutil.rmtree(store, ignore_errors=True)
            driver = "vfs"
        chosen.write_text(driver)
        return driver


def write_archive(
    saved: IO[bytes], archive: Path, names: Sequence[str], present: Container[str]
) -> list[str]:
    """Turn a stream as of `docker save` into an image archive without what the node has.

    A layer's file is named by its digest, so that known ones are skipped unread. Returns the
    digests that were written.
    """
    sizes: dict[str, int] = {}
    documents: dict[str, bytes] = {}
    written: list[str] = []
    with tarfile.open(fileobj=saved, mode="r|") as source, tarfile.open(archive, "w") as tar:
        for member in source:
            content = source.extractfile(member) if member.isfile() else None
            if content is None:
                continue
            if not _LAYER.fullmatch(member.name):
                documents[member.name] = content.read()
                continue
            digest = f"sha256:{member.name.removesuffix('.tar')}"
            sizes[digest] = member.size
            if digest not in present:
                _add(tar, _blob(digest), content, member.size)
                written.append(digest)
        saved_manifest = json.loads(documents["manifest.json"])[0]
        config = documents[saved_manifest["Config"]]
        layers = [f"sha256:{name.removesuffix('.tar')}" for name in saved_manifest["Layers"]]
        manifest = _manifest(config, [(digest, sizes[digest]) for digest in layers])
        for blob in (config, manifest):
            _add(tar, _blob(_digest(blob)), io.BytesIO(blob), len(blob))
        for name, document in _index(manifest, names).items():
            _add(tar, name, io.BytesIO(document), len(document))
    return written


def _manifest(config: bytes, layers: Sequence[tuple[str, int]]) -> bytes:
    kind = "application/vnd.oci.image"
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": f"{kind}.manifest.v1+json",
            "config": {
                "mediaType": f"{kind}.config.v1+json",
                "digest": _digest(config),
                "size": len(config),
            },
            "layers": [
                {"mediaType": f"{kind}.layer.v1.tar", "digest": digest, "size": size}
                for digest, size in layers
            ],
        }
    ).encode()


def _index(manifest: bytes, names: Sequence[str]) -> dict[str, bytes]:
    entry = {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": _digest(manifest),
        "size": len(manifest),
    }
    entries = [{**entry, "annotations": {"io.containerd.image.name": name}} for name in names]
    return {
        "oci-layout": b'{"imageLayoutVersion": "1.0.0"}',
        "index.json": json.dumps({"schemaVersion": 2, "manifests": entries}).encode(),
    }


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _blob(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _add(tar: tarfile.TarFile, name: str, content: IO[bytes], size: int) -> None:
    info = tarfile.TarInfo(name)
    info.size = size
    tar.addfile(info, content)
