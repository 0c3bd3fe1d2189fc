"""What controls put in the place of a part that stops attacks."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence

from turnout.interfaces.sandbox import Failure, Limits
from turnout.sandbox.channel import ChannelClosed
from turnout.sandbox.conversation import Conversation
from turnout.sandbox.launch import Launch, posix_spawn
from turnout.sandbox.node import BOOTSTRAP, node_binary, options

__all__ = ["InheritingLaunch", "PatientConversation"]


class PatientConversation(Conversation):
    """Waits for a process whose channel has ended, and does not end it."""

    async def _ended(self, closed: ChannelClosed) -> Failure:
        await asyncio.shield(self._process.exited)
        return await super()._ended(closed)


class InheritingLaunch(Launch):
    """Node as any program is started: no jail, and this process's own environment."""

    def spawn(self, limits: Limits, descriptors: Sequence[int]) -> int:
        program = [node_binary(), *options(limits.memory_bytes), str(BOOTSTRAP / "main.cjs")]
        return posix_spawn(program, dict(os.environ), descriptors)
