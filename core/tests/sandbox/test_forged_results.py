"""Results that no bootstrap would send, as code can that found the nonce in its own memory: they fail the step alone."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from turnout.interfaces.sandbox import CodeBundle, Failure, Limits
from turnout.model.payload import Encoded, File
from turnout.sandbox.code_view import CodeView, OnDisk
from turnout.sandbox.conversation import Conversation
from turnout.sandbox.frames import Frame, FrameType
from turnout.sandbox.output import LogBudget
from turnout.testing.sandbox import job


class Forger:
    """A process that answers each job with one result of its own making."""

    def __init__(self, body: bytes, files: object = (), kind: FrameType = FrameType.RESULT, meta: bytes = b"") -> None:
        self.limits = Limits()
        self.log = LogBudget(1000)
        self.channel = self
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.killed = False
        self._body = body
        self._kind = kind
        self._meta = meta or json.dumps({"cpu_ms": 1.0, "network": False, "files": files}).encode()
        self._nonce = b""

    async def enter(self, bundle: CodeBundle, *, mapped: bool) -> CodeView:
        return OnDisk().view(bundle, mapped=mapped)

    async def send(self, kind: FrameType, nonce: bytes, meta: bytes, body: bytes = b"") -> None:
        self._nonce = nonce

    async def next(self) -> Frame:
        return Frame(self._kind, self._nonce, self._meta, self._body)

    def drain(self) -> None:
        pass

    def kill(self) -> None:
        self.killed = True


@pytest.mark.parametrize(
    ("body", "files"),
    [
        (b"{bad", []),
        (b"\xff", []),
        (b"", []),
        (b"[] []", []),
        (b"[" * 100_000, []),
        (b'{"a": null}', [["/b/c", {"input": 0}]]),
        (b"[1]", [["/x", {"input": 0}]]),
        (b"5", [["/x", {"input": 0}]]),
        (b"null", [["", {"input": 7}]]),
    ],
)
async def test_a_forged_result_is_a_failure(body: bytes, files: object) -> None:
    forger: Any = Forger(body, files)
    given = job("step.js", input=Encoded(files=(("", File(sha256="0" * 64, size=1, data=b"x")),)))
    conversation = Conversation(forger, CodeBundle(hash="h", directory="/"), given, mapped=False)

    outcome = await conversation.run()

    assert isinstance(outcome, Failure)
    assert not conversation.usable
    assert forger.killed


@pytest.mark.parametrize("kind", [FrameType.RESULT, FrameType.ERROR, FrameType.READ, FrameType.STORE])
@pytest.mark.parametrize("meta", [b"{", b"[]", b'{"more":"\xff"}', b'{"more":' + b"[" * 200_000])
async def test_a_frame_that_says_nothing_fails_the_step_alone(kind: FrameType, meta: bytes) -> None:
    forger: Any = Forger(b"", kind=kind, meta=meta)

    outcome = await Conversation(forger, CodeBundle(hash="h", directory="/"), job("step.js"), mapped=False).run()

    assert isinstance(outcome, Failure)
    assert "interfered" in outcome.message
    assert forger.killed


async def test_what_a_forged_error_says_is_cut() -> None:
    error: dict[str, object] = {}
    for _ in range(100):
        error = {"name": "n" * 1000, "message": "m" * 100_000, "stack": "    at " + "a (:1" * 200_000, "cause": error}
    meta = json.dumps({"kind": "", "message": "", "last": False, "network": False, "error": error}).encode()
    forger: Any = Forger(b"", kind=FrameType.ERROR, meta=meta)

    outcome = await Conversation(forger, CodeBundle(hash="h", directory="/"), job("step.js"), mapped=False).run()

    assert isinstance(outcome, Failure)
    assert len(outcome.kind) < 1000
    assert len(outcome.message) < 70_000
    assert len(outcome.stack) < 400_000
