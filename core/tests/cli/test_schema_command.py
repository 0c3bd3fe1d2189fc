"""`turnout schema`: what editors read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from turnout.cli import main


def test_the_schema_is_printed_or_written_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    printed = capsys.readouterr().out
    assert main(["schema", "--out", str(tmp_path / "turnout.schema.json")]) == 0

    assert (tmp_path / "turnout.schema.json").read_text() == printed
    assert json.loads(printed)["properties"]["flows"]


def test_a_place_that_cannot_be_written_is_a_wrong_argument(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "--out", str(tmp_path / "missing" / "schema.json")]) == 2

    assert "cannot be written: No such file or directory" in capsys.readouterr().err
