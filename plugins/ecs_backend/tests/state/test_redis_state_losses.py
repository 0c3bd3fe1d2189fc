"""State while connections are killed and values are replaced by others of another size."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest
from turnout.errors import BackendError, StepError
from turnout.interfaces.state import StateScope
from turnout.model.payload import Encoded
from turnout_ecs.connection import Connection
from turnout_ecs.options import Address
from turnout_ecs.state.state import RedisState
from turnout_ecs.testing.servers import RedisServer, free_port

SCOPE = StateScope(tenant="acme", instance="orders")
LARGE = Encoded(json=b'"' + b"x" * 50_000 + b'"')
SMALL = Encoded(json=b"1")


def expires(server: RedisServer, key: bytes) -> bool:
    left_ms: int = server.command("PTTL", key)
    return left_ms > 0


async def test_changes_made_while_connections_are_killed_are_made_once(
    server: RedisServer, connection: Connection
) -> None:
    state = RedisState(connection)

    async def kill() -> None:
        for _ in range(10):
            await asyncio.to_thread(server.command, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    async def add(key: str, number: int) -> None:
        await state.increment(SCOPE, key, Decimal("0.1"), operation=str(number))

    await asyncio.gather(kill(), *(add(f"k{n % 5}", n) for n in range(200)))

    assert [await state.get(SCOPE, f"k{n}") for n in range(5)] == [Encoded(json=b"4.0")] * 5


async def test_two_processes_that_add_at_once_lose_nothing(server: RedisServer) -> None:
    connections = [Connection(Address.parse(server.url)) for _ in range(4)]

    await asyncio.gather(
        *(
            RedisState(connection).increment(SCOPE, "key", Decimal(1), operation=f"{who}-{n}")
            for who, connection in enumerate(connections)
            for n in range(25)
        )
    )

    assert await RedisState(connections[0]).get(SCOPE, "key") == Encoded(json=b"100")
    for connection in connections:
        await connection.aclose()


@pytest.mark.parametrize(
    "sizes", [(LARGE, SMALL), (SMALL, LARGE), (LARGE, LARGE)], ids=["to small", "to large", "large again"]
)
async def test_a_value_that_is_replaced_leaves_nothing(
    server: RedisServer, connection: Connection, sizes: tuple[Encoded, Encoded]
) -> None:
    state = RedisState(connection)

    for number, value in enumerate(sizes):
        await state.set(SCOPE, "key", value, operation=str(number))
        assert await state.get(SCOPE, "key") == value
    await state.delete(SCOPE, "key", operation="last")

    assert await state.get(SCOPE, "key") is None
    assert all(expires(server, key) for key in server.command("KEYS", "*"))


async def test_a_large_value_stays(server: RedisServer, connection: Connection) -> None:
    state = RedisState(connection)

    await state.set(SCOPE, "key", LARGE, operation="1")
    await state.set(SCOPE, "key", LARGE, operation="1")

    lasting = [key for key in server.command("KEYS", "*") if not expires(server, key)]
    assert len(lasting) == 2
    assert await state.get(SCOPE, "key") == LARGE


async def test_readers_of_a_value_whose_size_changes_see_one_or_the_other(connection: Connection) -> None:
    state = RedisState(connection)
    await state.set(SCOPE, "key", SMALL, operation="first")

    async def write() -> None:
        for number in range(60):
            await state.set(SCOPE, "key", LARGE if number % 2 else SMALL, operation=str(number))

    writing = asyncio.ensure_future(write())
    seen = set()
    while not writing.done():
        seen.add(await state.get(SCOPE, "key"))
    await writing

    assert seen <= {SMALL, LARGE}


async def test_a_large_value_is_no_number(connection: Connection) -> None:
    state = RedisState(connection)
    await state.set(SCOPE, "key", LARGE, operation="1")

    with pytest.raises(StepError, match="not a number"):
        await state.increment(SCOPE, "key", Decimal(1), operation="2")

    assert await state.get(SCOPE, "key") == LARGE


async def test_text_that_is_not_unicode_can_be_a_key(connection: Connection) -> None:
    state = RedisState(connection)

    await state.set(SCOPE, "a\udc80", SMALL, operation="\udc81")

    assert await state.get(SCOPE, "a\udc80") == SMALL
    assert await state.keys(SCOPE, "a") == ["a\udc80"]


async def test_a_server_that_stays_away_is_an_error() -> None:
    away = Connection(Address.parse(f"redis://127.0.0.1:{free_port()}"))

    with pytest.raises(BackendError, match="cannot be reached"):
        await RedisState(away, patience_s=0.2).set(SCOPE, "key", LARGE, operation="1")

    await away.aclose()
