"""A sandbox whose processes could open files but get their bundles as those in a jail do: at `/bundle`, over the channel."""

from __future__ import annotations

from typing import ClassVar

from turnout.interfaces.sandbox import Isolation
from turnout.local.process_launch import ProcessLaunch
from turnout.sandbox.bundle_files import OverChannel
from turnout.sandbox.launch import Launch
from turnout.sandbox.pooled import PooledSandbox, PoolOptions

__all__ = ["VirtualSandbox"]


class VirtualSandbox(PooledSandbox):
    name = "virtual"
    isolates: ClassVar[frozenset[Isolation]] = frozenset()
    languages: ClassVar[frozenset[str]] = frozenset({"javascript"})

    def __init__(self, *, warm_floor: int = 1, uses: int = 1) -> None:
        sizes = PoolOptions(warm_floor=warm_floor, warm_ceiling=3).sizes()
        super().__init__(sizes, source=OverChannel(), uses=uses)

    def launch(self, language: str = "javascript") -> Launch:
        return ProcessLaunch()

    async def start(self) -> tuple[str, ...]:
        await self.warm_up()
        return ()
