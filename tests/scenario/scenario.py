"""One scenario for every placement: a webhook becomes an execution with a record, a line of its log, an alert and a refreshed
token, and a schedule starts another flow."""

from __future__ import annotations

import gzip
import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.dev.commands import TURNOUT, environment, until
from tests.worker.processes import Process

__all__ = [
    "DEFINITION",
    "HOOK_SECRET",
    "ON_SERVERS",
    "SETTINGS",
    "Place",
    "World",
    "deploy",
    "play",
    "served",
    "turnout",
]

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
HOOK_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@dataclass
class World:
    """What is outside: the provider of tokens, which last for a second, the ERP, who hears of alerts, and a collector of logs."""

    tokens: int = 0
    orders: list[tuple[str, Any]] = field(default_factory=list)
    alerts: list[dict[str, Any]] = field(default_factory=list)
    lines: list[dict[str, Any]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, path: str, headers: Any, body: bytes) -> dict[str, Any]:
        with self.lock:
            match path:
                case "/token":
                    self.tokens += 1
                    return {"access_token": f"tok-{self.tokens:08}", "token_type": "Bearer", "expires_in": 1}
                case "/orders":
                    self.orders.append((headers["authorization"], json.loads(body)))
                case "/v1/logs":
                    text = gzip.decompress(body) if headers["content-encoding"] == "gzip" else body
                    self.lines += [
                        line
                        for resource in json.loads(text)["resourceLogs"]
                        for scope in resource["scopeLogs"]
                        for line in scope["logRecords"]
                    ]
                case "/alerts":
                    self.alerts.append({"id": headers["webhook-id"], **json.loads(body)})
            return {}


@contextmanager
def served(outside: World) -> Iterator[str]:
    """The address of the world outside."""

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
        yield f"http://127.0.0.1:{server.server_port}"
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


def play(running: Place, outside: World) -> None:
    """Go through it, and look at what came of it."""
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
