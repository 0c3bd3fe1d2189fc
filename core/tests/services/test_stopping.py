"""The metadata service stops when it is told to, whatever comes in at that moment."""

from __future__ import annotations

import asyncio
from typing import Any

from turnout.interfaces.clock import SystemClock
from turnout.local.timers import Timers
from turnout.services.metadata import Metadata

from core.tests.services.yard import Yard


class Held:
    """Records that say when they are asked for their position, and answer when they may."""

    def __init__(self, records: Any) -> None:
        self._records = records
        self.asked, self.may = asyncio.Event(), asyncio.Event()

    async def position(self) -> int:
        self.asked.set()
        await self.may.wait()
        position: int = await self._records.position()
        return position

    def __getattr__(self, name: str) -> Any:
        return getattr(self._records, name)


async def test_it_stops_although_something_new_is_told_while_it_records(yard: Yard) -> None:
    records: Any = Held(yard.stores.records)
    metadata = Metadata(yard.stores.journal, records, SystemClock(), gather_s=0)
    records.may.set()
    timers = Timers(metadata.timers(), SystemClock())
    await metadata.start()
    records.may.clear()
    records.asked.clear()
    timers.start()
    await records.asked.wait()

    stopping = asyncio.ensure_future(timers.stop())
    await asyncio.sleep(0)
    metadata.nudge()
    records.may.set()

    async with asyncio.timeout(10):
        await stopping
        await metadata.stop()
