"""`turnout customers`, `integrations`, `instances`, `connections`: what people deploy with."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from turnout.cli import main

DEFINITION = """
integration: orders
version: {version}
config:
  minimum: {{type: number, default: 100}}
connections:
  erp: {{connector: http, type: bearer}}
flows:
  take: {{trigger: {{webhook: {{}}}}, steps: [{{id: done, stop: {{output: "${{{{ config.minimum }}}}"}}}}]}}
  check:
    steps:
      - {{id: ask, action: http.request, connection: erp, with: {{url: /{path}}}}}
"""
TOKEN = "tok-4f1c9a7be2"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "1.0.0")
    return tmp_path


def write(directory: Path, version: str, path: str = "ping") -> None:
    (directory / "integration.yaml").write_text(DEFINITION.format(version=version, path=path))


def ran(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> Any:
    assert main([*arguments, "--json"]) == status
    return json.loads(capsys.readouterr().out)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main([*arguments]) == 2
    return capsys.readouterr().err


@pytest.fixture
def acme(project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Path:
    assert main(["integrations", "publish", "."]) == 0
    assert main(["customers", "create", "acme", "--title", "Acme"]) == 0
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{TOKEN}\n"))
    create = ["connections", "create", "acme", "erp", "--connector", "http", "--type", "bearer"]
    assert main([*create, "--field", "base_url=https://erp.example", "--secret", "token"]) == 0
    assert main(["instances", "deploy", "acme", "orders"]) == 0
    assert TOKEN not in "".join(capsys.readouterr())
    return project


def test_what_is_deployed_is_listed_with_its_version(acme: Path, capsys: pytest.CaptureFixture[str]) -> None:
    [listed] = ran(capsys, "instances", "list", "acme")
    shown = ran(capsys, "instances", "show", "acme", "orders")

    assert (listed["integration"], listed["version"], listed["state"]) == ("orders", "1.0.0", "active")
    assert (shown["connections"], shown["config"]) == ({"erp": "erp"}, {})


def test_a_secret_is_shown_nowhere(acme: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["connections", "show", "acme", "erp"]) == 0
    assert main(["connections", "list", "acme", "--json"]) == 0

    said = "".join(capsys.readouterr())
    assert TOKEN not in said
    assert "https://erp.example" in said
    kept = b"".join(file.read_bytes() for file in (acme / ".turnout").rglob("*") if file.is_file())
    assert TOKEN.encode() not in kept


def test_other_content_under_a_published_version_is_refused(acme: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(acme, "1.0.0", path="pong")

    assert "raise `version` in the definition" in refused(capsys, "integrations", "publish", ".")


def test_an_instance_goes_to_another_version_and_back(acme: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(acme, "1.1.0", path="pong")
    ran(capsys, "integrations", "publish", ".")

    after = ran(capsys, "instances", "upgrade", "acme", "orders", "--version", "1.1.0", "--set", "minimum=7")
    config = ran(capsys, "instances", "show", "acme", "orders")["config"]
    back = ran(capsys, "instances", "rollback", "acme", "orders")

    assert (after["version"], config, back["version"]) == ("1.1.0", {"minimum": 7}, "1.0.0")
    assert [one["version"] for one in ran(capsys, "integrations", "versions", "orders")] == ["1.1.0", "1.0.0"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("customers", "show", "acne"), "'acme'"),
        (("instances", "show", "acme", "order"), "'orders'"),
        (("instances", "deploy", "acme", "order"), "'orders'"),
        (("instances", "upgrade", "acme", "orders", "--version", "2.0.0"), "2.0.0"),
        (("instances", "upgrade", "acme", "orders", "--set", "minimun=1"), "minimum"),
        (("connections", "show", "acme", "epr"), "'erp'"),
        (("instances", "delete", "acme", "orders"), "--yes"),
        (("connections", "create", "acme", "crm", "--connector", "htp"), "'http'"),
        (("customers", "create", "acme"), "there is a customer 'acme' already"),
    ],
)
def test_what_is_wrong_is_named_with_the_nearest_right(
    acme: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    assert said in refused(capsys, *arguments)


def test_all_that_a_deployment_lacks_is_said_at_once(acme: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ran(capsys, "customers", "create", "globex")

    said = refused(capsys, "instances", "deploy", "globex", "orders", "--set", "minimum=much")

    assert "minimum" in said
    assert "erp" in said
    assert ran(capsys, "instances", "list", "globex") == []


def test_a_connection_that_is_used_stays(acme: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "orders" in refused(capsys, "connections", "remove", "acme", "erp", "--yes")


def test_a_customer_goes_with_everything_that_is_theirs(acme: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ran(capsys, "customers", "create", "globex")
    ran(capsys, "instances", "delete", "acme", "orders", "--yes", "--force")

    ran(capsys, "customers", "delete", "acme", "--yes", "--force")

    states = {one["name"]: one["state"] for one in ran(capsys, "customers", "list")}
    assert states.get("acme", "deleting") == "deleting"
    assert states["globex"] == "active"
