"""One Node process from its start to its end: spawned, ready, prepared, killed with all it started, reaped."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import resource
import signal
import socket
from functools import partial
from typing import Final

import msgspec

from turnout.errors import BackendError
from turnout.interfaces.sandbox import CodeBundle, Limits
from turnout.sandbox.channel import Channel, ChannelClosed
from turnout.sandbox.code_view import CODE_FRAMES, CodeSource, CodeView, OnDisk
from turnout.sandbox.frames import NO_NONCE, Frame, FrameType
from turnout.sandbox.launch import Launch, cpu_ms_of, peak_bytes_of, threads_of
from turnout.sandbox.lifeline import Lifeline
from turnout.sandbox.output import LogBudget, Printed

__all__ = ["NodeProcess"]

_SLACK_BYTES: Final = 1024 * 1024 + 64 * 1024
_LAST_FRAMES_S: Final = 0.2
_RENEWAL_S: Final = 1.0


class NodeProcess:
    """A process that waits for jobs. How it is started and ended is `launch`'s, how it sees its code is `source`'s."""

    def __init__(self, limits: Limits, launch: Launch, source: CodeSource) -> None:
        self.limits = limits
        self.launch = launch
        self._source = source
        self._code: CodeView | None = None
        self._held_too_much = False
        self.renewals = 0
        self._threads = 0
        self._used: resource.struct_rusage | None = None
        self.log = LogBudget(limits.log_bytes)
        self._printed = (Printed("info", self.log), Printed("error", self.log))
        self._pipes: dict[int, Printed] = {}
        self._channel: Channel | None = None
        self._pid = 0
        self._pidfd = -1
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @classmethod
    async def start(
        cls, limits: Limits, lifeline: Lifeline, launch: Launch, source: CodeSource | None = None
    ) -> NodeProcess:
        """A process that has said it is ready. `BackendError` if it does not within `limits.boot_s`."""
        process = cls(limits, launch, source or OnDisk())
        try:
            async with asyncio.timeout(limits.boot_s):
                await process._boot(lifeline)
        except TimeoutError as error:
            await process.end()
            raise BackendError(
                f"a {launch.program} process was not ready within {limits.boot_s:g} s: the machine is overloaded or out of memory"
            ) from error
        except OSError as error:
            await process.end()
            raise BackendError(f"a {launch.program} process could not be started: {error}") from error
        except BaseException:
            await process.end()
            raise
        return process

    @property
    def alive(self) -> bool:
        return not self.exited.done()

    @property
    def worker(self) -> int:
        """The pid of the process that runs the code."""
        return self.launch.worker(self._pid)

    @property
    def channel(self) -> Channel:
        assert self._channel is not None
        return self._channel

    @property
    def cpu_ms(self) -> float:
        """Processor time that it has used so far, or by its end: measured from outside."""
        return cpu_ms_of(self.worker) if self._used is None else (self._used.ru_utime + self._used.ru_stime) * 1000

    @property
    def peak_bytes(self) -> int:
        """The most memory that was resident at once so far, or by its end: measured from outside."""
        return peak_bytes_of(self.worker) if self._used is None else self._used.ru_maxrss * 1024

    @property
    def out_of_memory(self) -> bool:
        """Whether it ended for want of memory: by V8's last words, or because it was ended for holding too much."""
        return self._held_too_much or self._printed[1].out_of_memory or self.launch.out_of_memory

    async def prepare(self, bundle: CodeBundle, *, mapped: bool) -> None:
        """Load the bundle's modules ahead of time: from now on the process is for one tenant and this bundle alone.

        `mapped`: the bundle's module map is sound. `BackendError` if that ends the process or takes longer than `limits.boot_s`.
        """
        try:
            async with asyncio.timeout(self.limits.boot_s):
                code = await self.enter(bundle, mapped=mapped)
                order = {
                    "directory": code.directory,
                    "modules": bundle.modules,
                    "mapped": code.mapped,
                    "log_bytes": self.log.left,
                }
                await self.channel.send(FrameType.PREPARE, NO_NONCE, msgspec.json.encode(order))
                await self._until(FrameType.PREPARED)
        except (ChannelClosed, TimeoutError) as error:
            self.kill()
            raise BackendError("the code could not be loaded ahead of time") from error

    async def enter(self, bundle: CodeBundle, *, mapped: bool) -> CodeView:
        """How the process sees the bundle, the one that all its jobs are of; told to it the first time if it needs telling."""
        if self._code is None:
            code = self._source.view(bundle, mapped=mapped)
            if (opening := await code.opening()) is not None:
                kind, meta, body = opening
                await self.channel.send(kind, NO_NONCE, meta, body)
            self._code = code
        return self._code

    async def answer(self, frame: Frame) -> None:
        """Answer what the process asks for its code."""
        assert self._code is not None
        kind, meta, body = await self._code.answer(frame)
        await self.channel.send(kind, frame.nonce, meta, body)

    async def renew(self) -> bool:
        """Forget the modules that were loaded, for another execution of the same tenant and bundle. False where the code left
        something behind that could act in it, a thread above all: then it is not to be used again."""
        try:
            async with asyncio.timeout(_RENEWAL_S):
                nonce = os.urandom(8)
                await self.channel.send(FrameType.RENEW, nonce, b"")
                frame = await self._until(FrameType.RENEWED)
        except (ChannelClosed, TimeoutError):
            return False
        self.drain()
        self.log.renew()
        self.renewals += 1
        return frame.nonce == nonce and frame.meta == b"clean" and threads_of(self.worker) <= self._threads

    def drain(self) -> None:
        """Take in what the process has printed so far."""
        for fd in tuple(self._pipes):
            self._read_pipe(fd)

    def end_for_memory(self) -> None:
        """Kill it because it holds more memory than it may."""
        self._held_too_much = True
        self.kill()

    def kill(self) -> None:
        """End the process and all it started, at once. Idempotent."""
        if self._pid and self.alive:
            self.launch.kill(self._pid)
        if not self._pid:
            for fd in tuple(self._pipes):
                self._close_pipe(fd)
            self.launch.buried()
        if self._channel:
            self._channel.close()

    async def end(self) -> None:
        """Kill, and wait until the process is buried and its socket closed."""
        self.kill()
        if self._pid:
            await asyncio.shield(self.exited)
        if self._channel:
            await asyncio.shield(self._channel.closed)

    async def _boot(self, lifeline: Lifeline) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._spawn(theirs, lifeline)
                ours.settimeout(0)
                self._channel = await Channel.open(ours, _largest_body(self.limits))
            except BaseException:
                ours.close()
                raise
        try:
            await self._until(FrameType.READY)
        except ChannelClosed as error:
            code = await self.exited
            said = f": {self.log.unheard}" if self.log.unheard else ""
            raise BackendError(
                f"a {self.launch.program} process ended while it started, with status {code}{said}"
            ) from error
        self.launch.booted(self._pid, self.limits)
        await self.launch.bound(self._pid, self.limits)
        self._threads = threads_of(self.worker)

    async def _until(self, kind: FrameType) -> Frame:
        while (frame := await self.channel.next()).type is not kind:
            if frame.type is FrameType.LOG:
                self.log.add(frame.meta.decode("ascii", "replace"), frame.body)
            elif frame.type in CODE_FRAMES and self._code is not None:
                await self.answer(frame)
        return frame

    def _spawn(self, theirs: socket.socket, lifeline: Lifeline) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.ExitStack() as stack:
            null = _opened(stack, os.open(os.devnull, os.O_RDONLY))
            line = _opened(stack, lifeline.branch())
            pipes = [os.pipe(), os.pipe()]
            outs = [_opened(stack, write) for _, write in pipes]
            for (read, _), printed in zip(pipes, self._printed, strict=True):
                os.set_blocking(read, False)
                self._pipes[read] = printed
            sources = (null, *outs, theirs.fileno(), line)
            safe = [_opened(stack, fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10)) for fd in sources]
            self._pid = self.launch.spawn(self.limits, safe)
            lifeline.tie(line, self._pid)
        self._watch_exit(loop)
        for read in self._pipes:
            loop.add_reader(read, self._read_pipe, read)

    def _watch_exit(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            self._pidfd = os.pidfd_open(self._pid)
        except (AttributeError, OSError):
            loop.call_later(0.01, self._poll_exit, loop)
        else:
            loop.add_reader(self._pidfd, self._reap)

    def _poll_exit(self, loop: asyncio.AbstractEventLoop) -> None:
        """Where the system has no pidfd."""
        if self.alive and os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            loop.call_later(0.01, self._poll_exit, loop)
        else:
            self._reap()

    def _reap(self) -> None:
        """The process has ended: end what is left of its session while its pid is still its own, then bury it."""
        loop = asyncio.get_running_loop()
        if self._pidfd >= 0:
            loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
        with contextlib.suppress(OSError):
            os.killpg(self._pid, signal.SIGKILL)
        _, status, self._used = os.wait4(self._pid, 0)
        self.launch.buried()
        for fd, printed in tuple(self._pipes.items()):
            self._read_pipe(fd)
            self._close_pipe(fd)
            printed.finish()
        self.exited.set_result(self.launch.exit_code(os.waitstatus_to_exitcode(status)))
        if self._channel:  # its end comes by itself, after its last frames, unless somebody still holds the descriptor
            loop.call_later(_LAST_FRAMES_S, self._channel.close)

    def _read_pipe(self, fd: int) -> None:
        """Everything that can be read now, but not for ever: a flood is taken piece by piece."""
        for _ in range(16):
            try:
                data = os.read(fd, 65536)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._close_pipe(fd)
                return
            self._pipes[fd].feed(data)
            if len(data) < 65536:
                return

    def _close_pipe(self, fd: int) -> None:
        if self._pipes.pop(fd, None) is not None:
            asyncio.get_running_loop().remove_reader(fd)
            os.close(fd)


def _largest_body(limits: Limits) -> int:
    """The largest frame that an honest bootstrap sends: a result, the log's last line (in UTF-8), or a piece of a file."""
    return max(limits.result_bytes, 3 * limits.log_bytes) + _SLACK_BYTES


def _opened(stack: contextlib.ExitStack, fd: int) -> int:
    stack.callback(partial(os.close, fd))
    return fd
