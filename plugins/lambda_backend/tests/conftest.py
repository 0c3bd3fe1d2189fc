"""The stand-in for AWS, and what reaches it: real requests of the real boto3."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import boto3  # type: ignore[import-untyped]
import pytest

from plugins.lambda_backend.tests.stand_in import StandIn

_NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def stand_in() -> Iterator[StandIn]:
    with StandIn() as server:
        yield server


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
def s3(stand_in: StandIn, credentials: None) -> Iterator[Any]:
    """A client of one's own, to prepare and to look with."""
    client = boto3.client("s3", endpoint_url=stand_in.url)
    yield client
    client.close()


@pytest.fixture
def sqs(stand_in: StandIn, credentials: None) -> Any:
    """A client of one's own. It stays open: polls that nobody waits for any more may use it."""
    return boto3.client("sqs", endpoint_url=stand_in.url)


@pytest.fixture
def bucket(s3: Any) -> str:
    """An empty one."""
    name = f"turnout-{next(_NUMBERS)}"
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    return name
