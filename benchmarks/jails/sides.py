"""What is measured: the sandboxes, each with the pools that a measurement needs."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from turnout.local.process_sandbox import ProcessSandbox
from turnout.sandbox.bundle_files import OverChannel
from turnout.sandbox.code_view import CodeSource, OnDisk
from turnout.sandbox.pooled import PooledSandbox
from turnout_ecs.jail.bubblewrap import BubblewrapSandbox
from turnout_ecs.jail.options import BubblewrapOptions, ChrootOptions
from turnout_ecs.jail.sandbox import ChrootSandbox

__all__ = ["Opened", "Side", "sides"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """`make` makes a sandbox from options of its pool, and of `reuse` where it `reuses`."""

    name: str
    make: Callable[..., PooledSandbox]
    source: Callable[[], CodeSource]
    reuses: bool = True

    @asynccontextmanager
    async def started(self, **options: Any) -> AsyncIterator[PooledSandbox]:
        sandbox = self.make(**options)
        await sandbox.start()
        try:
            yield sandbox
        finally:
            await sandbox.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """`fresh` keeps one process ready that has loaded the code, and none else; `tenant` uses processes again."""

    side: Side
    fresh: PooledSandbox
    tenant: PooledSandbox | None


def sides(jail: Path) -> Sequence[Side]:
    """Those that this machine has the parts for."""
    found = [
        Side(name="process", make=ProcessSandbox, source=OnDisk, reuses=False),
        Side(
            name="chroot",
            make=lambda **options: ChrootSandbox(ChrootOptions(jail=jail, **options)),
            source=OverChannel,
        ),
    ]
    if shutil.which("bwrap"):
        found.append(
            Side(
                name="bubblewrap",
                make=lambda **options: BubblewrapSandbox(BubblewrapOptions(jail=jail, **options)),
                source=OverChannel,
            )
        )
    return found
