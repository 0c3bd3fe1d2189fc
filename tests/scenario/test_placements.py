"""The scenario, wherever processes run the services."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import boto3  # type: ignore[import-untyped]
import pytest
from turnout_ecs.testing.servers import RedisServer
from turnout_postgres.standins.server import PostgresServer

from plugins.lambda_backend.tests.stand_in import StandIn
from tests.scenario.scenario import (
    DEFINITION,
    HOOK_SECRET,
    ON_SERVERS,
    SETTINGS,
    Place,
    World,
    deploy,
    play,
    served,
    turnout,
)
from tests.worker.processes import Dev, OneService, Serve, Worker

ON_AWS = """
[stores]
queue = "sqs"
payloads = "s3"
journal = "postgres"
state = "postgres"
records = "postgres"
catalog = "postgres"
[backends.sqs]
queue = "turnout"
[backends.s3]
bucket = "turnout"
[backends.postgres]
url = "env:DATABASE_URL"
"""
AWS_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing-secret",
    "AWS_DEFAULT_REGION": "eu-central-1",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
}
ALONE = ("ingress", "metadata", "scheduler", "logs", "alerts", "oauth", "api", "instances")


def one_process(stack: ExitStack, directory: Path, env: dict[str, str]) -> Place:
    dev = stack.enter_context(Dev(directory, name="dev", env=env))
    return Place(directory, env, dev, dev)


def serve_and_worker(stack: ExitStack, directory: Path, env: dict[str, str]) -> Place:
    stack.enter_context(Worker(directory, env=env))
    serve = stack.enter_context(Serve(directory, name="serve", env=env))
    return Place(directory, env, serve, serve)


def each_alone(stack: ExitStack, directory: Path, env: dict[str, str]) -> Place:
    stack.enter_context(Worker(directory, env=env))
    running = {
        name: stack.enter_context(OneService(directory, arguments=(name,), name=name, env=env)) for name in ALONE
    }
    return Place(directory, env, running["ingress"], running["api"])


def on_aws(stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A queue of SQS and a bucket of S3, at a stand-in: what reaches them."""
    stand_in = stack.enter_context(StandIn())
    env = AWS_ENVIRONMENT | {"AWS_ENDPOINT_URL": stand_in.url}
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    session = boto3.session.Session()
    session.client("sqs").create_queue(QueueName="turnout")
    session.client("s3").create_bucket(
        Bucket="turnout", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
    )
    return env


@pytest.mark.parametrize("place", [one_process, serve_and_worker, each_alone, "on servers", "on aws"])
def test_the_scenario(
    place: Callable[[ExitStack, Path, dict[str, str]], Place] | str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = World()
    env = {"HOOK_SECRET": HOOK_SECRET}
    project = tmp_path / "project"
    project.mkdir()
    (project / "shop.yaml").write_text(DEFINITION)
    with ExitStack() as stack:
        url = stack.enter_context(served(outside))
        settings = SETTINGS % {"url": url}
        if place == "on aws":
            env |= on_aws(stack, monkeypatch) | {"DATABASE_URL": stack.enter_context(PostgresServer()).url}
            settings += ON_AWS
        elif isinstance(place, str):
            redis = stack.enter_context(RedisServer(tmp_path / "redis"))
            postgres = stack.enter_context(PostgresServer())
            env |= {"REDIS_URL": redis.url, "DATABASE_URL": postgres.url}
            settings += ON_SERVERS
        (project / "turnout.toml").write_text(settings)
        if isinstance(place, str):
            turnout(project, env, "postgres", "migrate")
        deploy(project, env, url)
        running = (serve_and_worker if isinstance(place, str) else place)(stack, project, env)

        play(running, outside)
