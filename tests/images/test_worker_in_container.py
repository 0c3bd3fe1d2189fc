"""The runner's task, in a container as Fargate makes one: its image, its rights, its check of health, and how it is stopped."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from turnout_connectors.standins.dropbox import DropboxStandIn
from turnout_connectors.standins.serving import serving

from examples.orders.erp import ErpStandIn
from examples.orders.make_orders import orders
from tests.dev.commands import until
from tests.images.engine import Container
from tests.images.project import Beside, beside
from tests.images.tasks import Task, task_of
from tests.scenario.scenario import turnout
from tests.worker.processes import Serve

pytestmark = pytest.mark.timeout(600)

GATED = """
integration: gated
version: 1.0.0
connections: {gate: {connector: http}}
flows:
  pass:
    trigger: {webhook: {}}
    steps:
      - {id: number, code: "export default (order) => ({ number: order.number })", with: "${{ trigger.body }}"}
      - {id: through, action: http.request, connection: gate, with: {method: POST, url: /gate, json: "${{ steps.number }}"}}
      - {id: done, stop: {output: "${{ steps.number.number }}"}}
  look:
    trigger: {webhook: {}}
    steps:
      - {id: number, code: "export default (order) => ({ number: order.number })", with: "${{ trigger.body }}"}
      - {id: count, action: state.increment, with: {key: "${{ execution.id }}"}}
      - {id: through, action: http.request, connection: gate, with: {url: "/gate?${{ steps.number.number }}"}}
      - {id: done, stop: {output: "${{ steps.count.value }}"}}
"""


@pytest.fixture
def task(package: Path, image: str, profile: Path) -> Task:
    return task_of(package, "runner", image, profile)


class Gate:
    """Whoever comes waits until it is opened."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.came: list[int] = []
        self.lock = threading.Lock()


@contextmanager
def gated(gate: Gate) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._wait(int(self.path.partition("?")[2]))

        def do_POST(self) -> None:
            self._wait(json.loads(self.rfile.read(int(self.headers["content-length"])))["number"])

        def _wait(self, number: int) -> None:
            with gate.lock:
                gate.came.append(number)
            gate.open.wait()
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            """Quiet."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """Who was stopped waits for no answer."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        gate.open.set()
        server.shutdown()
        thread.join()
        server.server_close()


def worker(task: Task, servers: Beside, *arguments: str) -> Container:
    return task.start(task.given(servers.secrets, servers.machine), "--json", *arguments)


def serve(project: Path, directory: Path, environment: dict[str, str]) -> Serve:
    """Everything but the runner, on this machine, from the same settings: the instances are customers'."""
    desk = directory / "desk"
    desk.mkdir()
    shutil.copy(project / "turnout.toml", desk)
    return Serve(desk, name="serve", env=environment)


