"""A project whose configuration names the sandbox: its code runs in a jail, and its record says so."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

INTEGRATION = """
integration: desk
version: 1.0.0
flows:
  main:
    trigger: {webhook: {}}
    steps:
      - id: look
        code: |
          import fs from 'node:fs'
          const tried = (act) => { try { return act() } catch (error) { return error.code } }
          export default () => ({
            user: process.getuid(),
            machine: tried(() => fs.readFileSync('/etc/passwd', 'utf8')),
            sum: [1, 2, 3].reduce((a, b) => a + b),
          })
      - {id: result, stop: {output: "${{ steps.look }}"}}
"""


def test_code_of_a_project_runs_as_a_user_of_its_own_and_sees_no_file(jail: Path, tmp_path: Path) -> None:
    (tmp_path / "integration.yaml").write_text(INTEGRATION)
    (tmp_path / "turnout.toml").write_text(
        f'[runner]\nsandbox = "chroot"\n[backends.chroot]\njail = "{jail}"\nuids = "300000-306143"\n'
    )

    done = subprocess.run(
        [Path(sys.executable).with_name("turnout"), "run", ".", "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert 300000 <= record["output"]["user"] <= 301023
    assert record["output"] | {"user": 0} == {"user": 0, "machine": "EPERM", "sum": 6}
