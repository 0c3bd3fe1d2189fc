"""Python's own HTTP client in jails: through the broker, to what the job may reach, with credentials that it never has."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from turnout.interfaces.sandbox import Credential, Egress, Exchange, Failure, Limits, Outcome, Success
from turnout.testing.python_sandbox import python_bundle
from turnout.testing.sandbox import job
from turnout_ecs.jail.options import ChrootOptions
from turnout_ecs.jail.sandbox import ChrootSandbox

PLACEHOLDER = "turnout-secret-0123456789abcdef"


class Server(BaseHTTPRequestHandler):
    """Says how long a body was and who sent it; `/big` is three megabytes."""

    protocol_version = "HTTP/1.1"
    heard: ClassVar[list[str]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        type(self).heard.append(str(self.headers["authorization"]))
        self._say(json.dumps({"length": len(body)}).encode())

    def do_GET(self) -> None:
        self._say(b"x" * 3_000_000 if self.path == "/big" else b"small")

    def _say(self, said: bytes) -> None:
        self.send_response(200)
        self.send_header("content-length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def server() -> Iterator[tuple[int, list[str]]]:
    class Here(Server):
        heard: ClassVar[list[str]] = []

    with ThreadingHTTPServer(("127.0.0.1", 0), Here) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port, Here.heard
        server.shutdown()


@pytest.fixture
async def sandbox(jail: Path) -> AsyncIterator[ChrootSandbox]:
    sandbox = ChrootSandbox(ChrootOptions(jail=jail, warm_floor=1, openable=("127.0.0.0/8",)))
    await sandbox.start()
    yield sandbox
    await sandbox.close()


async def run(sandbox: ChrootSandbox, bundle: Path, source: str, data: Any, egress: Egress) -> Outcome:
    handle = await sandbox.acquire("acme", python_bundle(bundle, source), Limits())
    try:
        return await handle.run(job("step.py", data, egress=egress))
    finally:
        await handle.release()


def to(port: int, **more: Any) -> Egress:
    return Egress(hosts=("127.0.0.1", f"127.0.0.1:{port}"), **more)


async def test_urllib_reaches_what_the_job_may_reach_with_the_secret_put_in_on_the_way(
    sandbox: ChrootSandbox, tmp_path: Path, server: tuple[int, list[str]]
) -> None:
    port, heard = server
    source = """import json, urllib.request
def main(input, context):
    request = urllib.request.Request(input['url'] + '/orders', data=b'y' * 400_000, method='POST')
    request.add_header('Authorization', 'Bearer ' + input['secret'])
    with urllib.request.urlopen(request, timeout=10) as response:
        posted = json.load(response)
    with urllib.request.urlopen(input['url'] + '/big') as response:
        return [posted, len(response.read())]
"""
    exchanges: list[Exchange] = []
    credential = Credential(placeholder=PLACEHOLDER, secret="hunter2", hosts=(f"127.0.0.1:{port}",))
    egress = to(port, credentials=(credential,), observe=exchanges.append)

    given = {"url": f"http://127.0.0.1:{port}", "secret": PLACEHOLDER}
    outcome = await run(sandbox, tmp_path, source, given, egress)

    assert isinstance(outcome, Success), outcome
    assert json.loads(outcome.output.json) == [{"length": 400_000}, 3_000_000]
    assert outcome.network
    assert heard == ["Bearer hunter2"]
    assert [(exchange.method, exchange.path) for exchange in exchanges] == [("POST", "/orders"), ("GET", "/big")]


async def test_connections_of_several_threads_do_not_mix(
    sandbox: ChrootSandbox, tmp_path: Path, server: tuple[int, list[str]]
) -> None:
    source = """import http.client
from concurrent.futures import ThreadPoolExecutor
def main(port, context):
    def fetch(number):
        connection = http.client.HTTPConnection('127.0.0.1', port, timeout=10)
        sizes = []
        for path in ('/big', '/small') if number % 2 else ('/small', '/big'):
            connection.request('GET', path)
            sizes.append(len(connection.getresponse().read()))
        connection.close()
        return sizes
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(fetch, range(6)))
"""

    outcome = await run(sandbox, tmp_path, source, server[0], to(server[0]))

    assert isinstance(outcome, Success), outcome
    assert json.loads(outcome.output.json) == [[5, 3_000_000], [3_000_000, 5]] * 3


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "http://example.com/", "https://169.254.169.254/latest"])
async def test_what_the_job_may_not_reach_is_refused(sandbox: ChrootSandbox, tmp_path: Path, url: str) -> None:
    source = "import urllib.request\ndef main(url, context): return urllib.request.urlopen(url, timeout=10).status"

    outcome = await run(sandbox, tmp_path, source, url, Egress(hosts=("127.0.0.1:9",)))

    assert isinstance(outcome, Failure), outcome
    assert outcome.kind in ("URLError", "HTTPError")
    assert outcome.network
