"""A process of the alerts service: takes the events it is told of into a catalog on the disk, looks and sends, as others do beside
it. `python -m core.tests.services.alerts.process FOLDER URL SECRET [take|send]`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from turnout.config import AlertRule
from turnout.interfaces.opening import Opening
from turnout.interfaces.secret import Secret
from turnout.interfaces.service import Invocation
from turnout.local.database import Database
from turnout.local.sqlite_catalog import SQLiteCatalog
from turnout.services.alerts.book import Book
from turnout.services.alerts.channels import Channels
from turnout.services.alerts.outbox import Outbox
from turnout.services.alerts.rules import marks_of
from turnout.services.alerts.webhook import WebhookNotifier
from turnout.testing.clock import ManualClock

from core.tests.services.alerts.alert_yard import AlertYard, runs

__all__ = ["INCIDENTS", "OnDisk"]

INCIDENTS = 10
_RULE = AlertRule(channels=("hook",), throttle_s=0)
_EVENTS_AT = 1_700_000_000.0


class OnDisk(AlertYard):
    """A yard whose catalog is a file, and whose channel is a webhook."""

    def __init__(self, folder: Path, url: str, secret: str, *, later_s: float = 0.0) -> None:
        self._folder, self._options = folder, {"kind": "webhook", "url": url, "secret": "env:HOOK"}
        self._secret = secret
        self.database = Database(folder / "alerts.db")
        clock = ManualClock(_EVENTS_AT + 1000 + later_s)
        super().__init__(rules={"rule": _RULE}, catalog=SQLiteCatalog(self.database, clock), clock=clock)
        opening = Opening(directory=folder, clock=clock, secret=self._revealed)
        self.channels = Channels({"hook": self._options}, lambda _: WebhookNotifier, opening)
        self.outbox = Outbox(self.catalog, self.channels, self.rules, clock)
        self.book = Book(self.catalog, self.rules, self.outbox, clock)

    async def _revealed(self, written: str) -> Secret:
        return Secret(self._secret if written == "env:HOOK" else written)

    async def close(self) -> None:
        await self.channels.close()
        await self.database.aclose()


async def _main(folder: str, url: str, secret: str, what: str) -> None:
    yard = OnDisk(Path(folder), url, secret)
    try:
        if what == "take":
            for end in runs([False, True] * INCIDENTS, _EVENTS_AT):
                for watched, mark in marks_of(yard.rules, end):
                    await yard.book.take(watched, [mark])
                await yard.outbox.send_line("hook", Invocation())
        else:
            await yard.outbox.send_line("hook", Invocation())
    finally:
        await yard.close()


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
