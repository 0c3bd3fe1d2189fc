"""The `process` sandbox: customer code in a Node or Python process of its own for each execution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final, Self

from turnout.interfaces.clock import Clock
from turnout.interfaces.opening import Opening
from turnout.interfaces.sandbox import Isolation
from turnout.local.process_launch import ProcessLaunch, PythonLaunch
from turnout.sandbox.launch import Launch
from turnout.sandbox.node import node_binary
from turnout.sandbox.pooled import PooledSandbox, PoolOptions

__all__ = ["ProcessSandbox"]

_NOTES: Final = (
    "the process sandbox isolates nothing but the process: each execution has its own, so globals never meet,",
    "but code can read this machine's files and processes and reach its network;",
    "time, memory, output and results are limited. For development and for one customer only.",
)


class ProcessSandbox(PooledSandbox):
    """Warm one-shot processes of Node and Python, without isolation from the machine. See `PoolOptions` for the sizes."""

    name = "process"
    # Memory is limited, not isolated: a process may read another's of the same user through /proc.
    isolates: ClassVar[frozenset[Isolation]] = frozenset()
    languages: ClassVar[frozenset[str]] = frozenset({"javascript", "python"})

    def __init__(
        self,
        *,
        warm_floor: int = 2,
        warm_ceiling: int | None = None,
        max_processes: int | None = None,
        clock: Clock | None = None,
    ) -> None:
        options = PoolOptions(warm_floor=warm_floor, warm_ceiling=warm_ceiling, max_processes=max_processes)
        super().__init__(options.sizes(), clock=clock)

    @classmethod
    async def connect(cls, opening: Opening) -> Self:
        """Its sizes are options, by the names that they have here."""
        return cls(**opening.read(PoolOptions).model_dump(), clock=opening.clock)

    def launch(self, language: str = "javascript") -> Launch:
        return PythonLaunch() if language == "python" else ProcessLaunch()

    async def start(self) -> Sequence[str]:
        node_binary()
        await self.warm_up()
        return _NOTES
