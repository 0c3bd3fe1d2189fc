"""A contract suite that fails in a third party's tests shows the values that differ."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

THIRD_PARTY = """
import pytest
from turnout.local.memory_queue import MemoryQueue
from turnout.testing.queue import LEASE_S, MAX_ATTEMPTS, QueueContract

class Deaf(MemoryQueue):
    async def cancel(self, id):
        return "deaf"

class TestDeaf(QueueContract):
    @pytest.fixture
    def make_queue(self):
        return lambda clock, policies: Deaf(clock=clock, lease_s=LEASE_S, max_attempts=MAX_ATTEMPTS)
"""


def test_a_third_party_sees_the_values_of_an_assertion_that_fails_in_a_suite(tmp_path: Path) -> None:
    (tmp_path / "test_deaf.py").write_text(THIRD_PARTY)
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n"
    )

    outcome = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-k", "unknown_message_is_false", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )

    assert outcome.returncode == 1
    assert "assert 'deaf' is False" in outcome.stdout
