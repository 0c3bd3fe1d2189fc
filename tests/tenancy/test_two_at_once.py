"""Two processes change the same instance at the same moment: one wins, the other is told, and nothing is half done."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.dev.commands import TURNOUT, environment, run

ORDERS = """
integration: orders
version: 1.0.0
config: {greeting: {type: string, default: hello}}
flows:
  take:
    trigger: webhook
    steps: [{id: out, stop: {output: "${{ config.greeting }}"}}]
"""
INSTANCE = ("acme", "orders")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "turnout.toml").write_text("")
    for version in ("1.0.0", "1.1.0"):
        (tmp_path / "orders.yaml").write_text(ORDERS.replace("1.0.0", version))
        done = run("integrations", "publish", "orders.yaml", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert run("customers", "create", "acme", cwd=tmp_path).returncode == 0
    return tmp_path


def at_once(project: Path, *commands: tuple[str, ...]) -> list[tuple[int, str]]:
    """How each ended, and what it said of errors."""
    running = [
        subprocess.Popen(
            [TURNOUT, "instances", *command], cwd=project, env=environment(), stderr=subprocess.PIPE, text=True
        )
        for command in commands
    ]
    said = [process.communicate(timeout=100)[1] for process in running]
    return [(process.returncode, text) for process, text in zip(running, said, strict=True)]


def shown(project: Path) -> dict[str, Any] | None:
    done = run("instances", "show", *INSTANCE, "--json", cwd=project)
    if done.returncode:
        assert "instance 'orders'" in done.stderr
        return None
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_of_two_that_deploy_one_does(project: Path) -> None:
    ends = at_once(
        project,
        ("deploy", "acme", "orders@1.0.0", "--set", "greeting=first"),
        ("deploy", "acme", "orders@1.1.0", "--set", "greeting=second"),
    )

    winner = [code for code, _ in ends].index(0)
    code, said = ends[1 - winner]
    assert (code, "has an instance 'orders' already" in said) == (2, True), said
    found = shown(project)
    assert found is not None
    assert found["version"] == ("1.0.0", "1.1.0")[winner]
    assert found["config"] == {"greeting": ("first", "second")[winner]}


def test_upgrades_pauses_and_deletions_at_once_leave_one_of_their_states(project: Path) -> None:
    assert at_once(project, ("deploy", "acme", "orders@1.0.0"))[0][0] == 0

    ends = at_once(
        project,
        ("upgrade", *INSTANCE, "--version", "1.1.0", "--set", "greeting=new"),
        ("pause", *INSTANCE),
        ("delete", *INSTANCE, "--yes"),
        ("delete", *INSTANCE, "--yes"),
    )

    refusals = [said for code, said in ends if code]
    assert all(any(word in said for word in ("changed by somebody", "being deleted", "'orders'")) for said in refusals)
    assert all("Traceback" not in said for _, said in ends)
    found = shown(project)
    upgraded, _, *deleted = [code == 0 for code, _ in ends]
    if any(deleted):
        assert found is None or found["state"] == "deleting"
    else:
        assert found is not None
        assert (found["version"] == "1.1.0") is upgraded
    if found is not None:
        assert found["config"] == ({"greeting": "new"} if found["version"] == "1.1.0" else {})
