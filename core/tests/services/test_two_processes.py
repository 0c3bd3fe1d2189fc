"""Two workers on one project, as two `turnout dev` are: each execution runs once, and is recorded once."""

from __future__ import annotations

import asyncio
from pathlib import Path

from turnout.interfaces.clock import SystemClock
from turnout.interfaces.records import ExecutionQuery
from turnout.local.timers import Timers
from turnout.model.execution import Status

from core.tests.engine.test_going_on import flow
from core.tests.services.yard import open_yard

STEPS = """
- {id: look, action: world.look, with: {value: "${{ trigger.body }}"}}
- {id: ask, call: {flow: other, with: "${{ steps.look.value }}"}}
"""
OTHER = """  other:
    steps: [{id: post, action: world.note, with: {value: "${{ trigger.body }}"}}]
"""


async def test_two_workers_share_the_work_and_the_records(tmp_path: Path) -> None:
    async with open_yard(tmp_path, SystemClock()) as one, open_yard(tmp_path, SystemClock()) as other:
        workers = (one, other)
        for number in range(30):
            await workers[number % 2].lab.accept(flow(STEPS) + OTHER, number)

        drivers = [Timers(worker.metadata.timers(), worker.stores.clock) for worker in workers]
        for worker, timers in zip(workers, drivers, strict=True):
            timers.start()
            await worker.runner.start()
        while (stats := await one.stores.queue.stats()).ready or stats.leased:
            await asyncio.sleep(0.01)
        for worker, timers in zip(workers, drivers, strict=True):
            await worker.runner.stop()
            await timers.stop()
            await worker.metadata.stop()

        posted = [value for worker in workers for name, value in worker.lab.world.calls if name == "note"]
        records = await one.stores.records.search(ExecutionQuery(limit=100))
        assert sorted(posted) == list(range(30))
        assert [record.status for record in records] == [Status.SUCCEEDED] * 60
        assert list(await one.stores.journal.entries(after=0, limit=10)) == []
