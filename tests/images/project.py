"""The project whose image is tested: the orders example, with its runner on ECS, and the servers beside it."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import boto3  # type: ignore[import-untyped]
from turnout_ecs.testing.servers import RedisServer
from turnout_postgres.standins.server import PostgresServer

from plugins.lambda_backend.tests.stand_in import StandIn
from tests.scenario.scenario import turnout

__all__ = ["SETTINGS", "STORES", "Beside", "beside"]

STORES: Final = """
[stores]
queue = "redis"
journal = "redis"
state = "redis"
records = "postgres"
catalog = "postgres"
payloads = "s3"
[backends.redis]
url = "env:REDIS_URL"
[backends.postgres]
url = "env:DATABASE_URL"
[backends.s3]
bucket = "shop-payloads"
"""
SETTINGS: Final = f"""
[project]
name = "shop"
[api]
authentication = "none"
[runner]
sandbox = "chroot"
concurrency = 2
{STORES}
[services]
runner = {{ target = "ecs", memory = "2 GB" }}
oauth = {{ target = "ecs" }}
[targets.ecs]
base = "%(base)s"
"""
_AWS: Final = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing-secret",
    "AWS_DEFAULT_REGION": "eu-central-1",
}
_NO_FILES: Final = {"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """The servers: `secrets` say where they are, by the variables that settings refer to; `machine` is what AWS gives a task."""

    secrets: Mapping[str, str]
    machine: Mapping[str, str]

    @property
    def environment(self) -> dict[str, str]:
        """For a command on this machine."""
        return {**self.secrets, **self.machine, **_NO_FILES}


@contextmanager
def beside(project: Path, directory: Path, **more: str) -> Iterator[Beside]:
    """A Redis, a PostgreSQL with its tables, and a bucket; `more` are secrets besides."""
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer(directory / "redis"))
        postgres = stack.enter_context(PostgresServer())
        aws = stack.enter_context(StandIn())
        key = base64.b64encode(os.urandom(32)).decode()
        found = Beside(
            secrets={"REDIS_URL": redis.url, "DATABASE_URL": postgres.url, "TURNOUT_SECRET_KEY": key, **more},
            machine={**_AWS, "AWS_ENDPOINT_URL": aws.url},
        )
        client = boto3.client("s3", endpoint_url=aws.url, aws_access_key_id="testing", aws_secret_access_key="testing")
        client.create_bucket(Bucket="shop-payloads", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        client.close()
        turnout(project, found.environment, "postgres", "migrate")
        yield found
