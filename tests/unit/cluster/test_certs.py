"""Certificates are kept while they last and made anew in time."""

import datetime as dt
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509

from tests.cluster import certs
from tests.cluster.settings import Instance, make_instance

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    return replace(make_instance("default", {}), state=tmp_path)


def test_certificates_are_made_once_and_again_before_they_expire(instance: Instance) -> None:
    assert certs.ensure_certificates(instance, NOW)
    assert not certs.ensure_certificates(instance, NOW + dt.timedelta(days=300))
    assert certs.ensure_certificates(instance, NOW + certs.LIFETIME - dt.timedelta(days=1))


@pytest.mark.parametrize("name", ["ca.crt", "admin.key", "apiserver.crt"])
def test_a_file_that_is_missing_or_broken_makes_all_anew(instance: Instance, name: str) -> None:
    certs.ensure_certificates(instance, NOW)
    path = instance.pki / name
    path.unlink()
    assert certs.ensure_certificates(instance, NOW)


def test_the_api_server_is_known_by_each_address_that_clients_use(instance: Instance) -> None:
    certs.ensure_certificates(instance, NOW)
    pem = (instance.pki / "apiserver.crt").read_bytes()
    extension = x509.load_pem_x509_certificate(pem).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    names = {str(name.value) for name in extension.value}
    assert {"127.0.0.1", "198.18.0.1", "198.19.0.1", "kubernetes.default.svc"} <= names


def test_keys_are_for_their_owner_alone(instance: Instance) -> None:
    certs.ensure_certificates(instance, NOW)
    for key in instance.pki.glob("*.key"):
        assert key.stat().st_mode & 0o077 == 0, key
