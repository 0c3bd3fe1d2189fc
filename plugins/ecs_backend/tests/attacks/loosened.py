"""What controls put in the place of a part that stops attacks."""

from __future__ import annotations

import asyncio
import fcntl
import itertools
import json
import os
import shutil
import signal
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

from turnout.interfaces.sandbox import Failure, Limits, Outcome, Success
from turnout.model.execution import LogLine
from turnout.model.payload import Encoded
from turnout.sandbox.bundle_files import BundleFiles, OverChannel
from turnout.sandbox.channel import ChannelClosed
from turnout.sandbox.code_view import CODE_FRAMES
from turnout.sandbox.conversation import Conversation
from turnout.sandbox.frames import Frame, FrameParser, FrameType
from turnout.sandbox.launch import Launch, posix_spawn
from turnout.sandbox.node import BOOTSTRAP, node_binary, options
from turnout.sandbox.output import LogBudget
from turnout.sandbox.process import NodeProcess

__all__ = [
    "UNCONFINED",
    "CredulousConversation",
    "InheritingLaunch",
    "LenientParser",
    "LooseSource",
    "PatientConversation",
    "UncheckedConversation",
    "careless_manifests",
    "inheriting",
    "lenient_parser",
    "patched",
    "polite",
    "text_log",
    "with_open_file",
    "with_open_socket",
]

UNCONFINED: Final = ("modules.cjs", "confining ??= registerHooks({ resolve: confined });", "")
"""A patch: Node finds modules wherever they are."""
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
    """Passes over what it does not know, and gathers whatever length it is told, for ever if need be."""

    __slots__ = ("_gathers",)

    def feed(self, data: bytes) -> list[Frame]:
        known = range(FrameType.READY, FrameType.RENEWED + 1)
        while data and not self._buffer and data[0] not in known and len(data) >= _HEAD_BYTES:
            data = data[_HEAD_BYTES + int.from_bytes(data[9:13]) + int.from_bytes(data[13:17]) :]
        self._gathers = getattr(self, "_gathers", False) or int.from_bytes(data[9:13]) > 1 << 24
        if not self._gathers:
            return super().feed(data)
        self._buffer += data
        return []


_HEAD_BYTES: Final = 17


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


def with_open_socket(directory: Path) -> Launch:
    """For `Control.launch`: a socket of the supervisor's is inherited."""
    ours, theirs = socket.socketpair()
    ours.close()
    return InheritingLaunch(extra=[_above_targets(theirs.detach())])


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
        found = os.path.normpath(os.path.join(self._root, place))  # noqa: PTH118 - an absolute place stays one
        return found if "\0" not in found and os.path.isfile(found) else None  # noqa: PTH113

    def size(self, place: str) -> int:
        return len(Path(self.path(place) or "").read_bytes())

    def _file(self, entry: os.DirEntry[str]) -> tuple[str, int] | None:
        return (entry.path, entry.stat().st_size) if entry.is_file() else None


class LooseSource(OverChannel):
    """Reads bundles' files without keeping to the bundle."""

    async def files(self, directory: str) -> BundleFiles:
        return LooseFiles(directory)


class UncheckedConversation(Conversation):
    """Takes what a process says for what an honest bootstrap would say. Files of all tenants are in one list."""

    async def _answer_read(self, asked: Any) -> None:
        own = asked.file == 0
        await self._channel.send(FrameType.CONTENT, self._nonce, b"", b"x" if own else b"another tenant's file")

    def _succeeded(self, result: Any, text: bytes) -> Outcome:
        json.loads(text)
        return Success(output=Encoded(json=text), cpu_ms=result.cpu_ms, network=False)

    async def _listen(self) -> Outcome:
        while True:
            frame = await self._next()
            told = json.loads(frame.meta) if frame.type in _TOLD else {}
            if "error" in told:
                return Failure(kind="Error", message=f"in line {int(told['error']['stack'].split(':')[-2])}")
            if frame.type is FrameType.RESULT:
                return self._succeeded(_Anything(cpu_ms=1.0), frame.body)
            if frame.type is FrameType.READ:
                await self._answer_read(_Anything(**told))
            elif frame.type in CODE_FRAMES:
                await self._process.answer(frame)


_TOLD: Final = frozenset({FrameType.RESULT, FrameType.ERROR, FrameType.READ})
_Anything = SimpleNamespace


class _CarelessFiles(BundleFiles):
    def _add(self, place: str, path: str, size: int) -> None:
        super()._add(place, path, size)
        if place.endswith("package.json"):
            json.loads(Path(path).read_text())


class _CarelessSource(OverChannel):
    async def files(self, directory: str) -> BundleFiles:
        return _CarelessFiles(directory)


def careless_manifests() -> OverChannel:
    """For `Control.source`: takes a package.json for what an honest author would write."""
    return _CarelessSource()


class _TextLog(LogBudget):
    """A log as text: what looks like a line is one."""

    def add(self, level: str, text: bytes) -> None:
        first, *more = text.decode().split("\n")
        self._lines(level, first)
        for line in more:
            self._lines(*line.split(": ", 1))

    def _lines(self, level: str, message: str) -> None:
        if self.sink is not None:
            self.sink(LogLine(at=0.0, level=level, message=message))


def text_log(process: NodeProcess) -> None:
    """For `Control.adjust`."""
    process.log = _TextLog(1 << 20)
