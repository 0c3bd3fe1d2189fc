"""Write-behind where commands arrive late, out of order, or twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from turnout.errors import BackendError, Fenced
from turnout.interfaces.journal import Row
from turnout_ecs.connection import Connection
from turnout_ecs.journal.journal import RedisJournal
from turnout_ecs.journal.keys import JournalKeys
from turnout_ecs.journal.parcels import pack
from turnout_ecs.journal.writers import Append, Writer
from turnout_ecs.options import Address
from turnout_ecs.scripts import load
from turnout_ecs.testing.servers import RedisServer

KEYS = JournalKeys("turnout")


@pytest_asyncio.fixture
async def journal(connection: Connection) -> AsyncIterator[RedisJournal]:
    journal = RedisJournal(connection)
    yield journal
    await journal.close()


class Server:
    """Carries out the appends that a test lets arrive, as append.lua does, and says so when the test wants."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, asyncio.Future[Any]]] = []
        self.written: list[int] = []
        self.outstanding = 0

    def send(self, writer: Writer, append: Append) -> asyncio.Future[Any]:
        future = asyncio.get_running_loop().create_future()
        self.sent.append((append.number, future))
        return future

    def count(self, more_bytes: int) -> None:
        self.outstanding += more_bytes

    async def arrive(self, *order: int) -> None:
        """The appends that are on their way arrive in this order of their numbers; the rest stays."""
        for number in order:
            future = next(future for sent, future in self.sent if sent == number)
            self.sent = [one for one in self.sent if one[1] is not future]
            future.set_result(self._carry_out(number))
            await asyncio.sleep(0)

    def _carry_out(self, number: int) -> list[bytes]:
        if number > len(self.written) + 1:
            return [b"gap", str(len(self.written)).encode()]
        if number > len(self.written):
            self.written.append(number)
        return [b"written"]


def writer_to(server: Server) -> Writer:
    return Writer("e1", 1, id_="w", opened=True, send=server.send, outstanding=server.count)


async def test_what_arrives_too_early_is_sent_again_after_what_it_follows() -> None:
    server = Server()
    writer = writer_to(server)
    for _ in range(3):
        writer.append(pack(KEYS, [Row("step", b"x")]), ends=False)

    await server.arrive(2, 3, 1)
    again = [number for number, _ in server.sent]
    await server.arrive(2, 3)
    await writer.settled()

    assert again == [2, 3]
    assert server.written == [1, 2, 3]
    writer.check()


async def test_while_some_is_to_be_sent_again_what_is_new_waits_behind_it() -> None:
    server = Server()
    writer = writer_to(server)
    for _ in range(2):
        writer.append(pack(KEYS, [Row("step", b"x")]), ends=False)
    await server.arrive(2)

    writer.append(pack(KEYS, [Row("step", b"x")]), ends=False)
    on_their_way = [number for number, _ in server.sent]
    await server.arrive(1, 2, 3)
    await writer.settled()

    assert on_their_way == [1]
    assert server.written == [1, 2, 3]


async def test_a_server_that_has_lost_what_it_acknowledged_is_an_error() -> None:
    server = Server()
    writer = writer_to(server)
    writer.append(pack(KEYS, [Row("step", b"x")]), ends=False)
    await server.arrive(1)
    server.written.clear()

    writer.append(pack(KEYS, [Row("step", b"x")]), ends=False)
    await server.arrive(2)
    await writer.settled()

    with pytest.raises(BackendError, match="lost rows"):
        writer.check()


async def test_after_a_failure_nothing_more_is_sent_and_all_is_let_go() -> None:
    server = Server()
    writer = writer_to(server)
    parcel = pack(KEYS, [Row("step", b"x")])
    for _ in range(3):
        writer.append(parcel, ends=False)

    before = server.outstanding
    for _, future in server.sent:
        future.set_exception(BackendError("the disk is full"))
    await writer.settled()

    with pytest.raises(BackendError, match="the disk is full"):
        writer.append(parcel, ends=False)
    assert len(server.sent) == 3
    assert (before, server.outstanding) == (3 * parcel.size, 0)


async def _append(connection: Connection, number: int, *, writer: str = "w", opened: int = 1, token: int = 1) -> Any:
    parcel = pack(KEYS, [Row("step", f"{writer}{number}".encode())])
    args = ("e1", token, writer, number, opened, *parcel.arguments)
    return await connection.run(load("journal/append.lua"), KEYS.written("e1"), args)


async def _open(connection: Connection, *, writer: str, token: int = 1) -> Any:
    keys = (KEYS.rows, KEYS.positions("e1"), KEYS.owner("e1"))
    return await connection.run(load("journal/open.lua"), keys, (token, writer, 10, 1000))


async def test_an_append_that_arrives_twice_is_written_once(connection: Connection, journal: RedisJournal) -> None:
    await _open(connection, writer="w")

    replies = [await _append(connection, number) for number in (1, 2, 1, 2, 2)]

    assert replies == [[b"written"]] * 5
    assert [row.body for row in await journal.rows("e1")] == [b"w1", b"w2"]


