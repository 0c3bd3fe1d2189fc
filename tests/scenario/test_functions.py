"""The scenario with the auxiliary services on Lambda, from the zip that is deployed, and the runner on this machine."""

from __future__ import annotations

import base64
import os
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]
import pytest
from cfnlint.api import ManualArgs, lint  # type: ignore[import-untyped]
from turnout_ecs.testing.servers import RedisServer
from turnout_postgres.standins.server import PostgresServer

from plugins.lambda_backend.tests.stand_in import StandIn
from tests.dev.commands import TURNOUT, environment
from tests.scenario.functions import HERE, Function, Host, functions
from tests.scenario.scenario import DEFINITION, HOOK_SECRET, Place, World, deploy, play, served, turnout
from tests.worker.processes import Serve, Worker

SETTINGS = """
[project]
name = "shop"
[api]
authentication = "none"
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
[logs.all]
kind = "otlp"
options = { url = "%(url)s" }
[alerts.channels.hook]
kind = "webhook"
url = "%(url)s/alerts"
secret = "env:HOOK_SECRET"
[alerts.rules.broken]
kind = "failed"
channels = ["hook"]
flows = ["break"]
[services]
alerts = { target = "lambda" }
logs = { target = "lambda" }
metadata = { target = "lambda" }
oauth = { target = "lambda", memory = "1GB" }
scheduler = { target = "lambda" }
"""
AWS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing-secret",
    "AWS_DEFAULT_REGION": "eu-central-1",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
}
SECRETS = {
    "HOOK_SECRET": "HookSecretSecret",
    "REDIS_URL": "RedisUrlSecret",
    "DATABASE_URL": "DatabaseUrlSecret",
    "TURNOUT_SECRET_KEY": "TurnoutSecretKeySecret",
}
"""Environment variables, and the template's parameters that say where their values are."""
EVERY_S = 0.3
"""A minute, for somebody in a hurry."""


@dataclass
class OnFunctions(Place):
    """Logs arrive at the collector outside."""

    outside: World = field(default_factory=World)

    def log(self) -> list[dict[str, Any]]:
        return list(self.outside.lines)


def secrets(endpoint: str, values: Mapping[str, str], parameters: Mapping[str, str] = SECRETS) -> dict[str, str]:
    """Put the values where an account has them; the template's `parameters` for them, by their variables."""
    client = boto3.client("secretsmanager", endpoint_url=endpoint, region_name="eu-central-1")
    try:
        return {
            parameter: client.create_secret(Name=f"shop/{name}", SecretString=values[name])["ARN"]
            for name, parameter in parameters.items()
        }
    finally:
        client.close()


@contextmanager
def called_by_the_clock(made: Mapping[str, Function]) -> Iterator[list[tuple[str, Any]]]:
    """Call each function again and again, as its schedule does; what was raised."""
    stop, failures = threading.Event(), []

    def drive(name: str, function: Function) -> None:
        while not stop.is_set():
            answer = function.call()
            if answer.error is not None:
                failures.append((name, answer.error))
            stop.wait(EVERY_S)

    threads = [threading.Thread(target=drive, args=one) for one in made.items()]
    for thread in threads:
        thread.start()
    try:
        yield failures
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def packaged(project: Path) -> Path:
    """What `turnout package` makes, without an account, a store or a secret."""
    done = subprocess.run(
        [TURNOUT, "package"], cwd=project, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return project / "dist" / "lambda"


def request(path: str) -> dict[str, Any]:
    """A request as a function URL passes it on
    (https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-payloads)."""
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"host": "x.lambda-url.eu-central-1.on.aws", "accept": "text/html"},
        "requestContext": {
            "http": {
                "method": "GET",
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "203.0.113.9",
                "userAgent": "-",
            },
            "stage": "$default",
        },
        "isBase64Encoded": False,
    }


@pytest.mark.timeout(600)
def test_the_scenario_with_services_on_lambda(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    play_on_functions(tmp_path, monkeypatch, HERE)


def play_on_functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: Host) -> None:
    outside = World()
    project = tmp_path / "project"
    project.mkdir()
    (project / "shop.yaml").write_text(DEFINITION)
    for name, value in AWS.items():
        monkeypatch.setenv(name, value)
    with ExitStack() as stack:
        url = stack.enter_context(served(outside))
        redis = stack.enter_context(RedisServer(tmp_path / "redis"))
        postgres = stack.enter_context(PostgresServer())
        aws = stack.enter_context(StandIn())
        values = {
            "HOOK_SECRET": HOOK_SECRET,
            "REDIS_URL": redis.url,
            "DATABASE_URL": postgres.url,
            "TURNOUT_SECRET_KEY": base64.b64encode(os.urandom(32)).decode(),
        }
        env = {**values, **AWS, "AWS_ENDPOINT_URL": aws.url}
        s3 = boto3.client("s3", endpoint_url=aws.url)
        s3.create_bucket(Bucket="shop-payloads", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        s3.close()
        (project / "turnout.toml").write_text(SETTINGS % {"url": url})
        package = packaged(project)
        found = lint((package / "template.json").read_text(), config=ManualArgs(regions=["eu-central-1"]))
        assert [str(one) for one in found if one.rule.id[0] in "EW"] == []
        turnout(project, env, "postgres", "migrate")
        deploy(project, env, url)
        parameters, machine = secrets(aws.url, values), {**AWS, "AWS_ENDPOINT_URL": aws.url}
        made = stack.enter_context(functions(package, tmp_path / "lambda", parameters, machine, host))
        pages = made.pop("oauth_http")
        # Cold, one after another, as somebody who has just deployed tries them.
        assert {name: function.call().error for name, function in made.items()} == dict.fromkeys(made)
        stack.enter_context(Worker(project, env=env))
        serve = stack.enter_context(Serve(project, name="serve", env=env))
        failures = stack.enter_context(called_by_the_clock(made))

        play(OnFunctions(project, env, serve, serve, outside), outside)
        page = pages.call(request("/connect/nobody"))

        assert failures == []
        assert page.value["statusCode"] == 404
