"""A process that writes to the journal until it is killed, and says on its standard output what was acknowledged.

python appending_child.py URL EXECUTION
"""

from __future__ import annotations

import asyncio
import os
import sys

from turnout.interfaces.journal import Row
from turnout_ecs.connection import Connection
from turnout_ecs.journal.journal import RedisJournal
from turnout_ecs.options import Address

_BARRIER_EVERY = 7


async def write(url: str, execution: str) -> None:
    journal = RedisJournal(Connection(Address.parse(url)))
    await journal.begin(execution, [])
    await journal.open(execution, 1)
    number = 0
    while True:
        for _ in range(_BARRIER_EVERY):
            number += 1
            # Of every size: within the row, and beside it.
            await journal.append(execution, 1, [Row("step", f"{number}:".encode().ljust(number % 50 * 1000, b"x"))])
            if number % 3 == 0:
                await asyncio.sleep(0)
        await journal.barrier(execution, 1)
        os.write(1, f"{number}\n".encode())


asyncio.run(write(*sys.argv[1:]))
