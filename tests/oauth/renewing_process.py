"""A process that renews a token and dies on the way: `python -m tests.oauth.renewing_process DIRECTORY ISSUER NOW STOP`.

It prints where it stops, `writing` before it keeps what the provider has answered, or the token that it got, and then waits
to be killed.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from turnout.interfaces.catalog import CatalogChange
from turnout.local.database import Database
from turnout.local.sqlite_catalog import SQLiteCatalog
from turnout.testing.clock import ManualClock

from tests.oauth.bench import Bench
from tests.oauth.server import Provider


class StoppingCatalog(SQLiteCatalog):
    """Stands still before a new generation of tokens is written."""

    stop = False

    async def write(self, *changes: CatalogChange) -> bool:
        renewed = any(b'"generation":2' in (change.body or b"") for change in changes)
        if self.stop and renewed:
            await stand_still("writing")
        return await super().write(*changes)


async def stand_still(why: str) -> None:
    print(why, flush=True)  # noqa: T201 - it is read by the test
    await asyncio.Event().wait()


async def main(directory: str, issuer: str, now: str, stop: str) -> None:
    catalog = StoppingCatalog(Database(Path(directory) / "turnout.db"))
    catalog.stop = stop == "writing"
    bench = Bench(Provider(issuer), catalog=catalog, clock=ManualClock(float(now)))
    await stand_still(await bench.token())


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
