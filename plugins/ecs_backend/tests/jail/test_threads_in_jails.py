"""Threads of customers' code in a sealed jail."""

from __future__ import annotations

from pathlib import Path

import pytest
from turnout.interfaces.sandbox import Limits, Success
from turnout.testing.sandbox import bundle_of, job
from turnout_ecs.jail.options import ChrootOptions
from turnout_ecs.jail.sandbox import ChrootSandbox

_STEP = """
import { Worker } from "node:worker_threads";
const source = `
  const kept = [];
  while (kept.length < 8) kept.push(new Array(1024 * 1024).fill(kept.length + 0.5));
  require("node:worker_threads").parentPort.postMessage(kept.length);
`;
export default () => new Promise((done, failed) => new Worker(source, { eval: true }).on("message", done).on("error", failed));
"""


@pytest.mark.fargate
async def test_a_thread_finds_its_stack_when_it_collects_garbage(jail: Path, tmp_path: Path) -> None:
    sandbox = ChrootSandbox(ChrootOptions(jail=jail, warm_floor=0))
    await sandbox.start()
    handle = await sandbox.acquire(
        "acme", bundle_of(tmp_path / "bundle", {"step.mjs": _STEP}), Limits(memory_bytes=700 << 20)
    )

    outcome = await handle.run(job("step.mjs"))

    await handle.release()
    await sandbox.close()
    assert isinstance(outcome, Success), outcome
    assert outcome.output.json == b"8"
