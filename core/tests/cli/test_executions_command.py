"""`turnout executions`, on a real project with its embedded stores."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from turnout.cli import main

DEFINITION = """
integration: greetings
version: 1.0.0
config:
  limit: {type: number, default: 2}
flows:
  greet:
    trigger: {webhook: {}}
    steps:
      - id: names
        loop:
          over: "${{ trigger.body.names }}"
          as: name
          collect: "Hello ${{ name }}"
          steps:
            - id: short
              wait: {for: 1ms}
      - id: check
        when: "${{ length(steps.names) > config.limit }}"
        stop: {error: "more than ${{ config.limit }} names"}
      - id: done
        stop: {output: {greetings: "${{ steps.names }}"}}
"""

Turnout = Callable[..., str]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "integration.yaml").write_text(DEFINITION)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def turnout(project: Path, capsys: pytest.CaptureFixture[str]) -> Turnout:
    """Runs a command that must end with `status`; what it wrote to stdout, or to stderr where it is wrong."""

    def run(*arguments: str, status: int = 0) -> str:
        capsys.readouterr()
        given = main(arguments)
        written = capsys.readouterr()
        assert given == status, written.err
        return written.err if status == 2 else written.out

    return run


def payload(project: Path, *names: str) -> str:
    path = project / "payload.json"
    path.write_text(json.dumps({"names": names}))
    return str(path)


@pytest.fixture
def succeeded(project: Path, turnout: Turnout) -> str:
    """The id of an execution that succeeded."""
    return identity(turnout("run", ".", "--payload", payload(project, "Ada"), "--json"))


@pytest.fixture
def failed(project: Path, turnout: Turnout) -> str:
    return identity(turnout("run", ".", "--payload", payload(project, "A", "B", "C"), "--json", status=1))


def identity(record: str) -> str:
    id: str = json.loads(record)["id"]
    return id


def test_looking_where_nothing_ran_makes_nothing(project: Path, turnout: Turnout) -> None:
    assert turnout("executions", "list") == "no executions yet\n"
    assert turnout("executions", "list", "--json") == "[]\n"
    assert "nothing has run yet" in turnout("executions", "show", status=2)
    assert not (project / ".turnout").exists()


def test_executions_are_listed_newest_first_and_filtered(succeeded: str, failed: str, turnout: Turnout) -> None:
    listed = json.loads(turnout("executions", "list", "--json"))
    lines = turnout("executions", "list", "--status", "failed").splitlines()

    assert [one["id"] for one in listed] == [failed, succeeded]
    assert "steps" not in listed[0]
    assert [line.split()[:4] for line in lines] == [
        ["EXECUTION", "STATUS", "INSTANCE", "FLOW"],
        [failed, "failed", "greetings", "greet"],
    ]
    assert lines[1].endswith("stopped: more than 2 names")
    assert turnout("executions", "list", "--text", "nothing like it") == "no executions match\n"
    assert len(json.loads(turnout("executions", "list", "--json", "--since", "1h", "--limit", "1"))) == 1
    assert json.loads(turnout("executions", "list", "--json", "--before", failed))[0]["id"] == succeeded


def test_a_page_begins_after_an_execution_and_ages_are_checked(turnout: Turnout) -> None:
    assert "neither an age such as 90m" in turnout("executions", "list", "--since", "yesterday", status=2)
    assert "'lost'" in turnout("executions", "list", "--status", "lost", status=2)


def test_the_timeline_of_the_newest_is_shown_without_an_id(succeeded: str, failed: str, turnout: Turnout) -> None:
    lines = turnout("executions", "show").splitlines()

    assert lines[0].startswith("✗ failed in ")
    assert lines[0].endswith(" greetings 1.0.0 / greet")
    assert failed in lines[1]
    assert any(line.startswith("✓ names (3 items) succeeded") for line in lines)
    assert lines[-1] == f"go on from the failed step: turnout executions resume {failed}"
    assert all(len(line) <= 80 for line in lines)
    assert turnout("executions", "show", succeeded).splitlines()[-1] == 'output  {"greetings":["Hello Ada"]}'


def test_the_record_as_json_has_the_promised_members_first(succeeded: str, turnout: Turnout) -> None:
    record = json.loads(turnout("executions", "show", succeeded, "--json"))

    assert list(record)[:10] == [
        "id",
        "integration",
        "version",
        "flow",
        "status",
        "output",
        "error",
        "started_at",
        "duration_ms",
        "steps",
    ]
    assert record["steps"][0]["path"] == "names"
    assert set(record["steps"][0]) >= {"path", "status", "attempts", "started_at", "duration_ms", "error"}


@pytest.mark.parametrize("command", [["show"], ["logs"], ["cancel"], ["resume"], ["replay"]])
def test_an_unknown_execution_is_said_to_be_unknown(command: list[str], succeeded: str, turnout: Turnout) -> None:
    assert "no execution 'nope'" in turnout("executions", *command, "nope", status=2)


def test_a_failed_execution_goes_on_from_where_it_failed(failed: str, turnout: Turnout) -> None:
    shown = turnout("executions", "resume", failed, status=1)
    record = json.loads(turnout("executions", "show", failed, "--json"))

    assert "✗ check" in shown
    assert "✓ names" not in shown.partition("STEP")[0]
    assert record["status"] == "failed"
    assert "nothing to resume" in turnout("executions", "resume", identity_of_success(turnout), status=2)


def identity_of_success(turnout: Turnout) -> str:
    return identity(turnout("executions", "replay", newest(turnout), "--payload", "payload-2.json", "--json"))


def newest(turnout: Turnout) -> str:
    Path("payload-2.json").write_text('{"names": ["Bo"]}')
    id: str = json.loads(turnout("executions", "list", "--json"))[0]["id"]
    return id


def test_an_execution_is_replayed_with_its_input_and_version_or_with_others(
    failed: str, project: Path, turnout: Turnout
) -> None:
    (project / "integration.yaml").write_text(DEFINITION.replace("1.0.0", "1.1.0").replace("Hello", "Hi"))

    same = json.loads(turnout("executions", "replay", failed, "--json", status=1))
    newer = json.loads(turnout("executions", "replay", failed, "--definition", ".", "--set", "limit=5", "--json"))
    later: Any = json.loads(turnout("executions", "replay", newer["id"], "--step", "done", "--json"))

    assert (same["version"], same["replay_of"]) == ("1.0.0", failed)
    assert (newer["version"], newer["output"]) == ("1.1.0", {"greetings": ["Hi A", "Hi B", "Hi C"]})
    assert later["output"] == newer["output"]
    assert later["steps"][0]["started_at"] == newer["steps"][0]["started_at"]


def test_settings_without_the_version_they_are_for_are_refused(failed: str, turnout: Turnout) -> None:
    assert "need --definition" in turnout("executions", "replay", failed, "--set", "limit=5", status=2)
    assert "exclude each other" in turnout("executions", "resume", failed, "--repeat", "--output", "1", status=2)


def test_a_definition_of_something_else_is_no_newer_version(failed: str, project: Path, turnout: Turnout) -> None:
    (project / "integration.yaml").write_text(DEFINITION.replace("greetings\n", "farewells\n", 1))

    told = turnout("executions", "replay", failed, "--definition", ".", status=2)

    assert "defines 'farewells'" in told


def test_a_queued_execution_is_cancelled_and_an_ended_one_left_alone(succeeded: str, turnout: Turnout) -> None:
    queued = json.loads(turnout("executions", "replay", succeeded, "--detach", "--json"))

    told = turnout("executions", "cancel", queued["execution"], succeeded, "--reason", "not needed")
    record = json.loads(turnout("executions", "show", queued["execution"], "--json"))

    assert queued["status"] == "queued"
    assert told == f"{queued['execution']}: cancelled\n{succeeded}: had ended already\n"
    assert (record["status"], record["error"]["message"]) == ("cancelled", "not needed")


CODE = """
integration: talkative
version: 1.0.0
flows:
  talk:
    trigger: {webhook: {}}
    steps:
      - id: say
        code: |
          export default () => {
            console.log("\\u001b[31mred\\u001b[0m\\n12:00:00.000 error   fake line")
            console.warn("careful")
          }
"""


def test_the_log_is_printed_with_times_levels_and_steps_and_cannot_forge_lines(project: Path, turnout: Turnout) -> None:
    (project / "integration.yaml").write_text(CODE)
    turnout("run", ".")

    lines = turnout("executions", "logs").splitlines()
    objects = [json.loads(line) for line in turnout("executions", "logs", "--follow", "--json").splitlines()]

    assert [line[13:] for line in lines] == [
        "info    say: \\x1b[31mred\\x1b[0m",
        "        12:00:00.000 error   fake line",
        "warning say: careful",
    ]
    assert lines[1].startswith(" " * 21)
    assert [(one["level"], one["path"]) for one in objects] == [("info", "say"), ("warning", "say")]
    assert turnout("executions", "logs", "--step", "other") == ""
