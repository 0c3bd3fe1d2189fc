"""A server that answers as AWS does (moto's), for the tests: real requests of the real boto3."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import boto3  # type: ignore[import-untyped]
import pytest
from moto.server import ThreadedMotoServer


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """Its URL."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as the stand-in takes; and no file of this machine's user is read."""
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing-secret",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def kms(server: str, credentials: None) -> Iterator[object]:
    """A client of one's own, to prepare keys with."""
    client = boto3.client("kms", endpoint_url=server)
    yield client
    client.close()


@pytest.fixture
def secretsmanager(server: str, credentials: None) -> Iterator[object]:
    client = boto3.client("secretsmanager", endpoint_url=server)
    yield client
    client.close()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory is a project with an environment that is deployed."""
    (tmp_path / "turnout.toml").write_text('[project]\nname = "shop"\n[environments.production.limits]\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TURNOUT_ENV", "production")
    return tmp_path
