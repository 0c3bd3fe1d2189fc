"""The contract of sandboxes that run Python, kept by jails in namespaces."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from turnout.testing.python_sandbox import PythonSandboxContract
from turnout_ecs.jail.bubblewrap import BubblewrapSandbox
from turnout_ecs.jail.options import BubblewrapOptions

pytestmark = pytest.mark.withheld("namespaces")


class TestPythonInBubblewrap(PythonSandboxContract):
    @pytest.fixture
    async def sandbox(self, jail: Path) -> AsyncIterator[BubblewrapSandbox]:
        if shutil.which("bwrap") is None:
            pytest.skip("bubblewrap is not here: install the package bubblewrap")
        sandbox = BubblewrapSandbox(BubblewrapOptions(jail=jail, warm_floor=1))
        await sandbox.start()
        yield sandbox
        await sandbox.close()
