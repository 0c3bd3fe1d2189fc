"""The queue's contract on SQS, with the ledger in a catalog on SQLite."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]
import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from turnout.interfaces.catalog import CatalogStore
from turnout.local.database import Database
from turnout.local.memory_catalog import MemoryCatalog
from turnout.local.sqlite_catalog import SQLiteCatalog
from turnout.model.tenancy import Policies
from turnout.testing.clock import ManualClock
from turnout.testing.queue import LEASE_S, MAX_ATTEMPTS, MakeQueue, QueueContract
from turnout.testing.queue_machine import queue_machine
from turnout_lambda.sqs_hints import Hints
from turnout_lambda.sqs_queue import SqsQueue

from plugins.lambda_backend.tests.stand_in import StandIn

_NUMBERS = itertools.count(1)
_STARTS = itertools.count(1_800_000_000, 100_000_000)


class SharedClock(ManualClock):
    """SQS goes by it as well. Each starts after those before, so that what is left of their tests ends."""

    def __init__(self, stand_in: StandIn) -> None:
        super().__init__(start=float(next(_STARTS)))
        self._stand_in = stand_in
        stand_in.stand_at(self.now())

    def advance(self, seconds: float) -> None:
        super().advance(seconds)
        self._stand_in.stand_at(self.now())


@pytest.fixture
def sqs(stand_in: StandIn, credentials: None) -> Any:
    """A client of one's own, as long as the session: polls that nobody waits for any more may use it."""
    return boto3.client("sqs", endpoint_url=stand_in.url)


@pytest.fixture
def url(sqs: Any) -> str:
    """An empty queue's."""
    made: str = sqs.create_queue(QueueName=f"turnout-{next(_NUMBERS)}")["QueueUrl"]
    return made


def sqs_queue(hints: Hints, catalog: CatalogStore, clock: ManualClock, policies: Policies) -> SqsQueue:
    return SqsQueue(
        hints,
        catalog,
        name="main",
        clock=clock,
        lease_s=LEASE_S,
        max_attempts=MAX_ATTEMPTS,
        policies=policies,
    )


class TestSqsQueue(QueueContract):
    """With a ledger that survives the process."""

    @pytest.fixture
    def clock(self, stand_in: StandIn) -> SharedClock:
        return SharedClock(stand_in)

    @pytest.fixture
    def make_queue(self, sqs: Any, url: str, tmp_path: Path) -> Iterator[MakeQueue]:
        database = Database(tmp_path / "turnout.db")
        yield lambda clock, policies: sqs_queue(Hints(sqs, url, clock), SQLiteCatalog(database), clock, policies)
        database.close()


def test_random_calls_agree_with_the_model(stand_in: StandIn, sqs: Any) -> None:
    def make_queue(clock: ManualClock, policies: Policies) -> SqsQueue:
        url = sqs.create_queue(QueueName=f"turnout-{next(_NUMBERS)}")["QueueUrl"]
        return sqs_queue(Hints(sqs, url, clock), MemoryCatalog(), clock, policies)

    machine = queue_machine(make_queue, make_clock=lambda: SharedClock(stand_in))

    run_state_machine_as_test(machine, settings=settings(max_examples=40, stateful_step_count=60, deadline=None))
