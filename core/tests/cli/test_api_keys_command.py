"""`turnout api-keys`: a key is printed once, and then only what it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from turnout.cli import main


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "turnout.toml").write_text("")
    return tmp_path


def test_a_key_is_printed_once_and_kept_nowhere(capsys: pytest.CaptureFixture[str], project: Path) -> None:
    assert main(["api-keys", "create", "nightly report", "--customer", "acme", "--expires", "90d", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    secret = made["key"].rpartition("_")[2]

    assert main(["api-keys", "list", "--json"]) == 0
    listed = capsys.readouterr().out
    assert main(["api-keys", "list"]) == 0
    table = capsys.readouterr().out

    assert made["key"] == f"turnout_{made['id']}_{secret}"
    assert secret not in listed + table
    assert [(one["id"], one["customer"], one["role"], one["state"]) for one in json.loads(listed)] == [
        (made["id"], "acme", "read", "active")
    ]
    assert made["id"] in table
    assert "nightly report" in table
    assert not [file for file in project.rglob("*") if file.is_file() and secret.encode() in file.read_bytes()]


def test_for_people_only_the_key_is_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["api-keys", "create", "ops", "--role", "admin"]) == 0

    said = capsys.readouterr()
    assert said.out.startswith("turnout_")
    assert len(said.out.splitlines()) == 1
    assert "not shown again" in said.err


def test_a_key_is_revoked_by_its_id(capsys: pytest.CaptureFixture[str]) -> None:
    main(["api-keys", "create", "ops", "--json"])
    made = json.loads(capsys.readouterr().out)

    assert main(["api-keys", "revoke", made["id"]]) == 0
    capsys.readouterr()
    assert main(["api-keys", "list", "--json"]) == 0

    assert [one["state"] for one in json.loads(capsys.readouterr().out)] == ["revoked"]


def test_a_wrong_id_or_time_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["api-keys", "revoke", "0" * 16]) == 2
    assert "turnout api-keys list" in capsys.readouterr().err
    assert main(["api-keys", "create", "ops", "--expires", "soon"]) == 2
    assert "soon" in capsys.readouterr().err
