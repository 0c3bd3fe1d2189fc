"""One job over one process: what is sent, what is answered, and the outcome made of what comes back."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final, TypeVar

import msgspec

from turnout.errors import StepError
from turnout.interfaces.sandbox import CodeBundle, Failure, Job, Outcome, Success
from turnout.model.payload import Encoded
from turnout.sandbox.channel import ChannelClosed
from turnout.sandbox.code_view import CODE_FRAMES
from turnout.sandbox.frames import Frame, FrameType, ProtocolBroken
from turnout.sandbox.process import NodeProcess
from turnout.sandbox.stacks import Thrown, relative, stack_of, syntax_place
from turnout.sandbox.stored import StoredFiles, TooMuch
from turnout.values import Value

__all__ = ["Conversation"]

_NO_MEMORY: Final = ("Array buffer allocation failed", "Failed to allocate memory", "Out of memory")
_PIECE_BYTES: Final = 1024 * 1024
_MOST_STREAMS: Final = 100
"""Contents of input files that a job may be reading at the same time: each may be a file that this process has open."""
_LONGEST_MESSAGE: Final = 64 * 1024 + 1
_LONGEST_KIND: Final = 256
_MOST_VALUES: Final = 1_000_000
"""Of a result with files in it, which is built to see where they are: an empty list is three bytes of text, and 70 here."""


class _InputFile(msgspec.Struct):
    pointer: str
    name: str
    size: int
    type: str


class _Order(msgspec.Struct):
    directory: str
    module: str
    mapped: bool
    context: dict[str, object]
    timeout_ms: float
    log_bytes: int
    result_bytes: int
    files: list[_InputFile]


class _Read(msgspec.Struct):
    file: int
    stream: int


class _Store(msgspec.Struct):
    name: str
    type: str


class _ResultFile(msgspec.Struct):
    input: int | None = None
    stored: int | None = None


class _Result(msgspec.Struct):
    cpu_ms: float
    network: bool
    files: list[tuple[str, _ResultFile]]


class _Report(msgspec.Struct):
    kind: str
    message: str
    last: bool
    network: bool
    error: Thrown | None = None


_encode = msgspec.json.Encoder().encode
_result = msgspec.json.Decoder(_Result)
_report = msgspec.json.Decoder(_Report)
_read = msgspec.json.Decoder(_Read)
_store = msgspec.json.Decoder(_Store)
_Told = TypeVar("_Told")


def _told(decoder: msgspec.json.Decoder[_Told], frame: Frame) -> _Told:
    """What the frame says. `ProtocolBroken` for whatever the bootstrap would not write."""
    try:
        return decoder.decode(frame.meta)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolBroken(f"a {frame.type.name} frame that says nothing: {error}") from error


class Conversation:
    """Runs one job. `usable` says afterwards whether the process can take another."""

    def __init__(self, process: NodeProcess, bundle: CodeBundle, job: Job, *, mapped: bool) -> None:
        self._process = process
        self._channel = process.channel
        self._bundle = bundle
        self._job = job
        self._mapped = mapped
        self._nonce = os.urandom(8)
        self._contents: dict[int, AsyncGenerator[bytes, None]] = {}
        self._stored = StoredFiles(job.files, process.limits)
        self._overdue = False
        self.usable = False

    async def run(self) -> Outcome:
        """The outcome. What `Job.files` raises is raised: it is no doing of the code."""
        timer = asyncio.get_running_loop().call_later(self._job.timeout_s, self._expire)
        self._process.log.attach(self._job.log)
        try:
            await self._ask()
            outcome = await self._listen()
            self._process.drain()
            return outcome
        except ChannelClosed as closed:
            return await self._ended(closed)
        except ProtocolBroken as error:
            return self._broken(str(error))
        except TooMuch as much:
            return much.failure
        finally:
            timer.cancel()
            self._process.log.detach()
            if not self.usable:
                self._process.kill()
            for content in self._contents.values():
                await content.aclose()

    def _expire(self) -> None:
        self._overdue = True
        self._process.kill()

    async def _ask(self) -> None:
        job, limits = self._job, self._process.limits
        code = await self._process.enter(self._bundle, mapped=self._mapped)
        order = _Order(
            directory=code.directory,
            module=job.module,
            mapped=code.mapped,
            context=dict(job.context),
            timeout_ms=job.timeout_s * 1000,
            log_bytes=self._process.log.left,
            result_bytes=limits.result_bytes,
            files=[
                _InputFile(pointer=pointer, name=file.name, size=file.size, type=file.content_type)
                for pointer, file in job.input.files
            ],
        )
        await self._channel.send(FrameType.JOB, self._nonce, _encode(order), job.input.json)

    async def _listen(self) -> Outcome:
        while True:
            frame = await self._next()
            match frame.type:
                case FrameType.LOG:
                    self._process.log.add(frame.meta.decode("ascii", "replace"), frame.body)
                case FrameType.READ:
                    await self._answer_read(_told(_read, frame))
                case FrameType.FETCH | FrameType.INDEX:
                    await self._process.answer(frame)
                case FrameType.STORE:
                    await self._answer_store(_told(_store, frame))
                case FrameType.RESULT:
                    return self._succeeded(_told(_result, frame), frame.body)
                case FrameType.ERROR:
                    return self._failed(_told(_report, frame))
                case _:
                    raise ProtocolBroken(f"a {frame.type.name} frame where none belongs")

    async def _next(self) -> Frame:
        frame = await self._channel.next()
        if frame.nonce != self._nonce:
            raise ProtocolBroken("a frame that does not belong to the job")
        return frame

    async def _answer_read(self, asked: _Read) -> None:
        """The next piece of an input file's content; an empty one at its end."""
        if not 0 <= asked.file < len(self._job.input.files):
            raise ProtocolBroken(f"file {asked.file} is not in the input")
        content = self._contents.get(asked.stream)
        if content is None and len(self._contents) >= _MOST_STREAMS:
            why = f"EMFILE: more than {_MOST_STREAMS} files of the input are being read at the same time"
            await self._channel.send(FrameType.REFUSED, self._nonce, why.encode())
            return
        if content is None:
            content = _pieces(self._job.files.read(self._job.input.files[asked.file][1]))
            self._contents[asked.stream] = content
        piece = await anext(content, b"")
        if not piece:
            del self._contents[asked.stream]
        await self._channel.send(FrameType.CONTENT, self._nonce, b"", piece)

    async def _answer_store(self, store: _Store) -> None:
        """Keep a file that the code made, as its content comes."""
        number = await self._stored.add(self._chunks(), store.name, store.type)
        await self._channel.send(FrameType.CONTENT, self._nonce, str(number).encode())

    async def _chunks(self) -> AsyncIterator[bytes]:
        while (frame := await self._next()).type is not FrameType.STORED:
            if frame.type is FrameType.CHUNK:
                yield frame.body
            elif frame.type is FrameType.LOG:
                self._process.log.add(frame.meta.decode("ascii", "replace"), frame.body)
            elif frame.type is FrameType.READ:
                await self._answer_read(_told(_read, frame))
            elif frame.type in CODE_FRAMES:
                await self._process.answer(frame)
            else:
                raise ProtocolBroken(f"a {frame.type.name} frame inside a file")

    def _succeeded(self, result: _Result, text: bytes) -> Outcome:
        files = []
        given = [file for _, file in self._job.input.files]
        for pointer, made in result.files:
            known = self._stored.files if made.input is None else given
            number = made.stored if made.input is None else made.input
            if number is None or not 0 <= number < len(known):
                raise ProtocolBroken("the result names a file that does not exist")
            files.append((pointer, known[number]))
        output = Encoded(json=text, files=tuple(files))
        # Code that finds the nonce in its own memory can send what the bootstrap would not.
        try:
            Value.parse(text)
            if files:
                if sum(map(text.count, (b",", b"[", b"{"))) > _MOST_VALUES:
                    message = f"a result with files in it has at most {_MOST_VALUES} values: return them as a file too"
                    return Failure(kind="result_too_large", message=message, network=result.network)
                Value.from_encoded(output).load()
        except StepError as error:
            return Failure(kind=error.kind, message=error.message, network=result.network)
        except (LookupError, TypeError, ValueError) as error:
            raise ProtocolBroken("the result has a file where it has no place") from error
        self.usable = True
        return Success(output=output, cpu_ms=max(0.0, result.cpu_ms), network=result.network)

    def _failed(self, report: _Report) -> Failure:
        self.usable = not report.last
        thrown = report.error
        if thrown is None and report.kind == "memory":
            return Failure(kind="memory", message=self._memory_message(), network=report.network)
        if thrown is None:
            kind, message = report.kind[:_LONGEST_KIND], report.message[:_LONGEST_MESSAGE]
            return Failure(kind=kind, message=message, network=report.network)
        kind, message = (report.kind or thrown.name)[:_LONGEST_KIND], thrown.message[:_LONGEST_MESSAGE]
        place = ""
        if kind == "RangeError" and message in _NO_MEMORY:
            kind, message = "memory", self._memory_message()
        elif kind == "import":
            place = syntax_place(thrown.stack, self._bundle)
            message = f"{self._job.module} cannot be loaded: {thrown.name}: {relative(message, self._bundle)}"
            message += f" ({place})" if place else ""
        elif report.message:
            message = f"{report.message[:_LONGEST_MESSAGE]}: {message}"
        stack = stack_of(thrown, self._bundle)
        if kind == "import" and place and place not in stack:
            stack += f"\n    at {place}"
        return Failure(kind=kind, message=message, stack=stack, network=report.network)

    def _memory_message(self) -> str:
        return f"the code needed more than the {self._process.limits.memory_bytes // (1024 * 1024)} MB that it may use"

    async def _ended(self, closed: ChannelClosed) -> Failure:
        """The process is gone without an outcome: say why."""
        self._process.kill()
        status = await asyncio.shield(self._process.exited)
        if self._overdue:
            return Failure(
                kind="timeout", message=f"the code did not return within {self._job.timeout_s:g} s", network=True
            )
        if closed.broken:
            return self._broken(closed.broken)
        if self._process.out_of_memory:
            return Failure(kind="memory", message=self._memory_message(), network=True)
        if status == -signal.SIGXCPU:
            return Failure(kind="timeout", message="the code used up the processor time of its sandbox", network=True)
        how = f"signal {-status}" if status < 0 else f"exit status {status}"
        return Failure(kind="crashed", message=f"the process ended with {how} before the code returned", network=True)

    def _broken(self, why: str) -> Failure:
        return Failure(kind="crashed", message=f"the code interfered with its sandbox's channel: {why}", network=True)


async def _pieces(content: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """The content in pieces that are not empty and not large. Closed with it, so that no file is open longer than needed."""
    try:
        async for data in content:
            for at in range(0, len(data), _PIECE_BYTES):
                yield data if len(data) <= _PIECE_BYTES else data[at : at + _PIECE_BYTES]
    finally:
        if (aclose := getattr(content, "aclose", None)) is not None:
            await aclose()
