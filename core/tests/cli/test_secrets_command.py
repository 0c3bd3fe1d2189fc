"""`turnout secrets`: what is stored can be referred to, and is never shown."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from turnout.cli import main

TEXT = "open-sesame"


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "turnout.toml").write_text("")
    return tmp_path


def store(monkeypatch: pytest.MonkeyPatch, name: str, text: str = f"{TEXT}\n") -> int:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    return main(["secrets", "set", name])


def test_a_secret_is_stored_listed_and_deleted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], project: Path
) -> None:
    assert store(monkeypatch, "erp-token") == 0
    capsys.readouterr()

    assert main(["secrets", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == ["erp-token"]
    assert main(["secrets", "delete", "erp-token"]) == 0
    capsys.readouterr()
    assert main(["secrets", "list"]) == 0

    assert capsys.readouterr().out == ""
    assert not [file for file in project.rglob("*") if file.is_file() and TEXT.encode() in file.read_bytes()]


def test_a_connection_gets_what_was_stored(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], project: Path
) -> None:
    store(monkeypatch, "user")
    (project / "integration.yaml").write_text(
        "integration: one\nconnections: {erp: {connector: http, type: basic}}\nflows:\n  main:\n    steps:\n"
        "      - {id: get, action: http.request, connection: erp, with: {url: /}}\n"
    )
    (project / "connections.yaml").write_text(
        "erp: {base_url: 'http://127.0.0.1:1', username: a, password: secret:user}\n"
    )
    capsys.readouterr()

    status = main(["run", ".", "--connections", "connections.yaml", "--json"])

    record = json.loads(capsys.readouterr().out)
    assert status == 1
    # The connection was made, with what the reference stands for; nobody listens at that port.
    assert record["error"]["kind"] == "connection"
    assert "cannot be used" not in record["error"]["message"]


@pytest.mark.parametrize(("name", "text"), [("settings/x", TEXT), (" ", TEXT), ("a\nb", TEXT), ("erp-token", "\n")])
def test_what_cannot_be_stored_is_refused_without_showing_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, text: str
) -> None:
    assert store(monkeypatch, name, text) == 2

    output = capsys.readouterr()
    assert "secret" in output.err
    assert TEXT not in output.err + output.out


def test_an_unknown_secret_cannot_be_deleted(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["secrets", "delete", "erp-tokn"]) == 2

    assert "there are: none" in capsys.readouterr().err


def test_a_new_key_protects_what_was_stored(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], project: Path
) -> None:
    store(monkeypatch, "erp-token")
    capsys.readouterr()
    before = (project / ".turnout" / "secret.key").read_text().split()

    assert main(["secrets", "rotate"]) == 0
    assert (
        capsys.readouterr().out == "a new key protects the project's secrets; data keys of 0 customers wrapped anew\n"
    )
    assert main(["secrets", "rotate", "--data-keys", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "new_key": True,
        "customers": 0,
        "resumed": False,
        "data_keys": {"customers": 0, "values": 0, "unreadable": [], "resumed": False},
    }

    assert (project / ".turnout" / "secret.key").read_text().split()[2:] == before


def test_a_customer_of_whom_nothing_is_encrypted_has_no_key_to_replace(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["secrets", "rotate", "--customer", "acme"]) == 2

    assert "no data key of customer 'acme'" in capsys.readouterr().err
