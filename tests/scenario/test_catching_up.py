"""What reads the event stream is killed again and again while executions run, and misses nothing: a log's lines, alerts to a
webhook and records, each in a process of its own, are complete in the end, and what came twice is told by its id."""

from __future__ import annotations

import json
import threading
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from turnout.cli.project import load_project, load_registry
from turnout.definition import load_integration
from turnout.local.platform import Platform
from turnout.model.execution import Status
from turnout.services.submission import Instance
from turnout.values import Value

from tests.dev.commands import until
from tests.worker.processes import OneService, Worker

BREAKING = 9
"""Flows that fail: each is an alert of its own."""
ROUNDS = 3
LINES = 5
MOST = 1000
"""Of a consumer's call: so much may come twice when one is killed."""

FLOWS = "integration: mill\nversion: 1.0.0\nflows:\n" + "".join(
    [
        "  grind:\n    steps:\n",
        "      - {id: say, code: 'export default (n) => { for (let i = 0; i < 5; i++) console.log(`grain ${i} of ${n}`) }',\n",
        '         with: "${{ trigger.body }}"}\n',
        '      - {id: done, stop: {output: "${{ trigger.body }}"}}\n',
        *(f'  break{n}:\n    steps: [{{id: no, stop: {{error: "stone {n} is broken"}}}}]\n' for n in range(BREAKING)),
    ]
)
SETTINGS = """
[api]
authentication = "none"
[logs.all]
kind = "file"
sources = ["log", "steps", "executions"]
options = { path = "shipped.jsonl" }
[alerts.channels.hook]
kind = "webhook"
url = "%(url)s"
secret = "env:HOOK_SECRET"
[alerts.rules.broken]
kind = "failed"
channels = ["hook"]
"""
ENV = {"HOOK_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}


@dataclass
class Hook:
    """Who hears of alerts."""

    url: str = ""
    heard: list[tuple[str, dict[str, Any]]] = field(default_factory=list)


@pytest.fixture
def hook() -> Iterator[Hook]:
    told = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            told.heard.append((self.headers["webhook-id"], body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    told.url = f"http://127.0.0.1:{server.server_port}/"
    try:
        yield told
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Mill:
    """A project whose executions this process accepts, and which a worker runs."""

    directory: Path
    platform: Platform
    instance: Instance
    sent: dict[str, str] = field(default_factory=dict)

    async def send(self, *flows: str) -> None:
        for flow in flows:
            accepted = await self.platform.submission.accept(self.instance, flow, Value({"body": len(self.sent)}))
            self.sent[accepted.id] = flow

    def shipped(self) -> list[dict[str, Any]]:
        """What the log file has, as a receiver that reads it now sees it."""
        file = self.directory / ".turnout" / "shipped.jsonl"
        whole = [line for line in file.read_text().split("\n") if line.endswith("}")] if file.exists() else []
        return [json.loads(line) for line in whole]

    def start(self, stack: ExitStack, name: str, number: int) -> OneService:
        process = OneService(self.directory, arguments=(name,), name=f"{name}{number}", env=ENV)
        return stack.enter_context(process)


@asynccontextmanager
async def mill_in(directory: Path, url: str) -> AsyncIterator[Mill]:
    (directory / "turnout.toml").write_text(SETTINGS % {"url": url})
    (directory / "mill.yaml").write_text(FLOWS)
    loaded = load_project(directory)
    platform = await Platform.open(loaded, load_registry(loaded))
    try:
        instance = await platform.deploy(load_integration(directory / "mill.yaml"), config={}, connections={})
        yield Mill(directory, platform, instance)
    finally:
        await platform.close(record=False)


def killed(process: OneService) -> None:
    process.process.kill()
    process.process.wait()


async def test_what_is_killed_while_executions_run_misses_nothing(
    hook: Hook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK_SECRET", ENV["HOOK_SECRET"])
    with ExitStack() as stack:
        async with mill_in(tmp_path, hook.url) as mill:
            stack.enter_context(Worker(tmp_path))
            # All of them down: the executions run to their end.
            await mill.send(*["grind"] * 20, "break0", "break1")
            await mill.platform.drained()
            assert not mill.shipped()
            assert not hook.heard
            for number in range(ROUNDS):
                before = len(mill.shipped()), len(hook.heard)
                running = {name: mill.start(stack, name, number) for name in ("metadata", "logs", "alerts")}
                first = 2 + 2 * number
                await mill.send("grind", f"break{first}", *["grind"] * 10, f"break{first + 1}")
                # One dies at its first lines, one at its first alert, and the metadata service at whatever it is at then.
                until(lambda: len(mill.shipped()) > before[0], seconds=60)  # noqa: B023 - called within the round
                killed(running["logs"])
                await mill.send(*["grind"] * 5)
                killed(running["metadata"])
                until(lambda: len(hook.heard) > before[1], seconds=60)  # noqa: B023
                killed(running["alerts"])
                await mill.send("grind")
            await mill.send("break8")
            await mill.platform.drained()

            for name in ("metadata", "logs", "alerts"):
                mill.start(stack, name, ROUNDS)
            until(lambda: len({line["id"] for line in mill.shipped()}) >= expected_lines(mill), seconds=60)
            until(lambda: len({id for id, _ in hook.heard}) >= BREAKING, seconds=60)

            the_log_is_complete(mill)
            the_alerts_are_complete(hook)
            await the_records_are_complete(mill)


def expected_lines(mill: Mill) -> int:
    """Accepted, begun, its steps and its end; and what the code said."""
    return sum(5 + LINES if flow == "grind" else 4 for flow in mill.sent.values())


def the_log_is_complete(mill: Mill) -> None:
    lines: dict[str, set[str]] = defaultdict(set)
    for line in mill.shipped():
        lines[line["id"]].add(json.dumps(line, sort_keys=True))
    assert all(len(same) == 1 for same in lines.values()), "an id stands for one line"
    told = Counter[tuple[str, str]]()
    for text in lines.values():
        line = json.loads(next(iter(text)))
        told[line["execution"], line["message"]] += 1
    assert set(told.values()) == {1}
    for id, flow in mill.sent.items():
        mine = [message for execution, message in told if execution == id]
        assert sum(message.startswith("grain") for message in mine) == (LINES if flow == "grind" else 0)
        assert "execution accepted" in mine
        assert len(mine) == (5 + LINES if flow == "grind" else 4), mine
    twice = sum(Counter(line["id"] for line in mill.shipped()).values()) - len(lines)
    assert twice <= ROUNDS * MOST


def the_alerts_are_complete(hook: Hook) -> None:
    by_id: dict[str, set[str]] = defaultdict(set)
    for id, body in hook.heard:
        assert body["type"] == "alert.opened"
        by_id[id].add(body["data"]["incident"])
    assert len(by_id) == BREAKING, hook.heard
    assert all(len(incidents) == 1 for incidents in by_id.values())
    assert len({incident for incidents in by_id.values() for incident in incidents}) == BREAKING
    assert len(hook.heard) <= BREAKING + ROUNDS


async def the_records_are_complete(mill: Mill) -> None:
    for id, flow in mill.sent.items():
        record = await mill.platform.record(id)
        assert record is not None
        assert record.status is (Status.SUCCEEDED if flow == "grind" else Status.FAILED)
        assert [step.path for step in record.steps] == (["say", "done"] if flow == "grind" else ["no"])
        logs = [line.message for _, line in await mill.platform.stores.records.logs(id)]
        assert len(logs) == len(set(logs)) == (LINES if flow == "grind" else 0)
