"""What controls put in the place of a part that stops attacks."""

from __future__ import annotations

import asyncio
import fcntl
import itertools
import os
import shutil
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from turnout.interfaces.sandbox import Failure, Limits
from turnout.sandbox.bundle_files import BundleFiles, OverChannel
from turnout.sandbox.channel import ChannelClosed
from turnout.sandbox.conversation import Conversation
from turnout.sandbox.frames import Frame, FrameParser, FrameType
from turnout.sandbox.launch import Launch, posix_spawn
from turnout.sandbox.node import BOOTSTRAP, node_binary, options
from turnout.sandbox.process import NodeProcess

__all__ = [
    "CredulousConversation",
    "InheritingLaunch",
    "LenientParser",
    "LooseSource",
    "PatientConversation",
    "inheriting",
    "lenient_parser",
    "patched",
    "polite",
    "with_open_file",
]

_NUMBERS = itertools.count(1)
Patch = tuple[str, str, str]
"""File of the bootstrap, a text in it, and what is put in the text's place."""


class PatientConversation(Conversation):
    """Waits for a process whose channel has ended, and does not end it."""

    async def _ended(self, closed: ChannelClosed) -> Failure:
        await asyncio.shield(self._process.exited)
        return await super()._ended(closed)


class CredulousConversation(Conversation):
    """Takes every frame for one of its job, whatever nonce it has, and passes over those that have no place there."""

    async def _next(self) -> Frame:
        while True:
            frame = await self._channel.next()
            if frame.type not in _MISPLACED:
                return frame


_MISPLACED: Final = frozenset({FrameType.READY, FrameType.PREPARED, FrameType.RENEWED})


class LenientParser(FrameParser):
    """Passes over what it does not know, and gathers whatever length it is told."""

    __slots__ = ()

    def feed(self, data: bytes) -> list[Frame]:
        known = range(FrameType.READY, FrameType.RENEWED + 1)
        while data and not self._buffer and data[0] not in known and len(data) >= 17:
            data = data[17 + int.from_bytes(data[9:13]) + int.from_bytes(data[13:17]) :]
        return super().feed(data)


def lenient_parser(process: NodeProcess) -> None:
    """For `Control.adjust`."""
    process.channel._parser = LenientParser(1 << 40)


def polite(process: NodeProcess) -> None:
    """For `Control.adjust`: the process is asked to end, not made to."""
    vars(process.launch)["kill"] = lambda pid: os.kill(pid, signal.SIGTERM)


class InheritingLaunch(Launch):
    """Node as any program is started: no jail, and this process's own environment. `more` are arguments for Node, without
    those of `without`; `extra` descriptors are inherited as 6, 7, …."""

    def __init__(
        self,
        bootstrap: Path = BOOTSTRAP,
        *,
        more: Sequence[str] = (),
        without: Sequence[str] = (),
        extra: Sequence[int] = (),
    ) -> None:
        self._bootstrap = bootstrap
        self._more, self._without, self._extra = more, without, extra

    def spawn(self, limits: Limits, descriptors: Sequence[int]) -> int:
        arguments = [word for word in options(limits.memory_bytes) if word not in self._without]
        program = [node_binary(), *arguments, *self._more, str(self._bootstrap / "main.cjs")]
        try:
            return posix_spawn(program, dict(os.environ), (*descriptors, descriptors[0], *self._extra))
        finally:
            for fd in self._extra:
                os.close(fd)


def inheriting(*, more: Sequence[str] = (), without: Sequence[str] = ()) -> Callable[[Path], Launch]:
    """For `Control.launch`."""
    return lambda directory: InheritingLaunch(more=more, without=without)


def with_open_file(directory: Path) -> Launch:
    """For `Control.launch`: a file that the supervisor had open is inherited."""
    opened = os.open(directory / "secret", os.O_RDONLY | os.O_CLOEXEC)
    return InheritingLaunch(extra=[_above_targets(opened)])


def _above_targets(fd: int) -> int:
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 32)
    finally:
        os.close(fd)


def patched(*patches: Patch) -> Callable[[Path], Launch]:
    """For `Control.launch`: no jail, and a copy of the bootstrap in which texts are replaced by others."""

    def launch(directory: Path) -> Launch:
        copy = directory / f"bootstrap-{next(_NUMBERS)}"
        shutil.copytree(BOOTSTRAP, copy)
        for name, old, new in patches:
            text = (copy / name).read_text()
            assert old in text, f"{name} has changed: the control must too"
            (copy / name).write_text(text.replace(old, new))
        return InheritingLaunch(copy)

    return launch


class LooseFiles(BundleFiles):
    """Whatever is asked for is a path, links are followed."""

    def path(self, place: str) -> str | None:
        found = os.path.join(self._root, place)  # noqa: PTH118 - an absolute place stays one
        return found if "\0" not in found and os.path.isfile(found) else None  # noqa: PTH113

    def size(self, place: str) -> int:
        return len(Path(self.path(place) or "").read_bytes())

    def _file(self, entry: os.DirEntry[str]) -> tuple[str, int] | None:
        return (entry.path, entry.stat().st_size) if entry.is_file() else None


class LooseSource(OverChannel):
    """Reads bundles' files without keeping to the bundle."""

    async def files(self, directory: str) -> BundleFiles:
        return LooseFiles(directory)
