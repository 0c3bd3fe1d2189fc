"""`turnout logs` and `turnout executions watch`, on a real project with its embedded stores."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from core.tests.cli.test_executions_command import Turnout, turnout

__all__ = ["turnout"]

DEFINITION = """
integration: talk
version: 1.0.0
flows:
  talk:
    trigger: {webhook: {}}
    steps:
      - {id: say, code: say.js}
"""
CODE = 'export default function () { console.log("hello"); console.error("oh no"); return 1 }'


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "integration.yaml").write_text(DEFINITION)
    (tmp_path / "say.js").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(text: str) -> list[tuple[str, str, str]]:
    found = [json.loads(line) for line in text.splitlines()]
    return [(one["execution"], one["level"], one["message"]) for one in found]


def run(turnout: Turnout) -> str:
    id: str = json.loads(turnout("run", ".", "--json"))["id"]
    return id


@contextmanager
def program(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    # Whoever starts the tests in the background has SIGINT ignored, and hands that on.
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{heard}; import sys; from turnout.cli import main; sys.exit(main({list(arguments)!r}))"
    command = [sys.executable, "-u", "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        yield process
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


def test_the_lines_of_all_executions_are_printed_with_whose_they_are(turnout: Turnout) -> None:
    first, second = run(turnout), run(turnout)

    assert said(turnout("logs", "--json")) == [
        (first, "info", "hello"),
        (first, "error", "oh no"),
        (second, "info", "hello"),
        (second, "error", "oh no"),
    ]
    assert f"error   talk/talk {first} say: oh no\n" in turnout("logs")


def test_lines_are_filtered(turnout: Turnout) -> None:
    first, second = run(turnout), run(turnout)

    assert said(turnout("logs", "--json", "--level", "error", "--execution", first)) == [(first, "error", "oh no")]
    assert said(turnout("logs", "--json", "--lines", "1")) == [(second, "error", "oh no")]
    assert (
        turnout("logs", "--customer", "nobody")
        == turnout("logs", "--flow", "x")
        == turnout("logs", "--instance", "x")
        == ""
    )
    assert turnout("logs", "--since", "2099-01-01") == ""
    assert "no execution 'e9'" in turnout("logs", "--execution", "e9", status=2)


def test_logs_where_nothing_ran_makes_nothing(project: Path, turnout: Turnout) -> None:
    assert turnout("logs") == ""
    assert not (project / ".turnout").exists()


def test_following_prints_what_was_and_what_comes_each_once(turnout: Turnout) -> None:
    before = run(turnout)
    with program("logs", "-f", "--json", "--since", "1h", "--level", "error") as following:
        assert following.stdout is not None
        first = following.stdout.readline()
        after = run(turnout)
        second = following.stdout.readline()

    assert said(first + second) == [(before, "error", "oh no"), (after, "error", "oh no")]


def test_watching_all_executions_tells_each_event(turnout: Turnout) -> None:
    before = run(turnout)
    with program("executions", "watch", "--json") as watching:
        assert watching.stdout is not None
        assert json.loads(watching.stdout.readline()) == {"event": "watching"}
        ids = [run(turnout) for _ in range(3)]
        seen: list[dict[str, str]] = []
        while not seen or (seen[-1]["event"], seen[-1]["execution"]) != ("ended", ids[-1]):
            seen.append(json.loads(watching.stdout.readline()))

    for id in ids:
        told = [one["event"] for one in seen if one["execution"] == id]
        assert (told[:2], told[-1]) == (["accepted", "began"], "ended")
    assert before not in {one["execution"] for one in seen}
    assert {one["customer"] for one in seen} == {"local"}


def test_watching_an_execution_that_is_over_says_what_came_of_it(turnout: Turnout) -> None:
    id = run(turnout)

    assert turnout("executions", "watch", id) == f"{id} succeeded\n"
    assert "no execution 'e9'" in turnout("executions", "watch", "e9", status=2)
