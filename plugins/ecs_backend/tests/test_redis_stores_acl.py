"""Journal and state as a user who may do no more than the README says, on keys of their prefix alone."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from turnout.errors import BackendError
from turnout.interfaces.journal import Row
from turnout.interfaces.opening import Opening
from turnout.testing.journal import JournalContract, MakeJournal
from turnout.testing.state import StateStoreContract
from turnout_ecs.connection import Connection
from turnout_ecs.journal.journal import RedisJournal
from turnout_ecs.options import Address
from turnout_ecs.state.state import RedisState
from turnout_ecs.testing.ageing import AgeingClock
from turnout_ecs.testing.servers import RedisServer

README = Path(__file__).parents[1] / "README.md"


def rules() -> list[str]:
    """What the README gives the user of the journal and the state."""
    text = re.search(r"ACL SETUSER turnout (.*?)\n```", README.read_text("utf-8"), re.DOTALL)
    assert text is not None
    return text[1].replace("\\\n", " ").split()


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        server.command("ACL", "SETUSER", "turnout", *rules())
        yield server


@pytest.fixture
def guarded(started: RedisServer) -> RedisServer:
    started.command("FLUSHALL")
    return started


@pytest.fixture
def url(guarded: RedisServer) -> str:
    return f"redis://turnout:secret@127.0.0.1:{guarded.port}"


@pytest_asyncio.fixture
async def connection(url: str) -> AsyncIterator[Connection]:
    connection = Connection(Address.parse(url))
    yield connection
    await connection.aclose()


class TestRedisJournalAsARestrictedUser(JournalContract):
    @pytest.fixture
    def make_journal(self, connection: Connection) -> MakeJournal:
        return lambda: RedisJournal(connection)


class TestRedisStateAsARestrictedUser(StateStoreContract):
    @pytest.fixture
    def clock(self, guarded: RedisServer) -> AgeingClock:
        return AgeingClock([guarded])

    @pytest.fixture
    def store(self, connection: Connection) -> RedisState:
        return RedisState(connection)


async def test_that_user_can_open_them(tmp_path: Path, url: str) -> None:
    opening = Opening(directory=tmp_path, name="redis", options={"url": url})

    journal = await RedisJournal.connect(opening)

    assert await journal.begin("e1", [Row("step", b"x")])
    await opening.shared.aclose()


async def test_keys_of_another_prefix_are_refused_and_the_password_is_not_shown(url: str) -> None:
    connection = Connection(Address.parse(url))

    with pytest.raises(BackendError, match="does not permit") as caught:
        await RedisJournal(connection, prefix="another").begin("e1", [Row("step", b"x")])

    assert "secret" not in str(caught.value)
    await connection.aclose()
