"""Ctrl-C during `turnout run`: the person is told what becomes of the execution, and that is what becomes of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

TURNOUT = str(Path(sys.executable).parent / "turnout")
DEFINITION = """
integration: nap
version: 1.0.0
flows:
  main:
    steps:
      - {id: one, action: state.increment, with: {key: n}}
      - {id: nap, code: "export default () => new Promise((wake) => setTimeout(wake, 1000))"}
      - {id: two, action: state.increment, with: {key: n}}
      - {id: end, stop: {output: "${{ steps.two.value }}"}}
"""


def turnout(*arguments: str, cwd: Path) -> str:
    return subprocess.run([TURNOUT, *arguments], cwd=cwd, capture_output=True, text=True, check=True).stdout


def test_an_interrupted_run_says_so_and_is_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / "integration.yaml").write_text(DEFINITION)
    process = subprocess.Popen(
        [TURNOUT, "run", "."],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    assert "one" in process.stdout.readline()

    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to everything in the foreground
    _, errors = process.communicate(timeout=30)

    assert process.returncode == 130
    [execution] = json.loads(turnout("executions", "list", "--json", cwd=tmp_path))
    assert execution["status"] == "running"
    assert f"interrupted: execution {execution['id']} is kept" in errors
    assert "`turnout resume`" in errors
    assert "went on with 1 execution" in turnout("resume", cwd=tmp_path)
    shown = json.loads(turnout("executions", "show", execution["id"], "--json", cwd=tmp_path))
    assert (shown["status"], shown["output"]) == ("succeeded", 2)
