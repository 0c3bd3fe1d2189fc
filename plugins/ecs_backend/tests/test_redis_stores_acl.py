"""Journal and state as a user who may do no more than the README says, on keys of their prefix alone."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from turnout.errors import BackendError
from turnout.interfaces.journal import Row
from turnout.interfaces.opening import Opening
from turnout.interfaces.state import StateScope
from turnout.testing.journal import JournalContract, MakeJournal
from turnout.testing.state import StateStoreContract
from turnout_ecs.connection import Connection
from turnout_ecs.journal.journal import RedisJournal
from turnout_ecs.server import Server
from turnout_ecs.state.state import RedisState
from turnout_ecs.testing.ageing import AgeingClock
from turnout_ecs.testing.servers import RedisServer, free_port
from turnout_ecs.testing.tls import find_binary_with_tls, write_certificate

README = Path(__file__).parents[1] / "README.md"


def rules() -> list[str]:
    """What the README gives the user of the journal and the state."""
    text = re.search(r"ACL SETUSER turnout (.*?)\n```", README.read_text("utf-8"), re.DOTALL)
    assert text is not None
    return text[1].replace("\\\n", " ").split()


@dataclass(frozen=True, kw_only=True)
class Guarded:
    """A server, and the options of the user who may do what the README says."""

    server: RedisServer
    options: dict[str, str]


def guard(server: RedisServer) -> None:
    server.command("ACL", "SETUSER", "turnout", *rules())


@pytest.fixture(scope="module", params=["plain", "encrypted"])
def started(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    directory = tmp_path_factory.mktemp("redis")
    if request.param == "plain":
        with RedisServer(directory) as server:
            guard(server)
            yield Guarded(server=server, options={"url": f"redis://turnout:secret@127.0.0.1:{server.port}"})
        return
    binary, port = find_binary_with_tls(), free_port()
    if binary is None:
        pytest.skip("no redis-server or valkey-server built with TLS on the PATH")
    settings = {"tls-port": str(port), **write_certificate(directory)}
    with RedisServer(directory, binary=binary, settings=settings) as server:
        guard(server)
        url = f"rediss://turnout:secret@localhost:{port}"
        yield Guarded(server=server, options={"url": url, "tls_ca_file": str(directory / "ca.pem")})


@pytest.fixture
def guarded(started: Guarded) -> Guarded:
    started.server.command("FLUSHALL")
    return started


@pytest_asyncio.fixture
async def opening(guarded: Guarded, tmp_path: Path) -> AsyncIterator[Opening]:
    opening = Opening(directory=tmp_path, name="redis", options=guarded.options)
    yield opening
    await opening.shared.aclose()


@pytest_asyncio.fixture
async def connection(opening: Opening) -> Connection:
    return (await Server.of(opening)).connection


class TestRedisJournalAsARestrictedUser(JournalContract):
    @pytest.fixture
    def make_journal(self, connection: Connection) -> MakeJournal:
        return lambda: RedisJournal(connection)


class TestRedisStateAsARestrictedUser(StateStoreContract):
    @pytest.fixture
    def clock(self, guarded: Guarded) -> AgeingClock:
        return AgeingClock([guarded.server])

    @pytest.fixture
    def store(self, connection: Connection) -> RedisState:
        return RedisState(connection)


async def test_that_user_can_open_them(opening: Opening) -> None:
    journal, state = await RedisJournal.connect(opening), await RedisState.connect(opening)

    assert await journal.begin("e1", [Row("step", b"x")])
    assert await state.get(StateScope(tenant="t", instance="i"), "key") is None


async def test_keys_of_another_prefix_are_refused_and_the_password_is_not_shown(connection: Connection) -> None:
    with pytest.raises(BackendError, match="does not permit") as caught:
        await RedisJournal(connection, prefix="another").begin("e1", [Row("step", b"x")])

    assert "secret" not in str(caught.value)
