"""What the journal costs in round trips to Redis: the price of durability, since each is a wait."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from turnout.config import JournalMode, RunnerSettings, Settings, StoresSettings
from turnout.connectors import ActionContext, Connector, Effect, Inputs, Value
from turnout.definition.loader import load_yaml_text
from turnout.engine.outcome import Finished
from turnout.interfaces.journal import Row
from turnout.local.platform import Platform
from turnout.model.execution import Status
from turnout.plugins import load_plugins
from turnout_ecs.connection import Connection
from turnout_ecs.journal.journal import RedisJournal
from turnout_ecs.options import Address
from turnout_ecs.testing.servers import RedisServer

from tests.redis.tally import Tally, tallied

ROW = [Row("step", b"x" * 1000)]
LARGE = [Row("step", b"x" * 100_000)]

SIX_STEPS = """
integration: orders
version: 1.0.0
flows:
  main:
    steps:
      - {id: fetch, action: shop.fetch}
      - id: parse
        code: "export default ({ lines }) => lines.split('\\\\n').map((line) => ({ total: line.length }));"
        with: {lines: "${{ steps.fetch }}"}
      - id: large
        code: "export default ({ orders }) => orders.filter((order) => order.total > 10);"
        with: {orders: "${{ steps.parse }}"}
      - {id: batch, action: state.increment, with: {key: batches}}
      - {id: post, action: shop.post, with: {orders: "${{ steps.large }}"}}
      - {id: store, action: state.set, with: {key: last, value: "${{ steps.post }}"}}
"""


class Orders(Inputs):
    orders: Any


def shop() -> Connector:
    connector = Connector("shop", connection_required=False)

    @connector.action(effect=Effect.READ)
    async def fetch(context: ActionContext, inputs: Inputs) -> str:
        """Two hundred orders."""
        return "\n".join(f"{number:040}" for number in range(200))

    @connector.action(effect=Effect.EFFECT)
    async def post(context: ActionContext, inputs: Orders) -> str:
        """Take them."""
        return "receipt"

    return connector


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest_asyncio.fixture
async def tally(redis: RedisServer) -> AsyncIterator[Tally]:
    redis.command("FLUSHALL")
    async with tallied(redis.port) as tally:
        yield tally


@pytest_asyncio.fixture
async def journal(tally: Tally) -> AsyncIterator[RedisJournal]:
    connection = Connection(Address.parse(f"redis://127.0.0.1:{tally.port}"))
    journal = RedisJournal(connection)
    # A script is sent with its first use, in the same round trip; the connection's own come first.
    await connection.ready()
    yield journal
    await connection.aclose()


async def trips_of(tally: Tally, call: Awaitable[Any]) -> int:
    before = tally.trips
    await call
    return tally.trips - before


async def append_and_wait(journal: RedisJournal, rows: list[Row]) -> None:
    await journal.append("e1", 1, rows)
    await journal.barrier("e1", 1)


@pytest.mark.parametrize(
    ("what", "call"),
    [
        ("begin", lambda journal: journal.begin("e2", ROW)),
        ("begin with a large body", lambda journal: journal.begin("e2", LARGE)),
        ("begin once", lambda journal: journal.begin("e2", ROW, unique_s=60)),
        ("open", lambda journal: journal.open("e1", 2)),
        ("append and barrier", lambda journal: append_and_wait(journal, ROW)),
        ("append and barrier with a large body", lambda journal: append_and_wait(journal, LARGE)),
        ("barrier", lambda journal: journal.barrier("e1", 1)),
        ("fence", lambda journal: journal.fence("e1", 3)),
        ("signal", lambda journal: journal.signal("e1", Row("cancel", b""))),
        ("rows", lambda journal: journal.rows("e1")),
        ("entries", lambda journal: journal.entries(after=0, limit=100)),
        ("unfinished", lambda journal: journal.unfinished()),
        ("forget many", lambda journal: journal.forget(["e1", *(f"e{n}" for n in range(2, 100))])),
    ],
)
async def test_each_wait_is_one_round_trip(
    journal: RedisJournal, tally: Tally, what: str, call: Callable[[RedisJournal], Awaitable[Any]]
) -> None:
    await journal.begin("e1", ROW)
    await journal.open("e1", 1)

    assert await trips_of(tally, call(journal)) == 1


async def test_append_waits_for_none(journal: RedisJournal, tally: Tally) -> None:
    await journal.open("e1", 1)

    async def append() -> None:
        for _ in range(100):
            await journal.append("e1", 1, ROW)

    assert await trips_of(tally, append()) == 0
    assert await trips_of(tally, journal.barrier("e1", 1)) == 1


@pytest.mark.parametrize(("mode", "most"), [(JournalMode.DEFAULT, 6), (JournalMode.STRICT, 11)])
async def test_an_integration_of_six_steps_costs_few(
    tally: Tally, tmp_path: Path, mode: JournalMode, most: int
) -> None:
    settings = Settings(
        root=tmp_path,
        stores=StoresSettings(journal="redis"),
        backends={"redis": {"url": f"redis://127.0.0.1:{tally.port}"}},
        runner=RunnerSettings(journal=mode),
    )
    platform = await Platform.open(settings, load_plugins())
    connectors = {**platform.backends.connectors, "shop": shop()}
    platform.backends = platform.engine.backends = replace(platform.backends, connectors=connectors)
    instance = await platform.deploy(load_yaml_text(SIX_STEPS, directory=str(tmp_path)), config={}, connections={})
    accept_trips: list[int] = []
    run_trips: list[int] = []
    for _ in range(3):
        before = tally.trips
        accepted = await platform.submission.accept(instance, "main", Value(None))
        accept_trips.append(tally.trips - before)
        lease = await platform.stores.queue.claim("w", accepted.id)
        assert lease is not None
        before = tally.trips
        outcome = await platform.runner.run(lease)
        run_trips.append(tally.trips - before)
        assert isinstance(outcome, Finished)
        assert outcome.status is Status.SUCCEEDED, outcome.error
    await platform.close()

    assert accept_trips == [1, 1, 1]
    assert max(run_trips) <= most
