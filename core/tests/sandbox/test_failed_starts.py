"""A process that does not come up: the error has its last words."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from turnout.errors import BackendError
from turnout.interfaces.sandbox import Limits
from turnout.sandbox.launch import Launch, posix_spawn
from turnout.sandbox.lifeline import Lifeline
from turnout.sandbox.process import NodeProcess


class Failing(Launch):
    def __init__(self, command: str) -> None:
        self._command = command

    def spawn(self, limits: Limits, descriptors: Sequence[int]) -> int:
        return posix_spawn(["/bin/sh", "-c", self._command], {}, descriptors)


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("echo 'chroot: errno 1' >&2; exit 125", "with status 125: chroot: errno 1$"),
        ("exit 3", "with status 3$"),
    ],
)
async def test_a_process_that_ends_while_it_starts_is_quoted(command: str, told: str) -> None:
    lifeline = Lifeline()
    try:
        with pytest.raises(BackendError, match=told):
            await NodeProcess.start(Limits(), lifeline, Failing(command))
    finally:
        lifeline.close()
