"""An etcd and an API server of a test's own, on loopback, without nodes and controllers.

For what concerns a whole cluster and would meet others' namespaces in the shared one.
"""

from __future__ import annotations

import json
import secrets
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import requests
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.cluster.configs import audit_policy
from tests.cluster.settings import HOST, current_instance

READY_SECONDS = 60.0
ADMINISTRATOR = "administrator"


class ControlPlane:
    """Started on entering. The users are the administrator and service accounts by name."""

    def __init__(self, folder: Path, accounts: Mapping[str, str]) -> None:
        """*accounts*: namespace of each service account that may log in, by its name."""
        instance = current_instance()
        self._etcd = instance.binary("etcd", "etcd", instance.versions.etcd)
        self._api_server = instance.kubernetes_bin / "kube-apiserver"
        self._folder = folder
        self._ports = free_ports(3)
        self._tokens = {name: secrets.token_hex(16) for name in (ADMINISTRATOR, *accounts)}
        self._accounts = accounts
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> ControlPlane:
        client, peer, api = self._ports
        self._write_files()
        urls = {name: f"http://{HOST}:{port}" for name, port in (("c", client), ("p", peer))}
        self._start(
            "etcd",
            self._etcd,
            *(f"--data-dir={self._folder / 'etcd'}", "--unsafe-no-fsync", "--log-level=warn"),
            *(f"--listen-client-urls={urls['c']}", f"--advertise-client-urls={urls['c']}"),
            f"--listen-peer-urls={urls['p']}",
            f"--initial-advertise-peer-urls={urls['p']}",
            f"--initial-cluster=default={urls['p']}",
        )
        key = self._folder / "service-account.key"
        self._start(
            "kube-apiserver",
            self._api_server,
            *(f"--bind-address={HOST}", f"--secure-port={api}", f"--advertise-address={HOST}"),
            *(f"--cert-dir={self._folder}", f"--etcd-servers={urls['c']}"),
            # As OpenShift has it: who sets owners needs rights for it.
            "--enable-admission-plugins=OwnerReferencesPermissionEnforcement",
            *("--authorization-mode=RBAC", f"--token-auth-file={self._folder / 'tokens.csv'}"),
            "--service-account-issuer=https://kubernetes.default.svc",
            *(f"--service-account-key-file={key}", f"--service-account-signing-key-file={key}"),
            "--service-cluster-ip-range=198.19.240.0/24",
            "--endpoint-reconciler-type=none",
            f"--audit-policy-file={self._folder / 'audit.yaml'}",
            f"--audit-log-path={self._folder / 'audit.log'}",
        )
        try:
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._processes):
            process.kill()
            process.wait(20)

    def kubeconfig(self, user: str = ADMINISTRATOR) -> str:
        """Path of a kubeconfig of the administrator or of a service account."""
        path = self._folder / f"{user}.kubeconfig"
        server = {
            "server": f"https://{HOST}:{self._ports[2]}",
            # It signed its certificate itself.
            "certificate-authority": str(self._folder / "apiserver.crt"),
        }
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "own", "cluster": server}],
            "users": [{"name": user, "user": {"token": self._tokens[user]}}],
            "contexts": [{"name": "own", "context": {"cluster": "own", "user": user}}],
            "current-context": "own",
        }
        path.write_text(yaml.safe_dump(document))
        return str(path)

    def requests_of(self, account: str) -> list[dict[str, Any]]:
        """What the audit log has of a service account, oldest first."""
        lines = (self._folder / "audit.log").read_text().splitlines()
        name = f"system:serviceaccount:{self._accounts[account]}:{account}"
        return [event for line in lines if (event := json.loads(line))["user"]["username"] == name]

    def _write_files(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        rows = [f"{self._tokens[ADMINISTRATOR]},{ADMINISTRATOR},1,system:masters"]
        rows += [
            f"{self._tokens[name]},system:serviceaccount:{space}:{name},{name},"
            f'"system:serviceaccounts,system:serviceaccounts:{space}"'
            for name, space in self._accounts.items()
        ]
        (self._folder / "tokens.csv").write_text("\n".join(rows) + "\n")
        (self._folder / "audit.yaml").write_text(yaml.safe_dump(audit_policy()))
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        (self._folder / "service-account.key").write_bytes(pem)

    def _start(self, name: str, program: Path, *flags: str) -> None:
        with (self._folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen([program, *flags], stdout=log, stderr=subprocess.STDOUT)
        self._processes.append(process)

    def _wait(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not self._ready():
            if time.monotonic() > deadline or any(
                one.poll() is not None for one in self._processes
            ):
                logs = [path.read_text()[-2000:] for path in self._folder.glob("*.log")]
                raise AssertionError("the API server does not get ready\n" + "\n".join(logs))
            time.sleep(0.1)

    def _ready(self) -> bool:
        certificate = self._folder / "apiserver.crt"
        if not certificate.exists():
            return False
        headers = {"Authorization": f"Bearer {self._tokens[ADMINISTRATOR]}"}
        url = f"https://{HOST}:{self._ports[2]}/readyz"
        try:
            answer = requests.get(url, headers=headers, verify=str(certificate), timeout=5)
        except requests.RequestException:
            return False
        return answer.status_code == 200


def free_ports(count: int) -> list[int]:
    """So many ports of loopback that nobody listens on."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind((HOST, 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()
