"""Which server a command goes to: the one there is, or in a cluster the one that serves the slot of its key.

The map of slots is read with the first connection, and again when a server says that a slot is elsewhere (`MOVED`, `ASK`)
or a connection is lost. The order of commands of one slot holds across such a move.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from binascii import crc_hqx
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from turnout.errors import BackendError, Overloaded

from turnout_ecs.link import Ask, Link
from turnout_ecs.options import Address
from turnout_ecs.scripts import Script
from turnout_ecs.wire import Command

__all__ = ["Router", "slot_of"]

Word = str | bytes | int | float
Heard = Callable[[bytes], None]

_TAG: Final = re.compile(rb"\{([^}]*)\}")
_SLOTS: Final = 16384
_TRY_AGAIN_S: Final = 0.05
_LOOK_S: Final = 1.0
"""So often is looked whether connections that only listen are still there."""
_FOR_A_WHILE: Final = ("LOADING", "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN", "BUSY ")
_NOT_DONE_HERE: Final = ("MOVED", "ASK ", "NOSCRIPT", *_FOR_A_WHILE)
"""Errors that say that nothing was done, and that trying again can help."""


def slot_of(key: bytes) -> int:
    """The cluster's slot of a key: of its hash tag, if it has one (the Redis Cluster specification)."""
    tag = _TAG.search(key)
    return crc_hqx(tag[1] if tag and tag[1] else key, 0) % _SLOTS


