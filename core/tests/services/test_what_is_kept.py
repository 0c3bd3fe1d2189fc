"""What the embedded stores keep, for whom, and for how long."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from turnout.config import RetentionSettings, Settings
from turnout.connectors import ActionContext, Connector, Effect, Inputs, Value
from turnout.errors import BackendError
from turnout.local.retention import Retention
from turnout.local.stores import Stores
from turnout.model.execution import Status
from turnout.plugins import load_plugins

from core.tests.engine.laboratory import Died
from core.tests.engine.test_going_on import flow
from core.tests.services.yard import Yard

COLLECTS = flow("""
- id: each
  loop:
    over: [1, 2]
    collect: "${{ [trigger.body, item] }}"
    steps:
      - {id: post, action: world.note, when: "${{ item == `2` }}", with: {value: 1}}
""")


async def test_content_of_a_loop_that_a_parked_execution_is_in_outlives_retention(yard: Yard) -> None:
    yard.lab.world.failures["note"] = [Died()]
    id = await yard.lab.accept(COLLECTS, "x" * 300_000)
    lease = await yard.stores.queue.claim("w", id)
    assert lease is not None
    with pytest.raises(Died):
        await yard.runner.run(lease)
    yard.lab.clock.at += 60
    await yard.run(id)
    assert (await yard.record(id)).status is Status.PARKED

    yard.lab.clock.at += 86_400
    await Retention(yard.stores, yard.metadata, RetentionSettings()).prune()
    await yard.operations.resume(id, output=Value(None))
    await yard.run(id)

    assert (await yard.record(id)).status is Status.SUCCEEDED


async def test_the_dead_letter_of_an_execution_goes_with_its_record(yard: Yard) -> None:
    id = await yard.lab.accept(flow("- {id: look, action: world.look, with: {value: 1}}"))
    for _ in range(5):
        assert await yard.stores.queue.claim("w", id) is not None
        yard.lab.clock.at += 60
    await yard.stores.queue.reap()
    await yard.recovery.bury()
    assert (await yard.record(id)).status is Status.FAILED
    assert len(await yard.stores.queue.dead()) == 1

    yard.lab.clock.at += 400 * 86_400
    await Retention(yard.stores, yard.metadata, RetentionSettings(days=30)).prune()

    assert await yard.stores.records.get(id) is None
    assert list(await yard.stores.queue.dead()) == []


async def test_an_execution_that_was_given_up_goes_on_when_it_is_resumed(yard: Yard) -> None:
    id = await yard.lab.accept(flow("- {id: look, action: world.look, with: {value: 1}}"))
    for _ in range(5):
        assert await yard.stores.queue.claim("w", id) is not None
        yard.lab.clock.at += 60
    await yard.stores.queue.reap()
    await yard.recovery.bury()
    failed = await yard.record(id)
    assert failed.error is not None
    assert failed.error.kind == "dead_letter"

    await yard.operations.resume(id)
    await yard.run(id)

    assert (await yard.record(id)).status is Status.SUCCEEDED


@pytest.mark.parametrize("size", [300_000, 200_000])
async def test_state_refuses_what_it_could_not_keep(yard: Yard, size: int) -> None:
    keeper = Connector("keeper", connection_required=False)

    @keeper.action(effect=Effect.EFFECT)
    async def keep(context: ActionContext, inputs: Inputs) -> Any:
        """Keep a large value."""
        await context.state.set("key", Value("x" * size))
        return await context.state.get("key")

    yard.lab.connectors["keeper"] = keeper
    id = await yard.lab.accept(flow("- {id: keep, action: keeper.keep}"))

    await yard.run(id)

    record = await yard.record(id)
    kept = record.error.kind if record.error else record.status
    assert kept == ("too_large" if size > 256 * 1024 else Status.SUCCEEDED)


async def test_nobody_else_can_look_into_the_storage_directory(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        stores = await Stores.open(Settings(root=tmp_path), load_plugins())
    finally:
        os.umask(before)

    await stores.close()
    assert (tmp_path / ".turnout").stat().st_mode & 0o077 == 0


async def test_a_storage_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(BackendError, match=r"file/\.turnout"):
        await Stores.open(Settings(root=tmp_path / "file"), load_plugins())
