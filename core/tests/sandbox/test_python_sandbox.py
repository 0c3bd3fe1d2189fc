"""The `process` sandbox keeps the contract for Python."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from turnout.interfaces.sandbox import Sandbox
from turnout.local.process_sandbox import ProcessSandbox
from turnout.testing.python_sandbox import PythonSandboxContract


class TestPythonInProcesses(PythonSandboxContract):
    @pytest.fixture
    async def sandbox(self) -> AsyncIterator[Sandbox]:
        sandbox = ProcessSandbox(warm_floor=1, warm_ceiling=3)
        yield sandbox
        await sandbox.close()
