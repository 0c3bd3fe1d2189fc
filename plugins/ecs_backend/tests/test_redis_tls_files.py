"""Certificates and keys that cannot be used are named at the start, which waits for nobody."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from turnout.errors import SettingsError
from turnout.interfaces.secrets import Secret
from turnout_ecs.options import Address, RedisOptions
from turnout_ecs.testing.tls import write_certificate


async def as_written(reference: str) -> Secret:
    return Secret(reference)


@pytest.mark.parametrize("together", [False, True], ids=["a key file", "key and certificate in one file"])
async def test_an_encrypted_key_is_refused_without_asking_for_its_password(tmp_path: Path, together: bool) -> None:
    write_certificate(tmp_path)
    certificate, key = tmp_path / "server.pem", tmp_path / "server.key"
    encrypted = serialization.load_pem_private_key(key.read_bytes(), None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"a password"),
    )
    key.write_bytes(encrypted)
    if together:
        certificate.write_bytes(certificate.read_bytes() + encrypted)
    options = RedisOptions(url="rediss://127.0.0.1", tls_cert_file=certificate, tls_key_file=None if together else key)

    with pytest.raises(SettingsError, match="the key is encrypted") as caught:
        await Address.of(options, as_written)

    assert caught.value.setting == f"backends.redis.tls_{'cert' if together else 'key'}_file"


async def test_a_key_that_is_not_encrypted_is_used(tmp_path: Path) -> None:
    write_certificate(tmp_path)
    options = RedisOptions(
        url="rediss://127.0.0.1", tls_cert_file=tmp_path / "server.pem", tls_key_file=tmp_path / "server.key"
    )

    address = await Address.of(options, as_written)

    assert address.tls is not None
