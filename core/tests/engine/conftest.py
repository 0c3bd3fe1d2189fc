from __future__ import annotations

import asyncio
import importlib.util
import sys
from pathlib import Path

import pytest
from turnout.interfaces.clock import SystemClock
from turnout.local.sandbox import ProcessSandbox

# `--import-mode=importlib` puts no test directory on the path; what the engine's tests share is loaded here by its file.
_FILE = Path(__file__).parent / "laboratory.py"
_SPEC = importlib.util.spec_from_file_location("laboratory", _FILE)
assert _SPEC is not None
assert _SPEC.loader is not None
laboratory = importlib.util.module_from_spec(_SPEC)
sys.modules["laboratory"] = laboratory
_SPEC.loader.exec_module(laboratory)


class SteppingClock(SystemClock):
    """Time that stands still but for sleeps, which take none: a test of an hour's wait ends at once."""

    def __init__(self) -> None:
        self.at = 1_800_000_000.0

    def now(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.at += max(0.0, seconds)
        await asyncio.sleep(0)


@pytest.fixture
async def sandbox():
    made = ProcessSandbox(warm_floor=1)
    yield made
    await made.close()


@pytest.fixture
def lab(tmp_path, sandbox):
    return laboratory.Laboratory(directory=tmp_path, sandbox=sandbox, clock=SteppingClock())
