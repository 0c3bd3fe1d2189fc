"""The local target keeps the promises of targets."""

from __future__ import annotations

import pytest
from turnout.local.target import LocalTarget
from turnout.testing.target import TargetContract


class TestLocalTarget(TargetContract):
    @pytest.fixture
    def target(self) -> LocalTarget:
        return LocalTarget()
