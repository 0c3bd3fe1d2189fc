"""Requests that nobody thought of: schemathesis makes them of the OpenAPI document, against `turnout serve` as it is run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import httpx

from tests.dev.commands import environment, run, until
from tests.worker.processes import Serve

SCHEMATHESIS = str(Path(sys.executable).parent / "schemathesis")
FLOWS = """
integration: desk
version: 1.0.0
flows:
  main:
    trigger: {webhook: {}}
    steps:
      - {id: done, stop: {output: "${{ trigger.body }}"}}
"""
_LONGEST_S = 100.0


def test_no_request_has_an_answer_that_is_not_described_and_none_breaks_the_server(tmp_path: Path) -> None:
    (tmp_path / "turnout.toml").write_text("")
    (tmp_path / "integration.yaml").write_text(FLOWS)
    made = run("api-keys", "create", "any request", "--role", "admin", "--json", cwd=tmp_path)
    key = f"Authorization: Bearer {json.loads(made.stdout)['key']}"
    with Serve(tmp_path, name="serve") as serve:
        for body in ("1", '"two"', '{"three": 3}'):
            serve.client.post("/hooks/desk/main", content=body, headers={"content-type": "application/json"})
        url = str(serve.client.base_url).rstrip("/")
        until(lambda: httpx.get(f"{url}/api/v1/openapi.json").is_success)
        command = [
            *(SCHEMATHESIS, "run", f"{url}/api/v1/openapi.json", "--header", key, "--no-color", "--seed", "1"),
            # Which texts are cursors of ours, or names that are free, is nothing that a schema can say.
            # Who tries as many wrong keys as these requests do is told to slow down; each endpoint without a key is tested elsewhere.
            *("--checks", "all", "--exclude-checks", "positive_data_acceptance,ignored_auth"),
            *("--phases", "examples,coverage,fuzzing", "--max-examples", "25", "--request-timeout", "20"),
        ]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=_LONGEST_S, check=False
        )
        still = serve.client.get("/api/v1/executions", headers={"authorization": key.partition(": ")[2]})

    assert done.returncode == 0, done.stdout[-6000:]
    assert "Tested:" in done.stdout
    assert still.status_code == 200
    assert "Traceback" not in (tmp_path / "serve.log").read_text()
