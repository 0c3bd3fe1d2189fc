"""The journal and the state as a project opens them: by name, with a table of settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from turnout.errors import SettingsError
from turnout.interfaces.journal import Row
from turnout.interfaces.opening import Opening
from turnout.interfaces.state import StateScope
from turnout.model.durability import Durability
from turnout.model.payload import Encoded
from turnout_ecs import plugin
from turnout_ecs.journal.journal import RedisJournal
from turnout_ecs.state.state import RedisState
from turnout_ecs.testing.servers import RedisServer, running


def opening(directory: Path, **options: Any) -> Opening:
    return Opening(directory=directory, name="redis", options=options)


def test_they_are_registered_by_name() -> None:
    stores = plugin.turnout_stores()

    assert stores == {"journal:redis": RedisJournal, "state:redis": RedisState}


async def test_journal_and_state_of_a_project_share_a_connection(tmp_path: Path, server: RedisServer) -> None:
    one = opening(tmp_path, url=server.url)

    journal, state = await RedisJournal.connect(one), await RedisState.connect(one)
    await journal.begin("e1", [Row("step", b"x")])
    await state.set(StateScope(tenant="t", instance="i"), "key", Encoded(), operation="1")

    ours = [line for line in server.command("CLIENT", "LIST").decode().splitlines() if "name=turnout-" in line]
    assert len(ours) == 1
    for store in (journal, state):
        await store.close()
        await store.close()
    await one.shared.aclose()


async def test_projects_with_prefixes_of_their_own_share_a_server(tmp_path: Path, server: RedisServer) -> None:
    openings = [opening(tmp_path, url=server.url, prefix=prefix) for prefix in ("a", "b")]
    a, b = [await RedisJournal.connect(one) for one in openings]

    await a.begin("e1", [Row("step", b"x")])

    assert await b.begin("e1", [Row("step", b"y")]) is True
    assert [row.body for row in await a.rows("e1")] == [b"x"]
    for one in openings:
        await one.shared.aclose()


@pytest.mark.parametrize(
    ("settings", "durability"),
    [
        ({"appendonly": "yes", "appendfsync": "always"}, Durability.HOST),
        ({"appendonly": "yes", "appendfsync": "everysec"}, Durability.PROCESS),
        ({"appendonly": "no"}, Durability.PROCESS),
    ],
    ids=["always", "everysec", "no"],
)
async def test_durability_is_what_the_server_is_set_to(
    tmp_path: Path, settings: dict[str, str], durability: Durability
) -> None:
    with running(tmp_path / "redis", **settings) as server:
        one = opening(tmp_path, url=server.url)
        journal = await RedisJournal.connect(one)

        assert journal.durability is durability

        await one.shared.aclose()


async def test_a_setting_that_does_not_exist_is_named(tmp_path: Path, server: RedisServer) -> None:
    with pytest.raises(SettingsError, match=r"backends\.redis\.journal_url"):
        await RedisJournal.connect(opening(tmp_path, url=server.url, journal_url="x"))
