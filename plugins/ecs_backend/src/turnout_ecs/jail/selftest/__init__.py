"""The self-test at a worker's start: a real attempt to get out, one a layer, with the layers that stand before it switched off,
so that it meets that one alone. Code that gets out, or a process that is not as it must be, keeps the sandbox from serving."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import msgspec
from turnout.errors import BackendError
from turnout.interfaces.sandbox import CodeBundle, FileAccess, Job, Limits, Success
from turnout.model.payload import Encoded, File
from turnout.sandbox.bundle_files import OverChannel
from turnout.sandbox.conversation import Conversation
from turnout.sandbox.launch import Launch
from turnout.sandbox.lifeline import Lifeline
from turnout.sandbox.process import NodeProcess

from turnout_ecs.jail.launch import Setting

__all__ = ["ATTEMPTS", "Attempt", "self_test"]

_BUNDLE: Final = CodeBundle(hash="self-test", directory=str(Path(__file__).parent))
_MODULES: Final = {"javascript": "attempts.mjs", "python": "attempts.py"}
_LIMITS: Final = Limits(memory_bytes=64 * 1024 * 1024)
_WITHIN_S: Final = 5.0
_INPUT: Final = {
    "outside": "/proc/version",  # every machine has it, and anybody may read it
    "bytes": 1024 * 1024 * 1024,
}


class _Found(msgspec.Struct):
    got: str = ""
    refused: str = ""


_found: Final = msgspec.json.Decoder(_Found).decode


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What `layer` must keep from happening, tried with the layers of `without` off, which would keep it from happening too.
    `refusals` are the errors with which it is kept, without and with namespaces: another one says that it was not this layer."""

    layer: str
    refusals: tuple[str, ...]
    without: tuple[str, ...] = ()
    language: str = "javascript"


ATTEMPTS: Final = (
    Attempt(layer="chroot", refusals=("ENOENT",), without=("seccomp", "seal")),
    Attempt(layer="uid", refusals=("EPERM", "ESRCH"), without=("seccomp", "seal")),
    Attempt(layer="caps", refusals=("EPERM", "EINVAL"), without=("uid", "seccomp", "seal")),
    Attempt(layer="rlimits", refusals=("EMFILE",), without=("seccomp", "seal")),
    Attempt(layer="seccomp", refusals=("EPERM",), without=("seal",)),
    Attempt(layer="seal", refusals=("EPERM",)),
    Attempt(layer="memory", refusals=("ERR_MEMORY_ALLOCATION_FAILED",)),
    Attempt(layer="seccomp", refusals=("EPERM",), without=("seal",), language="python"),
    Attempt(layer="seal", refusals=("EPERM",), language="python"),
)


async def self_test(launch: Callable[[Setting], Launch], setting: Setting) -> None:
    """`BackendError` names each layer that does not hold, and what code could do without it."""
    lifeline = Lifeline()
    try:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            held = [_held(attempt, launch(_for(attempt, setting)), lifeline, port) for attempt in ATTEMPTS]
            found = await asyncio.gather(*held, return_exceptions=True)  # each is waited for: none is left behind
    finally:
        lifeline.close()
    for one in found:
        if isinstance(one, BaseException):
            raise one
    if faults := [str(fault) for fault in found if fault]:
        raise BackendError(
            "\n".join(["this machine does not hold customers' code: the sandbox does not start", *faults])
        )


def _for(attempt: Attempt, setting: Setting) -> Setting:
    off = {name: False for name in attempt.without if name != "seal"}
    sealed = setting.sealed and "seal" not in attempt.without
    return replace(setting, layers=replace(setting.layers, **off), sealed=sealed, language=attempt.language)


async def _held(attempt: Attempt, launch: Launch, lifeline: Lifeline, port: int) -> str:
    """What went wrong with it; empty where the layer held."""
    process = await NodeProcess.start(_LIMITS, lifeline, launch, OverChannel())
    files = _NoFiles()
    try:
        given = {**_INPUT, "layer": attempt.layer, "pid": os.getpid(), "port": port}
        job = Job(
            module=_MODULES[attempt.language],
            input=Encoded(json=msgspec.json.encode(given)),
            context={"execution": "self-test", "step": attempt.layer},
            timeout_s=_WITHIN_S,
            files=FileAccess(read=files.read, write=files.write),
        )
        outcome = await Conversation(process, _BUNDLE.of(attempt.language), job, mapped=False).run()
    finally:
        await process.end()
    if not isinstance(outcome, Success):
        return f"{attempt.layer}: the attempt could not be made: {outcome.kind}: {outcome.message}"
    found = _found(outcome.output.json)
    if found.got:
        return f"{attempt.layer}: {found.got}"
    if found.refused in attempt.refusals:
        return ""
    return f"{attempt.layer}: {found.refused}, where {' or '.join(attempt.refusals)} was to come"


class _NoFiles:
    """The attempts have no files, and make none."""

    async def read(self, file: File) -> AsyncIterator[bytes]:
        yield b""

    async def write(self, content: AsyncIterator[bytes], name: str, content_type: str) -> File:
        raise BackendError("an attempt of the self-test makes no files")
