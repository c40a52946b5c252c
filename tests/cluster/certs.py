"""Keys and certificates of the cluster, made anew when they are about to expire."""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.cluster.settings import HOST, NODE_NAME, Instance

LIFETIME = dt.timedelta(days=365)
RENEW_BEFORE = dt.timedelta(days=2)
"""A cluster that is started now should not lose its certificates while it is in use."""


@dataclass(frozen=True)
class Holder:
    """Who a certificate is for."""

    file: str
    common_name: str
    organization: str = ""
    names: tuple[str, ...] = ()
    """DNS names and addresses of a server; empty for a mere client."""


def holders(instance: Instance) -> list[Holder]:
    """Every certificate that the authority signs."""
    network = instance.network
    api_names = (
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "localhost",
        HOST,
        network.node_address,
        network.api_service_address,
    )
    return [
        Holder("apiserver", "kube-apiserver", names=api_names),
        Holder("etcd", "etcd", names=("localhost", HOST)),
        Holder("kubelet-server", NODE_NAME, names=(NODE_NAME, network.node_address)),
        Holder("kubelet", f"system:node:{NODE_NAME}", "system:nodes"),
        Holder("apiserver-kubelet-client", "kube-apiserver-kubelet-client", "system:masters"),
        Holder("controller-manager", "system:kube-controller-manager", names=(HOST,)),
        Holder("scheduler", "system:kube-scheduler", names=(HOST,)),
        Holder("kube-proxy", "system:kube-proxy"),
        Holder("kwok", "wpsjobs:kwok", "system:masters"),
        Holder("admin", "wpsjobs:admin", "system:masters"),
    ]


def ensure_certificates(instance: Instance, now: dt.datetime) -> bool:
    """Make all certificates unless those that are there still last. True: they are new."""
    directory = instance.pki
    if all(_lasts(directory, holder, now) for holder in holders(instance)) and _lasts(
        directory, Holder("ca", "wpsjobs test cluster"), now
    ):
        return False
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o700)
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca = _authority(ca_key, now)
    _write(directory, "ca", ca_key, ca)
    for holder in holders(instance):
        key = ec.generate_private_key(ec.SECP256R1())
        _write(directory, holder.file, key, _certificate(holder, key, ca, ca_key, now))
    # Tokens are signed with RSA: the one algorithm that every client of the issuer's keys knows.
    _write_service_account_key(directory)
    return True


def _lasts(directory: Path, holder: Holder, now: dt.datetime) -> bool:
    try:
        pem = (directory / f"{holder.file}.crt").read_bytes()
        certificate = x509.load_pem_x509_certificate(pem)
    except (OSError, ValueError):
        return False
    if not (directory / f"{holder.file}.key").exists():
        return False
    return certificate.not_valid_after_utc - now > RENEW_BEFORE and _names(certificate) == sorted(
        holder.names
    )


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return sorted(str(name.value) for name in found.value)


def _subject(common_name: str, organization: str = "") -> x509.Name:
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if organization:
        parts.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    return x509.Name(parts)


def _authority(key: ec.EllipticCurvePrivateKey, now: dt.datetime) -> x509.Certificate:
    name = _subject("wpsjobs test cluster")
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        _builder(name, name, key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _certificate(
    holder: Holder,
    key: ec.EllipticCurvePrivateKey,
    ca: x509.Certificate,
    ca_key: ec.EllipticCurvePrivateKey,
    now: dt.datetime,
) -> x509.Certificate:
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
    if holder.names:
        usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    builder = (
        _builder(
            _subject(holder.common_name, holder.organization), ca.subject, key.public_key(), now
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(issuer, critical=False)
    )
    if holder.names:
        names = x509.SubjectAlternativeName(_general_names(holder.names))
        builder = builder.add_extension(names, critical=False)
    return builder.sign(ca_key, hashes.SHA256())


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: dt.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))  # a clock may be a little off
        .not_valid_after(now + LIFETIME)
    )


def _general_names(names: Sequence[str]) -> list[x509.GeneralName]:
    result: list[x509.GeneralName] = []
    for name in names:
        try:
            result.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            result.append(x509.DNSName(name))
    return result


def _write(
    directory: Path, name: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate
) -> None:
    _write_key(directory / f"{name}.key", key)
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    (directory / f"{name}.crt").write_bytes(pem)


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> None:
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.touch(mode=0o600)
    path.write_bytes(pem)


def _write_service_account_key(directory: Path) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    _write_key(directory / "service-account.key", key)
    pem = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (directory / "service-account.pub").write_bytes(pem)
