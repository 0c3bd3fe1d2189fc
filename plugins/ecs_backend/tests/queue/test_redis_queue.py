"""The queue's contract on Redis, on each version of the server that this machine has."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from turnout.interfaces.queue import Queue
from turnout.model.tenancy import Policies
from turnout.testing.clock import ManualClock
from turnout.testing.queue import LEASE_S, MAX_ATTEMPTS, MakeQueue, QueueContract
from turnout.testing.queue_fixtures import message, order, taken
from turnout.testing.queue_machine import queue_machine
from turnout_ecs.connection import Connection
from turnout_ecs.options import Address
from turnout_ecs.queue.queue import RedisQueue
from turnout_ecs.testing.servers import RedisServer


class TestRedisQueue(QueueContract):
    """On each version of the server that there is here."""

    shards = 1

    @pytest.fixture
    def make_queue(self, connection: Connection, prefix: str) -> MakeQueue:
        return lambda clock, policies: RedisQueue(
            connection,
            prefix=prefix,
            shards=self.shards,
            clock=clock,
            lease_s=LEASE_S,
            max_attempts=MAX_ATTEMPTS,
            policies=policies,
        )


class TestRedisQueueInShards(TestRedisQueue):
    """Between tenants of different shards there is one order only: the shards take turns."""

    shards = 3

    async def test_an_expired_message_comes_before_those_waiting(self, queue: Queue, clock: ManualClock) -> None:
        for id in ("e1", "e2"):
            await queue.put(message(id))
        await taken(queue)
        await queue.put(message("e3", priority=9))

        clock.advance(LEASE_S + 0.1)

        assert await order(queue) == ["e1", "e3", "e2"]


class _OwnConnection(RedisQueue):
    """The machine makes a queue and an event loop for each example."""

    def __init__(self, connection: Connection, prefix: str, clock: ManualClock, policies: Policies) -> None:
        self.own = connection
        super().__init__(
            connection,
            prefix=prefix,
            clock=clock,
            lease_s=LEASE_S,
            max_attempts=MAX_ATTEMPTS,
            policies=policies,
        )

    async def close(self) -> None:
        await super().close()
        await self.own.aclose()


def test_random_calls_agree_with_the_model(server: RedisServer, prefix: str) -> None:
    numbers = itertools.count()
    machine = queue_machine(
        lambda clock, policies: _OwnConnection(
            Connection(Address.parse(server.url)), f"{prefix}-{next(numbers)}", clock, policies
        )
    )

    run_state_machine_as_test(machine, settings=settings(max_examples=40, stateful_step_count=60, deadline=None))