async def test_an_append_that_arrives_before_the_one_it_follows_is_refused(
    connection: Connection, journal: RedisJournal
) -> None:
    await _open(connection, writer="w")

    replies = [await _append(connection, number) for number in (2, 1, 3)]

    assert replies == [[b"gap", b"0"], [b"written"], [b"gap", b"1"]]
    assert [row.body for row in await journal.rows("e1")] == [b"w1"]


async def test_what_an_earlier_opening_sent_is_not_written_once_it_was_opened_again(
    connection: Connection, journal: RedisJournal
) -> None:
    await _open(connection, writer="a")
    await _append(connection, 1, writer="a")
    await _open(connection, writer="b")

    late = [await _append(connection, number, writer="a") for number in (1, 2)]

    assert late == [[b"superseded"]] * 2
    assert await _append(connection, 1, writer="b") == [b"written"]
    assert [row.body for row in await journal.rows("e1")] == [b"a1", b"b1"]


async def test_opening_that_arrives_twice_is_done_once(connection: Connection) -> None:
    first = await _open(connection, writer="a")
    await _append(connection, 1, writer="a")

    again = await _open(connection, writer="a")

    assert (first[:2], again[:2]) == ([b"opened", 0], [b"opened", 1])
    assert await _append(connection, 1, writer="a") == [b"written"]
    assert await _append(connection, 2, writer="a") == [b"written"]


async def test_an_owner_whose_opening_nobody_remembers_goes_on(connection: Connection) -> None:
    opener, other = RedisJournal(connection), RedisJournal(connection)
    await opener.begin("e1", [Row("step", b"a")])
    await opener.open("e1", 1)

    await other.append("e1", 1, [Row("step", b"b")])
    await other.append("e1", 1, [Row("step", b"c")])
    await other.barrier("e1", 1)

    assert [row.body for row in await opener.rows("e1")] == [b"a", b"b", b"c"]


async def test_opening_again_with_the_same_token_ends_the_first_opening(connection: Connection) -> None:
    first, second = RedisJournal(connection), RedisJournal(connection)
    await first.begin("e1", [Row("step", b"a")])
    await first.open("e1", 1)
    await second.open("e1", 1)

    await first.append("e1", 1, [Row("step", b"b")])
    with pytest.raises(BackendError, match="opened again"):
        await first.barrier("e1", 1)

    with pytest.raises(BackendError, match="opened again"):
        await first.append("e1", 1, [Row("step", b"c")])
    assert [row.body for row in await second.rows("e1")] == [b"a"]


async def test_a_zombie_of_the_same_process_writes_nothing(journal: RedisJournal) -> None:
    await journal.begin("e1", [Row("step", b"a")])
    await journal.open("e1", 1)
    await journal.append("e1", 1, [Row("step", b"b")])
    await journal.open("e1", 2)

    await journal.append("e1", 1, [Row("step", b"zombie")])
    await journal.append("e1", 2, [Row("step", b"c")])
    with pytest.raises(Fenced):
        await journal.barrier("e1", 1)
    await journal.barrier("e1", 2)

    assert [row.body for row in await journal.rows("e1")] == [b"a", b"b", b"c"]


async def test_beginning_that_is_sent_again_by_the_same_is_true_and_by_another_false(connection: Connection) -> None:
    async def begin(sender: str, unique_ms: int) -> Any:
        keys = (*KEYS.written("e1"), KEYS.name("e1"))
        rows = pack(KEYS, [Row("step", b"x")]).arguments
        return await connection.run(load("journal/begin.lua"), keys, ("e1", sender, unique_ms, *rows))

    replies = [await begin(sender, unique_ms) for unique_ms in (1000, 0) for sender in ("me", "me", "you")]

    assert replies == [b"written", b"written", b"exists", b"written", b"written", b"exists"]


async def test_a_signal_that_is_sent_again_is_written_once(connection: Connection, journal: RedisJournal) -> None:
    await journal.begin("e1", [Row("step", b"a")])
    keys = (*KEYS.written("e1"), KEYS.sent("me"))
    args = ("e1", 1000, *pack(KEYS, [Row("cancel", b"")]).arguments)

    replies = [await connection.run(load("journal/signal.lua"), keys, args) for _ in range(3)]

    assert replies == [b"written"] * 3
    assert [row.kind for row in await journal.rows("e1")] == ["step", "cancel"]


async def test_a_journal_whose_connection_was_closed_fails_at_the_barrier_and_does_not_hang(
    server: RedisServer,
) -> None:
    connection = Connection(Address.parse(server.url))
    journal = RedisJournal(connection)
    await journal.open("e1", 1)
    await journal.append("e1", 1, [Row("step", b"under way")])
    await connection.aclose()

    await journal.append("e1", 1, [Row("step", b"too late")])
    with pytest.raises(BackendError, match="closed"):
        await journal.barrier("e1", 1)
    await journal.close()
