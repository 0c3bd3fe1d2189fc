"""How a process sees the code that it runs: as files of its own, or through its channel where it can open none."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final

from turnout.interfaces.sandbox import CodeBundle
from turnout.sandbox.frames import Frame, FrameType

__all__ = ["CODE_FRAMES", "VIRTUAL_DIRECTORY", "Answer", "CodeSource", "CodeView", "OnDisk"]

Answer = tuple[FrameType, bytes, bytes]
"""A frame's type, meta and body."""

CODE_FRAMES: Final = (FrameType.FETCH, FrameType.INDEX)
"""What a process asks for its code with."""

VIRTUAL_DIRECTORY: Final = "/bundle"
"""Where a process that can open no files sees its bundle."""


class CodeView(ABC):
    """One process's view of one bundle. `directory` is where the bundle is for it; `mapped`: its module map is sound."""

    directory: str
    mapped: bool

    @abstractmethod
    async def opening(self) -> Answer | None:
        """What the process is told once, before it is asked to load anything; None if it needs nothing."""

    @abstractmethod
    async def answer(self, frame: Frame) -> Answer:
        """The answer to one of `CODE_FRAMES`. Never raises for anything that the process asks."""


class CodeSource(ABC):
    """Gives each process its view."""

    @abstractmethod
    def view(self, bundle: CodeBundle, *, mapped: bool) -> CodeView:
        """A view for one process."""


class OnDisk(CodeSource):
    """For processes that read the bundle's directory themselves."""

    def view(self, bundle: CodeBundle, *, mapped: bool) -> CodeView:
        return _DiskView(bundle.directory, mapped=mapped)


class _DiskView(CodeView):
    def __init__(self, directory: str, *, mapped: bool) -> None:
        self.directory = directory
        self.mapped = mapped

    async def opening(self) -> Answer | None:
        return None

    async def answer(self, frame: Frame) -> Answer:
        return FrameType.REFUSED, b"the process has files of its own", b""