def records(server: Serve, flow: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = server.client.get("/api/v1/executions", params={"flow": flow}).json()["items"]
    return found


@asynccontextmanager
async def shop() -> AsyncIterator[tuple[str, str, ErpStandIn]]:
    """Dropbox with its document, and the ERP."""
    dropbox, erp = DropboxStandIn(token="dropbox-token"), ErpStandIn(token="erp-token", fail_first=0)
    dropbox.put("/orders.xml", "".join(orders(200)).encode())
    async with serving(dropbox.app) as dropbox_url, serving(erp.app) as erp_url:
        yield dropbox_url, erp_url, erp


async def test_the_six_steps_run_in_it_and_its_check_of_health_answers(
    project: Path, task: Task, tmp_path: Path
) -> None:
    async with shop() as (dropbox_url, erp_url, erp):
        await asyncio.to_thread(_run_orders, project, task, tmp_path, dropbox_url, erp_url)

        [order] = erp.accepted
        assert order.body["batch"] == 1
        assert order.body["orders"]
        assert min(line["total"] for line in order.body["orders"]) >= 100


def _run_orders(project: Path, task: Task, tmp_path: Path, dropbox_url: str, erp_url: str) -> None:
    with beside(project, tmp_path) as servers:
        environment = servers.environment
        turnout(project, environment, "integrations", "publish", "integration.yaml")
        turnout(project, environment, "customers", "create", "acme")
        files = ("--connector", "dropbox", "--field", f"base_url={dropbox_url}", "--secret", "access_token")
        turnout(project, environment, "connections", "create", "acme", "files", *files, given="dropbox-token\n")
        erp = ("--connector", "http", "--type", "bearer", "--secret", "token")
        turnout(project, environment, "connections", "create", "acme", "erp", *erp, given="erp-token\n")
        turnout(project, environment, "instances", "deploy", "acme", "orders-to-erp", "--set", f"erp_url={erp_url}")
        with worker(task, servers) as container, serve(project, tmp_path, environment) as server:
            container.until(lambda: not container.running or task.healthy(container))
            assert container.running, container.log()

            hook = "/hooks/acme/orders-to-erp/sync-orders?wait=60s"
            answer = server.client.post(hook, json={"from": "a test"}, timeout=httpx.Timeout(90))

            assert answer.status_code == 200, (answer.text, container.log())
            assert answer.json()["posted"] > 0
            assert answer.json()["receipt"]
            [record] = records(server, "sync-orders")
            assert record["status"] == "succeeded"


def deploy_gated(project: Path, environment: dict[str, str], definition: Path, url: str) -> None:
    definition.write_text(GATED)
    turnout(project, environment, "integrations", "publish", str(definition))
    turnout(project, environment, "customers", "create", "acme")
    fields = ("--connector", "http", "--field", f"base_url={url}")
    turnout(project, environment, "connections", "create", "acme", "gate", *fields)
    turnout(project, environment, "instances", "deploy", "acme", "gated")


def test_told_to_stop_it_ends_what_it_has_and_another_takes_the_rest(project: Path, task: Task, tmp_path: Path) -> None:
    gate = Gate()
    with gated(gate) as url, beside(project, tmp_path) as servers:
        deploy_gated(project, servers.environment, tmp_path / "gated.yaml", url)
        with serve(project, tmp_path, servers.environment) as server:
            with worker(task, servers) as first:
                for number in range(8):
                    assert server.client.post("/hooks/acme/gated/pass", json={"number": number}).status_code == 202
                first.until(lambda: len(gate.came) == 2)

                first.signal("TERM")
                first.until(lambda: bool(first.events("draining")))
                taken = list(gate.came)
                gate.open.set()

                assert first.ended() == 0, first.log()
                assert gate.came == taken, "it took more after it was told to stop"
            with worker(task, servers):
                until(lambda: [one["status"] for one in records(server, "pass")] == ["succeeded"] * 8, seconds=120)

    assert sorted(gate.came) == list(range(8))


def test_what_takes_longer_than_it_may_is_handed_back_and_goes_on_from_there(
    project: Path, task: Task, tmp_path: Path
) -> None:
    gate = Gate()
    with gated(gate) as url, beside(project, tmp_path) as servers:
        deploy_gated(project, servers.environment, tmp_path / "gated.yaml", url)
        with serve(project, tmp_path, servers.environment) as server:
            with worker(task, servers, "--drain", "1s") as first:
                for number in range(2):
                    assert server.client.post("/hooks/acme/gated/look", json={"number": number}).status_code == 202
                first.until(lambda: len(gate.came) == 2)

                first.signal("TERM")

                assert first.ended() == 0, first.log()
                assert first.events("stopped")[0]["handed_back"] == 2
            gate.open.set()
            with worker(task, servers):
                until(lambda: [one["status"] for one in records(server, "look")] == ["succeeded"] * 2, seconds=120)
            counted = [one["output"] for one in records(server, "look")]

    assert counted == [1, 1], "a step that was complete was done again"
    assert sorted(gate.came) == [0, 0, 1, 1]