class Router:
    """The links of one event loop."""

    def __init__(self, address: Address, loop: asyncio.AbstractEventLoop) -> None:
        self.on_loss: list[Callable[[], None]] = []
        self._address = address
        self._loop = loop
        self._links: dict[tuple[str, int], Link] = {}
        self._seed = self._link(address.host, address.port)
        self._clustered = False
        self._slots: dict[int, Link] = {}
        self._moving: dict[int, list[Command]] = {}
        self._heard: dict[bytes, tuple[bytes, Heard]] = {}
        self._mapping: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None

    def call(
        self, words: Sequence[Word], key: Word, *, safe: bool, patience_s: float | None = None
    ) -> asyncio.Future[Any]:
        name = key if isinstance(key, bytes) else str(key).encode()
        command = self._command(words, key=name, safe=safe, patience_s=patience_s)
        self._send(command)
        return command.future

    def run(
        self, script: Script, keys: Sequence[bytes], args: Sequence[Word], *, patience_s: float | None = None
    ) -> asyncio.Future[Any]:
        words = (b"EVALSHA", script.sha, len(keys), *keys, *args)
        command = self._command(words, key=keys[0], safe=script.safe, script=script, patience_s=patience_s)
        self._send(command)
        return command.future

    def everywhere(self, words: Sequence[Word]) -> Sequence[asyncio.Future[Any]]:
        futures = []
        for link in dict.fromkeys(self._slots.values()) or [self._seed]:
            command = self._command(words, safe=True)
            link.send(command)
            futures.append(command.future)
        return futures

    async def ready(self) -> Mapping[bytes, Any]:
        await self.call(("PING",), b"", safe=True)
        return self._seed.hello

    async def listen(self, key: bytes, channel: bytes, heard: Heard) -> None:
        self._heard[channel] = (key, heard)
        self._link_of(key).listen(channel)
        if self._looking is None:
            self._looking = self._loop.create_task(self._keep_looking(), name="turnout-redis-listening")
        await self._look(key)

    async def _keep_looking(self) -> None:
        """Nothing else is sent over a connection that listens: that it is dead would never be noticed."""
        while True:
            await asyncio.sleep(_LOOK_S)
            await asyncio.gather(*(self._look(key) for key, _ in list(self._heard.values())))

    async def _look(self, key: bytes) -> None:
        """Return once what is published at the server that has the key is heard, or cannot be for now."""
        with contextlib.suppress(BackendError):
            await self.call(("PING",), key, safe=True)

    def close(self) -> None:
        for task in (self._mapping, self._looking):
            if task is not None:
                task.cancel()
        self.on_loss.clear()
        for link in self._links.values():
            link.close()
        held, self._moving = [command for held in self._moving.values() for command in held], {}
        for command in held:
            command.fail(BackendError(f"the connection to Redis at {self._address} was closed"))

    def _command(
        self,
        words: Sequence[Word],
        *,
        key: bytes = b"",
        safe: bool = False,
        script: Script | None = None,
        patience_s: float | None = None,
    ) -> Command:
        deadline = self._loop.time() + (self._address.timeout_s if patience_s is None else patience_s)
        return Command(words, self._loop.create_future(), deadline=deadline, key=key, safe=safe, script=script)

    def _send(self, command: Command) -> None:
        if self._moving and (held := self._moving.get(slot_of(command.key))) is not None:
            held.append(command)  # those before it are still on their way to the slot's new place
        else:
            self._link_of(command.key).send(command)

    def _link_of(self, key: bytes) -> Link:
        return self._slots.get(slot_of(key), self._seed) if self._clustered and key else self._seed

    def _link(self, host: str, port: int) -> Link:
        if (host, port) not in self._links:
            self._links[host, port] = Link(
                self._address.at(host, port),
                opened=self._opened,
                send_again=self._send,
                refused=self._refused,
                pushed=self._pushed,
                broken=self._broken,
            )
        return self._links[host, port]

    def _pushed(self, link: Link, channel: bytes, message: bytes) -> None:
        """In a cluster every node passes on what is published at any: the one with the key counts."""
        key, heard = self._heard.get(channel, (b"", None))
        if heard is not None and link is self._link_of(key):
            heard(message)

    async def _opened(self, link: Link, ask: Ask) -> None:
        if self._address.cluster is False or link.hello.get(b"mode") != b"cluster":
            if self._address.cluster and link is self._seed:
                raise BackendError(f"Redis at {link.address} is no cluster; unset backends.redis.cluster")
            return
        if not self._clustered or link is self._seed:
            self._learn(link, await ask("CLUSTER", "SLOTS"))
            self._clustered = True

    def _learn(self, link: Link, ranges: Sequence[Any]) -> None:
        """Take over the answer of `CLUSTER SLOTS`, and send what waits where it now belongs."""
        slots: dict[int, Link] = {}
        for first, last, (host, port, *_), *_ in ranges:
            master = self._link((host or b"").decode() or link.address.host, port)
            slots.update(dict.fromkeys(range(first, last + 1), master))
        self._slots = slots
        for channel, (key, _) in self._heard.items():
            owner = slots.get(slot_of(key), self._seed)
            for other in [other for other in self._links.values() if other is not owner]:
                other.listen_no_more(channel)
            owner.listen(channel)
        for one in list(self._links.values()):
            for command in one.take_waiting():
                (slots.get(slot_of(command.key), self._seed) if command.key else one).send(command)

    def _broken(self, link: Link, error: BackendError) -> None:
        moving, self._moving = self._moving, {}
        for command in [command for held in moving.values() for command in held]:
            self._send(command)
        if self._clustered:
            self._map_again(apart_from=link)
        for lost in list(self.on_loss):
            lost()

    def _map_again(self, *, apart_from: Link | None = None) -> None:
        if self._mapping is None or self._mapping.done():
            self._mapping = self._loop.create_task(self._map(apart_from), name="turnout-redis-cluster")

    async def _map(self, apart_from: Link | None) -> None:
        """Ask the servers, one after another, which serves what; the first answer counts."""
        for link in [link for link in self._links.values() if link is not apart_from]:
            command = self._command(("CLUSTER", "SLOTS"), safe=True)
            link.send(command)
            try:
                self._learn(link, await command.future)
            except BackendError:
                continue
            return

    def _refused(self, link: Link, command: Command, error: str) -> None:
        read_only = "READONLY" in error  # within the error of a script, too, whose first write it refused
        if not (error.startswith(_NOT_DONE_HERE) or read_only) or self._loop.time() >= command.deadline:
            command.fail(_explained(link, command, error))
            return
        command.tries += 1
        if error.startswith("NOSCRIPT") and command.script is not None:
            link.forget_scripts()
            link.send(command)
        elif error.startswith("MOVED"):
            self._move(link, command, error)
        elif error.startswith("ASK "):
            host, _, port = error.split()[2].rpartition(":")
            self._link(host or link.address.host, int(port)).send_asking(command)
        else:
            if read_only:
                self._map_again()
            self._loop.call_later(_TRY_AGAIN_S, self._send, command)

    def _move(self, link: Link, command: Command, error: str) -> None:
        """The slot is served elsewhere. What else was sent to the old place is refused as well, in order; what is called
        meanwhile waits behind that."""
        _, slot, place = error.split()[:3]
        host, _, port = place.rpartition(":")
        if int(slot) not in self._moving:
            self._moving[int(slot)] = []
            self._loop.call_later(self._address.timeout_s, self._hold_no_longer, int(slot), self._moving[int(slot)])
        held = self._moving[int(slot)]
        held.insert(sum(one.tries > 0 for one in held), command)
        if any(slot_of(one.key) == int(slot) for one in link.unanswered if one.key):
            return
        del self._moving[int(slot)]
        self._clustered = True
        self._slots[int(slot)] = target = self._link(host or link.address.host, int(port))
        for one in held:
            target.send(one)
        self._map_again()

    def _hold_no_longer(self, slot: int, held: list[Command]) -> None:
        """What was sent to the old place with them was not all refused: the slot has come back meanwhile, say."""
        if self._moving.get(slot) is held:
            del self._moving[slot]
            for one in held:
                self._send(one)


def _explained(link: Link, command: Command, error: str) -> BackendError:
    # A script's error has that of the command that failed in it: it was its first write, so nothing was done.
    where = f"Redis at {link.address}"
    if "OOM command not allowed" in error:
        message = f"{where} is out of memory (maxmemory): give it more, or let workers drain its queues and journals"
        return Overloaded(message, retry_after_s=5.0)
    if "NOPERM" in error or "can't run this command" in error:
        return BackendError(
            f"{where} does not permit {command.name} to this user: {error}; see the README of turnout-ecs for its ACL"
        )
    if "MISCONF" in error:
        return BackendError(f"{where} cannot write to its disk: {error}")
    return BackendError(f"{where} refused {command.name}: {error}")
