"""One scenario, wherever the services run: a webhook becomes an execution with a record, a line of its log, an alert and a
refreshed token, and a schedule starts another flow."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]
import pytest
from turnout_ecs.testing.servers import RedisServer
from turnout_postgres.standins.server import PostgresServer

from plugins.lambda_backend.tests.stand_in import StandIn
from tests.dev.commands import TURNOUT, environment, until
from tests.worker.processes import Dev, OneService, Process, Serve, Worker

DEFINITION = """
integration: shop
version: 1.0.0
connections: {erp: {connector: http, type: oauth2_client}}
flows:
  take:
    trigger: {webhook: {}}
    steps:
      - {id: say, code: "export default (order) => { console.log('took order ' + order.number); return order }", with: "${{ trigger.body }}"}
      - {id: post, action: http.request, connection: erp, with: {method: POST, url: /orders, json: "${{ steps.say }}"}}
  break:
    trigger: {webhook: {}}
    steps: [{id: done, stop: {error: "the shelf is empty"}}]
  tick:
    trigger: {schedule: {every: 1s}}
    steps: [{id: done, stop: {output: "${{ trigger.scheduled_at }}"}}]
"""
SETTINGS = """
[api]
authentication = "none"
[logs.all]
kind = "file"
options = { path = "logs.jsonl" }
[alerts.channels.hook]
kind = "webhook"
url = "%(url)s/alerts"
secret = "env:HOOK_SECRET"
[alerts.rules.broken]
kind = "failed"
channels = ["hook"]
flows = ["break"]
"""
ON_SERVERS = """
[stores]
queue = "redis"
journal = "redis"
state = "redis"
records = "postgres"
catalog = "postgres"
[backends.redis]
url = "env:REDIS_URL"
[backends.postgres]
url = "env:DATABASE_URL"
"""
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


@dataclass
class World:
    """What is outside: the provider of tokens, which last for a second, the ERP, and who hears of alerts."""

    tokens: int = 0
    orders: list[tuple[str, Any]] = field(default_factory=list)
    alerts: list[dict[str, Any]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, path: str, headers: Any, body: bytes) -> dict[str, Any]:
        with self.lock:
            match path:
                case "/token":
                    self.tokens += 1
                    return {"access_token": f"tok-{self.tokens:08}", "token_type": "Bearer", "expires_in": 1}
                case "/orders":
                    self.orders.append((headers["authorization"], json.loads(body)))
                case "/alerts":
                    self.alerts.append({"id": headers["webhook-id"], **json.loads(body)})
            return {}


@pytest.fixture
def world() -> Iterator[tuple[World, str]]:
    outside = World()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            answer = json.dumps(outside.answer(self.path, self.headers, body)).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *arguments: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield outside, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Place:
    """A project with its processes: `hooks` is where webhooks go, `api` who answers for records."""

    directory: Path
    env: dict[str, str]
    hooks: Process
    api: Process

    def send(self, flow: str, body: Any) -> str:
        answer = self.hooks.client.post(f"/hooks/acme/shop/{flow}", json=body)
        assert answer.status_code == 202, answer.text
        id: str = answer.json()["execution"]
        return id

    def records(self, flow: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.api.client.get("/api/v1/executions", params={"flow": flow}).json()["items"]
        return found

    def log(self) -> list[dict[str, Any]]:
        file = next(
            (found for found in (self.directory, self.directory / ".turnout") if (found / "logs.jsonl").exists()), None
        )
        return [] if file is None else [json.loads(line) for line in (file / "logs.jsonl").read_text().splitlines()]


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


def turnout(directory: Path, env: dict[str, str], *arguments: str, given: str = "") -> None:
    done = subprocess.run(
        [TURNOUT, *arguments],
        cwd=directory,
        env=environment(**env),
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def deploy(directory: Path, env: dict[str, str], url: str) -> None:
    turnout(directory, env, "integrations", "publish", "shop.yaml")
    turnout(directory, env, "customers", "create", "acme")
    fields = [f"base_url={url}", f"token_url={url}/token", "client_id=shop"]
    create = ["connections", "create", "acme", "erp", "--connector", "http", "--type", "oauth2_client"]
    given = [part for one in fields for part in ("--field", one)]
    turnout(directory, env, *create, *given, "--secret", "client_secret", given="hush-hush-hush\n")
    turnout(directory, env, "instances", "deploy", "acme", "shop")


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
    place: Callable[[ExitStack, Path, dict[str, str]], Place] | str,
    world: tuple[World, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outside, url = world
    env = {"HOOK_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
    project = tmp_path / "project"
    project.mkdir()
    (project / "shop.yaml").write_text(DEFINITION)
    with ExitStack() as stack:
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

        running.send("take", {"number": 1})
        until(lambda: len(outside.orders) == 1, seconds=60)
        before = len(running.records("tick"))
        until(lambda: len(running.records("tick")) >= before + 3, seconds=60)  # by then the token has expired
        running.send("take", {"number": 2})
        running.send("break", {})
        until(lambda: len(outside.orders) == 2 and bool(outside.alerts), seconds=60)
        until(lambda: len([one for one in running.records("take") if one["status"] == "succeeded"]) == 2, seconds=60)
        until(lambda: sum("took order" in json.dumps(line) for line in running.log()) == 2, seconds=60)

        assert [body for _, body in outside.orders] == [{"number": 1}, {"number": 2}]
        assert len({token for token, _ in outside.orders}) == 2
        assert [one["status"] for one in running.records("break")] == ["failed"]
        assert {alert["type"] for alert in outside.alerts} == {"alert.opened"}
        assert len({alert["id"] for alert in outside.alerts}) == 1
        ticks = [one["output"] for one in running.records("tick") if one["status"] == "succeeded"]
        assert len(set(ticks)) == len(ticks)
        assert "hush-hush-hush" not in json.dumps(running.log())
