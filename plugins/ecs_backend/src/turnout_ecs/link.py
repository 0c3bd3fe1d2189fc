"""The way to one Redis server: opened when there is something to send, opened again when it was lost.

What was sent and not answered when a connection ends may or may not have been done: it fails with `BackendError`, unless
its command says that twice is as good as once. What was not sent yet waits for the next connection, up to its deadline.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from turnout.errors import BackendError, Overloaded

from turnout_ecs.options import Address
from turnout_ecs.wire import Command, Wire

__all__ = ["Ask", "Link"]

Ask = Callable[..., Awaitable[Any]]
"""Send these words over the new connection, and await the reply."""

_BACKOFF_S: Final = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
_MOST_UNSENT_BYTES: Final = 64 * 1024 * 1024
_OLDEST: Final = (6, 2)
_STARTING: Final = ("LOADING", "MASTERDOWN")


class Link:
    """Belongs to one event loop.

    `opened` is awaited with each new connection before anything is sent over it; then `send_again` gets what waited for
    it, in order. `refused` decides what becomes of a command that got an error reply; `broken` is told that a connection
    was lost or could not be made.
    """

    def __init__(
        self,
        address: Address,
        *,
        opened: Callable[[Link, Ask], Awaitable[None]],
        send_again: Callable[[Command], None],
        refused: Callable[[Link, Command, str], None],
        pushed: Callable[[Link, bytes, bytes], None],
        broken: Callable[[Link, BackendError], None],
    ) -> None:
        self.address = address
        self.hello: Mapping[bytes, Any] = {}
        self._opened = opened
        self._send_again = send_again
        self._refused = refused
        self._pushed = pushed
        self._broken = broken
        self._scripts: set[bytes] = set()
        self._channels: list[bytes] = []
        self._wire: Wire | None = None
        self._waiting: deque[Command] = deque()
        self._connecting: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def unanswered(self) -> Sequence[Command]:
        return self._wire.unanswered if self._wire is not None else ()

    def send(self, command: Command) -> None:
        """Send it, once there is a connection."""
        if self._closed:
            command.fail(BackendError(f"the connection to Redis at {self.address} is closed"))
        elif self._wire is None:
            self._waiting.append(command)
            self._connect()
        elif self._wire.unsent_bytes > _MOST_UNSENT_BYTES:
            command.fail(
                Overloaded(f"Redis at {self.address} is slower than what is sent to it: 64 MiB wait to be sent")
            )
        else:
            self._write(self._wire, command)

    def send_asking(self, command: Command) -> None:
        """Send it as one that the other server answered with `ASK`: its key is being moved here."""
        asking = self._command([b"ASKING"])
        asking.future.add_done_callback(_look)
        self.send(asking)
        self.send(command)

    def forget_scripts(self) -> None:
        """The server has forgotten them: send them again before they are used."""
        self._scripts.clear()

    def listen(self, channel: bytes) -> None:
        """Have what is published on the channel pushed, over every connection from now on."""
        if channel in self._channels:
            return
        self._channels.append(channel)
        if self._wire is not None:
            self._wire.send(self._subscription(channel))
        else:
            self._connect()

    def listen_no_more(self, channel: bytes) -> None:
        """Another server has the channel's key now."""
        if channel in self._channels:
            self._channels.remove(channel)
            if self._wire is not None:
                self._wire.send(self._subscription(channel, word="UNSUBSCRIBE"))

    def take_waiting(self) -> Sequence[Command]:
        """What was not sent yet, for another link."""
        waiting, self._waiting = self._waiting, deque()
        return waiting

    def close(self) -> None:
        """What is under way fails. Idempotent."""
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
        if self._wire is not None:
            self._wire.abort()
        self._fail_waiting(BackendError(f"the connection to Redis at {self.address} was closed"))

    def _connect(self) -> None:
        if self._connecting is None:
            self._connecting = asyncio.get_running_loop().create_task(self._keep_connecting(), name="turnout-redis")

    async def _keep_connecting(self) -> None:
        """Try until there is a connection or nothing waits for one."""
        loop, tries = asyncio.get_running_loop(), 0
        try:
            while self._wire is None:
                try:
                    async with asyncio.timeout(self.address.timeout_s):
                        self._wire = await self._open()
                except (OSError, ValueError, BackendError) as fault:  # ValueError: a name that no resolver takes
                    error = self._explain(fault)
                    self._broken(self, error)
                    now = loop.time()
                    final = not isinstance(fault, OSError) or isinstance(fault, ssl.SSLCertVerificationError)
                    self._fail_waiting(error, before=None if final else now)
                    if not self._waiting:
                        return
                    await asyncio.sleep(_BACKOFF_S[min(tries, len(_BACKOFF_S) - 1)])
                    tries += 1
        finally:
            self._connecting = None
        for command in self.take_waiting():
            self._send_again(command)

    async def _open(self) -> Wire:
        opened: list[Wire] = []

        def lost(unanswered: Sequence[Command]) -> None:
            self._lose(opened, unanswered)

        def made() -> Wire:
            opened.append(Wire(refused=self._refuse, pushed=self._push, lost=lost, timeout_s=self.address.timeout_s))
            return opened[0]

        address, loop = self.address, asyncio.get_running_loop()
        _, wire = await loop.create_connection(
            made, address.host, address.port, ssl=address.tls, server_hostname=address.host if address.tls else None
        )
        try:
            self.hello = await self._greet(wire)
            self._scripts.clear()
            await self._opened(self, lambda *words: self._ask(wire, words))
            for channel in self._channels:
                subscription = self._subscription(channel)
                wire.send(subscription)
                await subscription.future
        except BaseException:
            opened.clear()
            wire.abort()
            raise
        return wire

    async def _greet(self, wire: Wire) -> Mapping[bytes, Any]:
        words: list[str] = ["HELLO", "3"]
        if password := self.address.password.reveal():
            words += ["AUTH", self.address.username or "default", password]
        words += ["SETNAME", f"turnout-{os.getpid()}"]
        answer = await self._ask(wire, words)
        if not isinstance(answer, dict) or b"version" not in answer:
            raise BackendError(f"what answers at {self.address} is no Redis; check backends.redis.url")
        version = tuple(int(part) for part in answer[b"version"].split(b".")[:2])
        if version < _OLDEST:
            text = answer[b"version"].decode()
            raise BackendError(f"Redis at {self.address} is version {text}; Turnout needs 6.2 or newer")
        return answer

    def _subscription(self, channel: bytes, *, word: str = "SUBSCRIBE") -> Command:
        subscription = self._command([word, channel])
        subscription.future.add_done_callback(_look)
        return subscription

    def _command(self, words: Sequence[str | bytes]) -> Command:
        loop = asyncio.get_running_loop()
        return Command(words, loop.create_future(), deadline=loop.time() + self.address.timeout_s)

    def _ask(self, wire: Wire, words: Sequence[str | bytes]) -> asyncio.Future[Any]:
        command = self._command(words)
        wire.send(command)
        return command.future

    def _write(self, wire: Wire, command: Command) -> None:
        script = command.script
        if script is not None and script.sha not in self._scripts:
            self._scripts.add(script.sha)
            loading = self._command([b"SCRIPT", b"LOAD", script.source])
            loading.future.add_done_callback(_look)  # if it is refused, so is the script, which says why
            wire.send(loading)
        wire.send(command)

    def _refuse(self, command: Command, error: str) -> None:
        if command.name == "HELLO":
            if error.startswith(_STARTING):
                command.fail(OSError("it is starting"))
                return
            old = error.startswith("ERR unknown command")
            why = "does not know HELLO; Turnout needs 6.2 or newer" if old else f"refused the log-in: {error}"
            command.fail(BackendError(f"Redis at {self.address} {why}"))
            return
        self._refused(self, command, error)

    def _push(self, message: Sequence[Any]) -> None:
        if message[0] == b"message":
            self._pushed(self, message[1], message[2])

    def _lose(self, opened: Sequence[Wire], unanswered: Sequence[Command]) -> None:
        error = BackendError(
            f"the connection to Redis at {self.address} was lost; what was under way may or may not have been done"
        )
        if not opened or self._wire is not opened[0]:  # it was still being opened
            for command in unanswered:
                command.fail(ConnectionResetError("the connection was lost at once"))
            return
        self._wire = None
        again: list[Command] = []
        for command in unanswered:
            if command.safe and not self._closed:
                again.append(command)
            else:
                command.fail(error)
        self._waiting.extendleft(reversed(again))
        if not self._closed:
            self._broken(self, error)
        if self._waiting or (self._channels and not self._closed):
            self._connect()

    def _fail_waiting(self, error: Exception, *, before: float | None = None) -> None:
        waiting, self._waiting = self._waiting, deque()
        for command in waiting:
            if before is not None and command.deadline > before:
                self._waiting.append(command)
            else:
                command.fail(error)

    def _explain(self, fault: Exception) -> BackendError:
        if isinstance(fault, BackendError):
            return fault
        reason = "no answer in time" if isinstance(fault, TimeoutError) else str(fault) or type(fault).__name__
        return BackendError(
            f"Redis at {self.address} cannot be reached: {reason}; check backends.redis.url and the network"
        )


def _look(future: asyncio.Future[Any]) -> None:
    """Nobody waits for it; a failure that nobody looked at would be logged."""
    if not future.cancelled():
        future.exception()
