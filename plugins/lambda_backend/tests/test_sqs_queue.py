"""The queue's contract on SQS, with the ledger in a catalog on SQLite, and random calls against the model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from turnout.local.database import Database
from turnout.local.memory_catalog import MemoryCatalog
from turnout.local.sqlite_catalog import SQLiteCatalog
from turnout.model.tenancy import Policies
from turnout.testing.clock import ManualClock
from turnout.testing.queue import MakeQueue, QueueContract
from turnout.testing.queue_machine import queue_machine
from turnout_lambda.sqs_hints import Hints
from turnout_lambda.sqs_queue import SqsQueue

from plugins.lambda_backend.tests.sqs_parts import SharedClock, new_queue, sqs_queue
from plugins.lambda_backend.tests.stand_in import StandIn


class TestSqsQueue(QueueContract):
    """With a ledger that survives the process."""

    @pytest.fixture
    def clock(self, stand_in: StandIn) -> SharedClock:
        return SharedClock(stand_in)

    @pytest.fixture
    def make_queue(self, sqs: Any, tmp_path: Path) -> Iterator[MakeQueue]:
        database, url = Database(tmp_path / "turnout.db"), new_queue(sqs)
        yield lambda clock, policies: sqs_queue(Hints(sqs, url, clock), SQLiteCatalog(database), clock, policies)
        database.close()


def test_random_calls_agree_with_the_model(stand_in: StandIn, sqs: Any) -> None:
    def make_queue(clock: ManualClock, policies: Policies) -> SqsQueue:
        return sqs_queue(Hints(sqs, new_queue(sqs), clock), MemoryCatalog(), clock, policies)

    machine = queue_machine(make_queue, make_clock=lambda: SharedClock(stand_in))

    run_state_machine_as_test(machine, settings=settings(max_examples=12, stateful_step_count=40, deadline=None))
