"""What tests of the queue share: a clock that SQS goes by as well, and the queue's parts."""

from __future__ import annotations

import itertools
from typing import Any, Final

from turnout.interfaces.catalog import CatalogStore
from turnout.model.tenancy import Policies
from turnout.testing.clock import ManualClock
from turnout.testing.queue import LEASE_S, MAX_ATTEMPTS
from turnout_lambda.sqs_hints import Hints
from turnout_lambda.sqs_queue import SqsQueue

from plugins.lambda_backend.tests.stand_in import StandIn

_NUMBERS: Final = itertools.count(1)
_STARTS: Final = itertools.count(1_800_000_000, 20_000_000)


class SharedClock(ManualClock):
    """SQS goes by it as well. Each starts after those before, so that what is left of their tests ends."""

    def __init__(self, stand_in: StandIn) -> None:
        super().__init__(start=float(next(_STARTS)))
        self._stand_in = stand_in
        stand_in.stand_at(self.now())

    def advance(self, seconds: float) -> None:
        super().advance(seconds)
        self._stand_in.stand_at(self.now())


def new_queue(sqs: Any, **attributes: str) -> str:
    """An empty queue's URL."""
    made: str = sqs.create_queue(QueueName=f"turnout-{next(_NUMBERS)}", Attributes=attributes)["QueueUrl"]
    return made


def sqs_queue(
    hints: Hints, catalog: CatalogStore, clock: ManualClock, policies: Policies, *, kind: type[SqsQueue] = SqsQueue
) -> SqsQueue:
    return kind(
        hints,
        catalog,
        name="main",
        clock=clock,
        lease_s=LEASE_S,
        max_attempts=MAX_ATTEMPTS,
        policies=policies,
    )
