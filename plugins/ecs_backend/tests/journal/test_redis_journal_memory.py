"""What the journal leaves on the server: nothing that grows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio
from turnout.errors import Fenced
from turnout.interfaces.journal import Row
from turnout_ecs.connection import Connection
from turnout_ecs.journal.journal import RedisJournal
from turnout_ecs.journal.keys import JournalKeys
from turnout_ecs.journal.parcels import SEPARATE_BYTES, pack
from turnout_ecs.scripts import load
from turnout_ecs.testing.servers import RedisServer

KEYS = JournalKeys("turnout")
LARGE = Row("step", b"x" * (SEPARATE_BYTES + 1))
SMALL = Row("step", b"x" * SEPARATE_BYTES)
ENDED = Row("ended", b"")


@pytest_asyncio.fixture
async def journal(connection: Connection) -> AsyncIterator[RedisJournal]:
    journal = RedisJournal(connection)
    yield journal
    await journal.close()


@pytest.fixture
def keys_of(server: RedisServer) -> Callable[[], set[bytes]]:
    return lambda: set(server.command("KEYS", "*"))


def expires(server: RedisServer, key: bytes) -> bool:
    left_ms: int = server.command("PTTL", key)
    return left_ms > 0


async def test_forgotten_executions_leave_nothing_but_the_constants(
    journal: RedisJournal, server: RedisServer, keys_of: Callable[[], set[bytes]]
) -> None:
    for number in range(20):
        execution = f"e{number}"
        await journal.begin(execution, [SMALL, LARGE])
        await journal.open(execution, 1)
        await journal.append(execution, 1, [LARGE, SMALL])
        await journal.append(execution, 1, [ENDED])
        await journal.barrier(execution, 1)

    await journal.forget([f"e{number}" for number in range(20)])

    assert keys_of() == {KEYS.last, KEYS.rows}
    assert server.command("XLEN", KEYS.rows) == 0


async def test_a_long_history_is_forgotten_whole(
    journal: RedisJournal, server: RedisServer, keys_of: Callable[[], set[bytes]]
) -> None:
    await journal.begin("e1", [Row("step", str(n).encode()) for n in range(1_500)])
    await journal.begin("e2", [SMALL])

    await journal.forget(["e1"])

    assert server.command("XLEN", KEYS.rows) == 1
    assert keys_of() == {KEYS.last, KEYS.rows, KEYS.unfinished, KEYS.positions("e2"), KEYS.owner("e2")}


async def test_what_a_process_died_at_forgetting_is_removed_by_the_next_that_forgets(
    connection: Connection, journal: RedisJournal, server: RedisServer, keys_of: Callable[[], set[bytes]]
) -> None:
    await journal.begin("e1", [LARGE, LARGE])
    keys = (KEYS.rows, KEYS.unfinished, KEYS.positions("e1"), KEYS.owner("e1"), KEYS.waste)
    await connection.run(load("journal/forget.lua"), keys, ("e1", ""))
    assert len([key for key in keys_of() if b"body" in key]) == 2

    await journal.forget(["another"])

    assert keys_of() == {KEYS.last, KEYS.rows}
    assert server.command("XLEN", KEYS.rows) == 0


async def test_two_that_forget_at_once_remove_what_is_theirs_alone(
    journal: RedisJournal, connection: Connection
) -> None:
    others = RedisJournal(connection)
    for execution in ("e1", "e2", "e3"):
        await journal.begin(execution, [LARGE] * 250)

    await asyncio.gather(journal.forget(["e1"]), others.forget(["e2"]))

    assert await journal.rows("e3") == [LARGE] * 250
    assert {entry.execution for entry in await journal.entries(after=0, limit=1000)} == {"e3"}


async def test_large_bodies_stand_once_and_outside_of_the_rows(
    journal: RedisJournal, server: RedisServer, keys_of: Callable[[], set[bytes]]
) -> None:
    await journal.begin("e1", [LARGE, SMALL])

    (body,) = [key for key in keys_of() if b"body" in key]
    assert server.command("GET", body) == LARGE.body
    assert not expires(server, body)
    (large, small) = server.command("XRANGE", KEYS.rows, "-", "+")
    assert LARGE.body not in large[1]
    assert SMALL.body in small[1]


async def test_the_large_bodies_of_rows_that_are_fenced_expire(
    journal: RedisJournal, server: RedisServer, keys_of: Callable[[], set[bytes]]
) -> None:
    await journal.begin("e1", [SMALL])
    await journal.open("e1", 1)
    await journal.fence("e1", 2)

    await journal.append("e1", 1, [LARGE])
    with pytest.raises(Fenced):
        await journal.barrier("e1", 1)

    (body,) = [key for key in keys_of() if b"body" in key]
    assert expires(server, body)


async def test_the_large_bodies_of_an_execution_that_exists_already_expire(
    journal: RedisJournal, server: RedisServer, keys_of: Callable[[], set[bytes]]
) -> None:
    await journal.begin("e1", [SMALL])

    assert not await journal.begin("e1", [LARGE])

    (body,) = [key for key in keys_of() if b"body" in key]
    assert expires(server, body)


async def test_sending_rows_again_does_not_make_their_large_bodies_expire(
    journal: RedisJournal, connection: Connection, server: RedisServer, keys_of: Callable[[], set[bytes]]
) -> None:
    parcel = pack(KEYS, [LARGE])
    keys = (*KEYS.written("e1"), KEYS.name("e1"))

    replies = [
        await parcel.run(connection, load("journal/begin.lua"), keys, ("e1", "me", 0), patience_s=5) for _ in range(2)
    ]

    (body,) = [key for key in keys_of() if b"body" in key]
    assert replies == [b"written", b"written"]
    assert not expires(server, body)
    assert await journal.rows("e1") == [LARGE]


async def test_rows_whose_large_body_is_gone_are_not_written(
    journal: RedisJournal, connection: Connection, keys_of: Callable[[], set[bytes]]
) -> None:
    parcel = pack(KEYS, [SMALL, LARGE])
    keys = (*KEYS.written("e1"), KEYS.name("e1"), *(key for key, _ in parcel.bodies))

    reply = await connection.run(load("journal/begin.lua"), keys, ("e1", "me", 0, *parcel.arguments))

    assert reply == b"expired"
    assert keys_of() == set()


async def test_the_fence_of_an_execution_without_rows_expires_until_it_has_rows(
    journal: RedisJournal, server: RedisServer
) -> None:
    await journal.fence("fenced", 3)
    await journal.open("opened", 1)
    before = [expires(server, KEYS.owner(execution)) for execution in ("fenced", "opened")]

    await journal.begin("fenced", [SMALL])
    await journal.append("opened", 1, [SMALL])
    await journal.barrier("opened", 1)

    after = [expires(server, KEYS.owner(execution)) for execution in ("fenced", "opened")]
    assert (before, after) == ([True, True], [False, False])


async def test_names_and_signals_are_remembered_for_a_time_only(
    journal: RedisJournal, server: RedisServer, keys_of: Callable[[], set[bytes]]
) -> None:
    await journal.begin("e1", [SMALL], unique_s=3600)
    await journal.signal("e1", LARGE)
    await journal.forget(["e1"])

    left = keys_of() - {KEYS.last, KEYS.rows}

    assert len(left) == 2
    assert all(expires(server, key) for key in left)


async def test_a_journal_that_was_lost_goes_on_after_the_positions_of_the_old_one(
    journal: RedisJournal, server: RedisServer
) -> None:
    await journal.begin("e1", [SMALL] * 5)
    seen = (await journal.entries(after=0, limit=10))[-1].position

    server.command("FLUSHALL")
    await journal.begin("e2", [SMALL])

    assert [entry.execution for entry in await journal.entries(after=seen, limit=10)] == ["e2"]


async def test_a_journal_that_lost_its_last_second_goes_on_after_what_its_readers_have_seen(
    journal: RedisJournal, server: RedisServer
) -> None:
    await journal.begin("e1", [SMALL])
    kept = (KEYS.last, KEYS.rows)
    for key in kept:
        server.command("COPY", key, key + b":kept")
    await journal.begin("e2", [SMALL] * 5)
    seen = (await journal.entries(after=0, limit=10))[-1].position

    for key in kept:
        server.command("RENAME", key + b":kept", key)
    await journal.begin("e3", [SMALL])

    assert [entry.execution for entry in await journal.entries(after=seen, limit=10)] == ["e3"]
