"""`turnout advise`: from what was recorded or said to a recommendation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from turnout.cli import main

DEFINITION = """
integration: desk
version: 1.0.0
flows:
  greet:
    trigger: {webhook: {}}
    steps:
      - {id: pause, wait: {for: 1s}}
      - {id: end, stop: {output: {hello: 1}}}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "integration.yaml").write_text(DEFINITION)
    monkeypatch.chdir(tmp_path)
    return tmp_path


GIVEN = ["--executions-per-month", "1000000", "--seconds", "2", "--steps", "6"]


def test_a_project_without_history_says_what_is_to_be_run(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["advise", *GIVEN, "--json"]) == 0

    said = json.loads(capsys.readouterr().out)
    choices = {one["target"]: one for one in said["runner"]["choices"]}
    assert list(choices) == ["lambda-steps", "lambda", "ecs", "local"]
    assert choices["lambda"]["usd_per_month"] < choices["lambda-steps"]["usd_per_month"]
    assert choices["local"]["usd_per_month"] is None
    assert said["runner"]["recommended"] == "lambda"
    assert said["prices"]["region"] == "us-east-1"
    assert {"ingress", "metadata"} <= {one["service"] for one in said["services"]}


def test_a_p99_that_lambda_cannot_keep_makes_it_ecs(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["advise", *GIVEN, "--within", "2.05", "--json"]) == 0

    assert json.loads(capsys.readouterr().out)["runner"]["recommended"] == "ecs"


def test_what_takes_longer_than_lambda_lets_it_is_for_ecs(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["advise", "--executions-per-month", "1000", "--seconds", "1000"]) == 0

    out = capsys.readouterr().out
    assert "recommended: ecs" in out
    assert "Lambda ends a call after 15 minutes, and one took 1,000 s" in out


def test_without_history_and_numbers_it_says_what_to_give(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["advise"]) == 2

    assert "no execution has ended here yet" in capsys.readouterr().err


def test_recorded_executions_count_without_their_waits(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "integration.yaml"]) == 0
    capsys.readouterr()

    assert main(["advise", "--json"]) == 0

    said = json.loads(capsys.readouterr().out)["runner"]
    assert "30 executions a month" in said["assumptions"][1]
    assert "1 steps: 1 recorded executions, replayed as they came" in said["assumptions"][1]
    [local] = [one for one in said["choices"] if one["target"] == "local"]
    assert local["p50_s"] < 0.9


def test_a_price_table_of_ones_own_counts(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "mine.toml").write_text("region = 3\n[prices]\n")
    assert main(["advise", *GIVEN, "--prices", "mine.toml"]) == 2

    assert "mine.toml: region: a text is needed" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--executions-per-month", "--seconds", "--within", "--cold-share", "--hop"])
@pytest.mark.parametrize("value", ["nan", "inf", "-1"])
def test_numbers_that_cannot_be_are_refused(
    project: Path, capsys: pytest.CaptureFixture[str], option: str, value: str
) -> None:
    assert main(["advise", *GIVEN, option, value]) == 2

    assert option in capsys.readouterr().err
