"""`turnout connectors call`: one action, for real."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from turnout.cli.program import main


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "turnout.toml").write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def called(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> Any:
    capsys.readouterr()
    assert main(["connectors", "call", *arguments, "--json"]) == status
    return json.loads(capsys.readouterr().out)


def test_an_action_is_done_with_inputs_of_a_file_and_of_the_command(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "inputs.yaml").write_text("content: '[1, 2]'\n")

    record = called(capsys, "data.parse_json", "--with", "inputs.yaml")
    assert (record["status"], record["output"]) == ("succeeded", [1, 2])
    assert called(capsys, "data.parse_json", "--with", "inputs.yaml", "--set", "content='{\"a\": null}'")["output"] == {
        "a": None
    }


def test_values_are_of_the_type_that_they_look_like(capsys: pytest.CaptureFixture[str]) -> None:
    called(capsys, "state.set", "--set", "key=seen", "--set", "value={n: [1, yes, 'x y']}")

    assert called(capsys, "state.get", "--set", "key=seen")["output"]["value"] == {"n": [1, "yes", "x y"]}


def test_what_fails_is_told_and_the_status_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    record = called(capsys, "data.parse_json", "--set", "content=nothing", status=1)

    assert record["status"] == "failed"
    assert record["error"]["kind"] == "not_json"


def test_a_connection_is_of_its_type_and_its_secret_in_no_output(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "s3cr3t-t0ken")
    (project / "it.yaml").write_text("base_url: http://127.0.0.1:9\ntoken: env:TOKEN\n")
    given = ("http.request", "--set", "url=/a", "--connection", "it.yaml")

    assert main(["connectors", "call", *given]) == 2
    assert "say which type of connection by --type: there are none, bearer, basic" in capsys.readouterr().err
    record = called(capsys, *given, "--type", "bearer", status=1)
    assert record["error"]["kind"] == "connection"
    assert "s3cr3t" not in json.dumps(record)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["data.parse_jsn"], "did you mean 'parse_json'?"),
        (["nothing.at_all"], "no connector 'nothing'"),
        (["dropbox.changed"], "dropbox.changed is a trigger: only actions are called"),
        (["data.parse_json", "--set", "content"], "--set 'content': KEY=VALUE is needed"),
        (["data.parse_json"], "data.parse_json needs the input 'content'"),
        (["data.parse_json", "--set", "content=x", "--set", "txt=y"], "data.parse_json has no input 'txt'"),
    ],
)
def test_what_cannot_be_called_is_named(capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    assert main(["connectors", "call", *arguments]) == 2

    assert said in capsys.readouterr().err
