"""A project's stores: chosen by name, opened through the registry, closed whatever happens."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import pytest
from pydantic import BaseModel, ConfigDict, Field
from turnout import hookimpl
from turnout.config import QueueSettings, Settings, StoresSettings
from turnout.errors import BackendError, SettingsError
from turnout.interfaces.opening import Opening
from turnout.interfaces.queue import Message
from turnout.local.memory_journal import MemoryJournal
from turnout.local.sqlite_queue import SQLiteQueue
from turnout.local.stores import Stores
from turnout.model.tenancy import TenantPolicy
from turnout.plugins import load_plugins


class Kept(MemoryJournal):
    """A third party's journal, which remembers what it was opened with and whether it was closed."""

    opened: Opening
    closed = 0

    @classmethod
    async def connect(cls, opening: Opening) -> Self:
        if opening.options.get("broken"):
            raise BackendError("cannot be reached")
        if needed := opening.options.get("needs"):
            await opening.secret(needed)
        journal = cls()
        journal.opened = opening
        return journal

    async def close(self) -> None:
        type(self).closed += 1


class Plugin:
    """What the third party's plugin provides."""

    @hookimpl
    def turnout_stores(self) -> Any:
        return {"journal:kept": Kept}


async def opened(root: Path, **settings: Any) -> Stores:
    return await Stores.open(Settings(root=root, **settings), load_plugins(extra=[Plugin()]))


async def test_a_store_of_a_plugin_is_chosen_by_its_name_and_gets_its_own_table(tmp_path: Path) -> None:
    url = {"url": "env:KEPT_URL"}

    stores = await opened(tmp_path, stores=StoresSettings(journal="kept"), backends={"kept": url, "other": {"x": 1}})

    assert isinstance(stores.journal, Kept)
    assert isinstance(stores.queue, SQLiteQueue)
    assert (stores.journal.opened.name, stores.journal.opened.options) == ("kept", url)
    assert stores.journal.opened.directory == tmp_path / ".turnout"
    await stores.close()


async def test_a_reference_in_a_backends_table_is_resolved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEPT_URL", "kept://secret")
    stores = await opened(tmp_path, stores=StoresSettings(journal="kept"))
    assert isinstance(stores.journal, Kept)

    secret = await stores.journal.opened.secret("env:KEPT_URL")
    text = await stores.journal.opened.secret("redis://plain")

    assert (secret.reveal(), text.reveal()) == ("kept://secret", "redis://plain")
    await stores.close()


async def test_a_queue_is_given_its_lease_and_its_customers_policies(tmp_path: Path) -> None:
    queue = QueueSettings(lease_s=7.0, capacity=1, tenants={"acme": {"weight": 3}})
    stores = await opened(tmp_path, stores=StoresSettings(journal="kept"), queue=queue)
    assert isinstance(stores.journal, Kept)

    room = await stores.queue.room("acme")

    assert room == 1
    assert (stores.journal.opened.lease_s, stores.journal.opened.max_attempts) == (7.0, 5)
    assert stores.journal.opened.policies.of("acme") == TenantPolicy(weight=3, capacity=1)
    await stores.close()


@pytest.mark.parametrize("kind", ["queue", "journal", "records", "state", "payloads"])
async def test_a_store_that_nobody_provides_is_named_with_its_setting(tmp_path: Path, kind: str) -> None:
    with pytest.raises(SettingsError, match=rf"stores\.{kind}: no .*nothing'") as caught:
        await opened(tmp_path, stores=StoresSettings(**{kind: "nothing"}))

    assert caught.value.setting == f"stores.{kind}"


async def test_an_embedded_store_says_that_it_has_no_settings(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"backends\.sqlite\.url: "):
        await opened(tmp_path, backends={"sqlite": {"url": "x"}})


async def test_when_one_store_cannot_be_opened_the_others_are_closed(tmp_path: Path) -> None:
    closed = Kept.closed
    with pytest.raises(SettingsError):
        await opened(tmp_path, stores=StoresSettings(journal="kept", records="nothing"))

    assert Kept.closed == closed + 1


async def test_closing_twice_closes_once(tmp_path: Path) -> None:
    stores = await opened(tmp_path, stores=StoresSettings(journal="kept"))
    closed = Kept.closed

    await stores.close()
    await stores.close()

    assert Kept.closed == closed + 1


async def test_another_queue_shares_its_messages_and_outlives_neither_more_nor_less(tmp_path: Path) -> None:
    stores = await opened(tmp_path)
    await stores.queue.put(Message(id="e1", tenant="acme"))

    async with stores.another_queue() as other:
        lease = await other.take("host:1:a", wait_s=0)
        assert lease is not None
    kept = await stores.queue.missing(["e1"])

    assert list(kept) == []
    await stores.close()


async def test_a_reference_to_a_variable_that_is_not_set_is_told_with_its_backend(tmp_path: Path) -> None:
    kept = {"kept": {"needs": "env:NOBODY_SET_THIS"}}

    with pytest.raises(SettingsError, match=r"backends\.kept: no environment variable 'NOBODY_SET_THIS'"):
        await opened(tmp_path, stores=StoresSettings(journal="kept"), backends=kept)


async def test_a_store_that_lives_in_one_process_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="'memory' cannot be chosen: a MemoryQueue lives in one process"):
        await opened(tmp_path, stores=StoresSettings(queue="memory"))


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid")

    url: str
    schema_: str = Field(default="", alias="schema")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"url": "x", "shema": "s3cret"}, "backends.b.shema: unknown setting: did you mean 'schema'?"),
        ({"url": "x", "zz": 1}, "backends.b.zz: unknown setting: there are url, schema"),
        ({}, "backends.b.url: it must be set"),
        ({"url": 7}, "backends.b.url: input should be a valid string"),
    ],
)
def test_a_fault_in_a_backends_table_is_told_with_the_nearest_right_name(
    options: dict[str, Any], expected: str
) -> None:
    opening = Opening(directory=Path("/nowhere"), name="b", options=options)

    with pytest.raises(SettingsError) as caught:
        opening.read(Options)

    assert str(caught.value) == expected
