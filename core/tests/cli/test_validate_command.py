"""`turnout validate`: problems of all definitions at once, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from turnout.cli import main

GOOD = """
integration: {name}
version: 1.2.0
config:
  unread: {{type: string, default: x}}
flows:
  main:
    trigger: {{webhook: {{}}}}
    steps:
      - id: double
        code: "export default ({{ n }}) => n * 2"
        with: {{n: "${{{{ trigger.body.n }}}}"}}
"""
BAD = """
integration: bad
flows:
  main:
    trigger: {webhook: {}}
    steps:
      - id: result
        stop: {output: "${{ steps.missing }}"}
"""
Validate = Callable[..., tuple[int, str, str]]


@pytest.fixture
def validate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Validate:
    """Run the command in a project: the exit status, stdout and stderr."""
    (tmp_path / "turnout.toml").touch()
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        status = main(["validate", *arguments])
        return status, *capsys.readouterr()

    return run


def write(directory: Path, text: str) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "integration.yaml").write_text(text)
    return directory


def test_a_valid_definition_is_named_with_its_flows(tmp_path: Path, validate: Validate) -> None:
    directory = write(tmp_path / "integrations" / "one", GOOD.format(name="one"))

    status, out, err = validate(str(directory))

    assert status == 0
    assert "one 1.2.0 is valid (main)" in out
    assert "warning: config variable 'unread' is read by no expression" in err


def test_strict_takes_warnings_for_errors(tmp_path: Path, validate: Validate) -> None:
    directory = write(tmp_path / "integrations" / "one", GOOD.format(name="one"))

    assert validate(str(directory), "--strict")[0] == 2


def test_without_a_path_every_definition_of_the_project_is_checked(tmp_path: Path, validate: Validate) -> None:
    write(tmp_path / "integrations" / "one", GOOD.format(name="one"))
    write(tmp_path / "integrations" / "two", BAD)
    write(tmp_path / "integrations" / "three", "integration: [")

    status, out, err = validate()

    assert status == 2
    assert "one 1.2.0 is valid" in out
    assert "two/integration.yaml:8:" in err
    assert "three/integration.yaml:" in err


def test_a_report_for_programs_has_every_problem_with_its_place(tmp_path: Path, validate: Validate) -> None:
    write(tmp_path / "integrations" / "two", BAD)

    status, out, err = validate("--json")

    report: dict[str, Any] = json.loads(out)
    (found,) = report["integrations"]
    assert (status, err, report["valid"]) == (2, "", False)
    assert (found["integration"], found["flows"]) == ("bad", ["main"])
    assert found["problems"][0]["severity"] == "error"
    assert (found["problems"][0]["line"], found["problems"][0]["column"]) == (8, 29)


def test_two_integrations_of_one_name_are_refused(tmp_path: Path, validate: Validate) -> None:
    write(tmp_path / "integrations" / "one", GOOD.format(name="same"))
    write(tmp_path / "integrations" / "two", GOOD.format(name="same"))

    status, _, err = validate()

    assert status == 2
    assert "integration 'same' is defined in" in err


def test_a_path_that_is_given_twice_is_checked_once(tmp_path: Path, validate: Validate) -> None:
    directory = write(tmp_path / "integrations" / "one", GOOD.format(name="one"))

    status, out, _ = validate(str(directory), str(directory / "integration.yaml"))

    assert status == 0
    assert out.count("is valid") == 1


def test_a_path_with_nothing_is_refused(tmp_path: Path, validate: Validate) -> None:
    status, _, err = validate(str(tmp_path / "nothing"))

    assert status == 2
    assert "no project" in err
