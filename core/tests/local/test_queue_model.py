"""Random sequences of calls to a queue, compared with a model that is too simple to be wrong."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from turnout.interfaces.clock import Clock
from turnout.local.database import Database
from turnout.local.memory_lines import TenantLine
from turnout.local.memory_queue import MemoryQueue
from turnout.local.sqlite_queue import SQLiteQueue
from turnout.model.tenancy import Policies
from turnout.testing.clock import ManualClock
from turnout.testing.queue import LEASE_S, MAX_ATTEMPTS
from turnout.testing.queue_machine import queue_machine


class OwnDatabase(SQLiteQueue):
    """A queue with a file of its own, removed when it is closed: the machine makes one for each example."""

    def __init__(self, clock: Clock, policies: Policies) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.database = Database(Path(self.folder.name) / "queue.db")
        super().__init__(self.database, clock=clock, policies=policies, lease_s=LEASE_S, max_attempts=MAX_ATTEMPTS)

    async def close(self) -> None:
        await super().close()
        self.database.close()
        self.folder.cleanup()


def in_memory(clock: ManualClock, policies: Policies) -> MemoryQueue:
    return MemoryQueue(clock=clock, policies=policies, lease_s=LEASE_S, max_attempts=MAX_ATTEMPTS)


TestMemoryQueueModel = queue_machine(in_memory, exact=True).TestCase
TestMemoryQueueModel.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)

TestSQLiteQueueModel = queue_machine(OwnDatabase, exact=True).TestCase
TestSQLiteQueueModel.settings = settings(max_examples=20, stateful_step_count=50, deadline=None)


class ForgetsWakes(MemoryQueue):
    async def wake(self, id: str) -> bool:
        return id in self._entries


class OpensEveryGate(MemoryQueue):
    """Hands out messages whatever their limits."""

    def _line(self, tenant: str) -> TenantLine:
        line = super()._line(tenant)
        line._is_open = lambda limit, now: True  # type: ignore[method-assign]
        return line


@pytest.mark.parametrize("broken", [ForgetsWakes, OpensEveryGate])
def test_the_model_notices_a_queue_that_breaks_a_promise(broken: type[MemoryQueue]) -> None:
    def make(clock: ManualClock, policies: Policies) -> MemoryQueue:
        return broken(clock=clock, policies=policies, lease_s=LEASE_S, max_attempts=MAX_ATTEMPTS)

    with pytest.raises(AssertionError):
        run_state_machine_as_test(
            queue_machine(make),
            settings=settings(
                max_examples=500,
                stateful_step_count=50,
                deadline=None,
                derandomize=True,
                print_blob=False,
                phases=[Phase.generate],  # that it is found is enough: looking for the shortest way takes a minute
            ),
        )
