"""`turnout alerts`: what goes on, ended by hand; a channel tried against a server that listens."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from turnout.cli import main
from turnout.cli.tenants import in_platform
from turnout.interfaces.service import Delivery, Invocation
from turnout.local.platform import Platform
from turnout.model.events import Ended
from turnout.model.execution import ErrorInfo, ExecutionInfo, Status
from turnout.values import Value

SETTINGS = """
[alerts.channels.hook]
kind = "webhook"
url = "%s"
secret = "env:HOOK_SECRET"
[alerts.rules.broken]
kind = "failed"
channels = ["hook"]
"""
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
def heard() -> Iterator[tuple[list[dict[str, Any]], str]]:
    messages: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            messages.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield messages, f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, heard: tuple[list[dict[str, Any]], str]) -> Path:
    (tmp_path / "turnout.toml").write_text(SETTINGS % heard[1])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    return tmp_path


async def fail(platform: Platform) -> None:
    info = ExecutionInfo(
        id="e1",
        tenant="acme",
        instance="shop",
        integration="shop",
        version="1.0.0",
        bundle="b",
        flow="sync",
        settings="s",
        trigger=Value(None).encode(),
        created_at=1_700_000_000.0,
    )
    ended = Ended(
        at=platform.stores.clock.now(),
        status=Status.FAILED,
        error=ErrorInfo(kind="http_500", message="the ERP is away"),
    )
    [consumer] = platform.alerting.service.consumers()
    assert await consumer.handle([Delivery(id="1", info=info, event=ended)], Invocation()) == []


def listed(capsys: pytest.CaptureFixture[str]) -> Any:
    assert main(["alerts", "list", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_what_goes_on_is_listed_and_ended_by_hand(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    in_platform(None, fail)
    [alert] = listed(capsys)

    assert main(["alerts", "resolve", alert["name"][:12]]) == 0
    capsys.readouterr()

    assert (alert["rule"], alert["customer"], alert["flow"], alert["times"]) == ("broken", "acme", "sync", 1)
    assert listed(capsys) == []


def shown(capsys: pytest.CaptureFixture[str], name: str) -> Any:
    assert main(["alerts", "show", name, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_rule_is_shown_with_what_goes_on_what_was_and_what_waits(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shown(capsys, "broken") == []
    in_platform(None, fail)

    [before] = shown(capsys, "broken")
    assert main(["alerts", "resolve", before["name"], "--who", "ada"]) == 0
    capsys.readouterr()
    [after] = shown(capsys, before["name"][:10])

    assert (before["incident"]["times"], before["incident"]["told"], before["past"]) == (1, ["hook"], [])
    assert [(one["channel"], one["phase"], one["tries"]) for one in before["messages"]] == [("hook", "opened", 0)]
    assert after["incident"] is None
    assert [(one["why"], one["times"], one["told"]) for one in after["past"]] == [("ada", 1, ["hook"])]
    assert "the ERP is away" in after["past"][0]["note"]

    assert main(["alerts", "show", "broken"]) == 0
    out = capsys.readouterr().out
    assert "acme/shop/sync" in out
    assert "ada" in out
    assert "hook: opened waits, 0 tries" in out


def test_an_alert_whose_rule_is_gone_can_be_shown_and_ended(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    in_platform(None, fail)
    settings = project / "turnout.toml"
    settings.write_text(settings.read_text().replace("rules.broken", "rules.other"))

    assert [one["rule"] for one in shown(capsys, "broken")] == ["broken"]
    assert main(["alerts", "resolve", "broken"]) == 0
    capsys.readouterr()

    assert listed(capsys) == []


def test_the_table_says_what_it_is_about(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    in_platform(None, fail)

    assert main(["alerts", "list"]) == 0

    assert "acme/shop/sync" in capsys.readouterr().out


def test_a_test_message_goes_through_the_channel(
    project: Path, capsys: pytest.CaptureFixture[str], heard: tuple[list[dict[str, Any]], str]
) -> None:
    assert main(["alerts", "test", "hook"]) == 0

    [message] = heard[0]
    assert message["type"] == "alert.test"
    assert SECRET not in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("alerts", "resolve", "nothing"), "nothing goes on"),
        (("alerts", "show", "nothing"), "neither a rule nor an alert begins with 'nothing': there are broken"),
        (("alerts", "test", "hok"), "there are: hook"),
    ],
)
def test_what_is_not_there_is_said(
    project: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    assert main(list(arguments)) == 2

    assert said in capsys.readouterr().err
