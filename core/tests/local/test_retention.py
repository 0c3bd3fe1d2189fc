"""Retention: history makes room by age and by size, and nothing goes that a record or a running execution names."""

from __future__ import annotations

from pathlib import Path

import pytest
from turnout.engine.outcome import Suspended
from turnout.errors import NotFound
from turnout.interfaces.records import ExecutionQuery
from turnout.model.execution import Status

from core.tests.local.office import Office, office_in

FILE = """
  main:
    trigger: {webhook: {}}
    steps:
      - {id: get, action: world.file}
      - {id: done, stop: {output: "${{ steps.get }}"}}
"""
FILE_THEN_WAIT = """
  main:
    trigger: {webhook: {}}
    steps:
      - {id: get, action: world.file}
      - {id: answer, wait: {callback: true}}
      - {id: done, stop: {output: "${{ steps.get }}"}}
"""
DAY_S = 86_400


async def payloads(office: Office) -> set[str]:
    found = office.platform.stores.payloads.listing(older_than=float("inf"))
    return {ref.sha256 async for _, ref in found}


async def kept(office: Office) -> set[str]:
    await office.platform.metadata.catch_up()
    return {record.info.id for record in await office.platform.stores.records.search(ExecutionQuery(limit=1000))}


async def test_records_go_by_age_and_take_their_content_along(tmp_path: Path) -> None:
    async with office_in(tmp_path, days=30, size_bytes=None) as office:
        old = await office.ended(FILE)
        office.clock.at += 20 * DAY_S
        new = await office.ended(FILE)
        assert len(await payloads(office)) == 2
        office.clock.at += 11 * DAY_S

        assert await office.platform.retention.prune() == 1

        assert await kept(office) == {new.info.id}
        assert new.output is not None
        assert await payloads(office) == {file.sha256 for _, file in new.output.files}
        assert old.info.id not in await kept(office)


async def test_records_go_by_size_the_oldest_first(tmp_path: Path) -> None:
    text = '  main:\n    trigger: {webhook: {}}\n    steps: [{id: done, stop: {output: "${{ trigger.body }}"}}]\n'
    async with office_in(tmp_path, days=None, size_bytes=2_000_000) as office:
        ids = []
        for number in range(30):
            ids.append((await office.ended(text, body=str(number) * 100_000)).info.id)
            office.clock.at += 1

        await office.platform.retention.prune()

        left = sorted(await kept(office))
        assert 0 < len(left) < 30
        assert left == ids[-len(left) :]
        assert await office.platform.stores.records.size_bytes() <= 2_000_000


async def test_without_bounds_nothing_goes(tmp_path: Path) -> None:
    async with office_in(tmp_path, days=None, size_bytes=None) as office:
        record = await office.ended(FILE)
        office.clock.at += 1000 * DAY_S

        assert await office.platform.retention.prune() == 0

        assert await kept(office) == {record.info.id}
        assert len(await payloads(office)) == 1


async def test_content_of_a_waiting_execution_stays_however_long_it_waits(tmp_path: Path) -> None:
    async with office_in(tmp_path, days=1, size_bytes=1000) as office:
        id = await office.accept(FILE_THEN_WAIT)
        assert isinstance(await office.turn(id), Suspended)
        office.clock.at += 100 * DAY_S

        await office.platform.retention.prune()

        assert len(await payloads(office)) == 1
        assert await kept(office) == {id}
        await office.platform.operations.cancel(id)
        await office.turn(id)
        assert (await office.record(id)).status is Status.CANCELLED


async def test_young_content_stays_though_nobody_names_it_yet(tmp_path: Path) -> None:
    async with office_in(tmp_path, days=1, size_bytes=None) as office:
        await office.platform.stores.payloads.put("local", bytes(300_000))

        await office.platform.retention.prune()
        young = await payloads(office)
        office.clock.at += 2 * 3600
        await office.platform.retention.prune()

        assert (len(young), len(await payloads(office))) == (1, 0)


async def test_what_retention_removed_is_said_to_be_missing(tmp_path: Path) -> None:
    async with office_in(tmp_path, days=1, size_bytes=None) as office:
        record = await office.ended(FILE)
        office.clock.at += 2 * DAY_S
        await office.platform.retention.prune()

        with pytest.raises(NotFound, match=record.info.id):
            await office.platform.operations.replay(record.info.id)
