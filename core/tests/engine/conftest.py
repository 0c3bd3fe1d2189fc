"""The engine's tests run in a laboratory: real stores and sandboxes, a clock that steps."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from turnout.local.process_sandbox import ProcessSandbox

from core.tests.engine.laboratory import Laboratory, SteppingClock


@pytest.fixture
async def sandbox() -> AsyncIterator[ProcessSandbox]:
    made = ProcessSandbox(warm_floor=1)
    yield made
    await made.close()


@pytest.fixture
def lab(tmp_path: Path, sandbox: ProcessSandbox) -> Laboratory:
    return Laboratory(directory=tmp_path, sandbox=sandbox, clock=SteppingClock())
