"""The connection to Redis, a server or a cluster: one socket an event loop and node, shared by everybody in the process, and
one more where something is listened for.

`call` returns a future at once: await it, or go on and look at it later (write-behind). All that is called in one turn of
the event loop goes out in one write, and commands are carried out in the order of the calls (in a cluster: those with
keys of one slot). Every command is answered or fails within the time-out. Commands whose key is of a slot that
moved follow it.

What is published comes over sockets of its own: a server gives up a connection that listens when 32 MB wait to be sent over
it (`client-output-buffer-limit pubsub`), which is what a few long histories come to.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from turnout.errors import BackendError

from turnout_ecs.options import Address
from turnout_ecs.router import Router
from turnout_ecs.scripts import Script

__all__ = ["Connection"]

Word = str | bytes | int | float
Heard = Callable[[bytes], None]


class Connection:
    """Safe to use from several threads, each with its event loop. Connects at the first call."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._routers: WeakKeyDictionary[asyncio.AbstractEventLoop, Router] = WeakKeyDictionary()
        self._listeners: WeakKeyDictionary[asyncio.AbstractEventLoop, Router] = WeakKeyDictionary()
        self._closed = False

    def call(self, *words: Word, safe: bool = False, patience_s: float | None = None) -> asyncio.Future[Any]:
        """Send a command whose second word is its key. `safe`: send it again if the connection is lost. `patience_s` is
        how long it may wait for a connection, where that is not the time-out."""
        return self._router().call(words, words[1] if len(words) > 1 else b"", safe=safe, patience_s=patience_s)

    def run(
        self,
        script: Script,
        keys: Sequence[bytes],
        args: Sequence[Word] = (),
        *,
        patience_s: float | None = None,
    ) -> asyncio.Future[Any]:
        """Run a script; all `keys` must be of one slot. `patience_s` as for `call`."""
        return self._router().run(script, keys, args, patience_s=patience_s)

    def everywhere(self, *words: Word) -> Sequence[asyncio.Future[Any]]:
        """Send a command without a key to every server that has keys."""
        return self._router().everywhere(words)

    async def ready(self) -> Mapping[bytes, Any]:
        """What the server says of itself (`HELLO`), once there is a connection; `BackendError` if there can be none."""
        return await self._router().ready()

    async def listen(self, key: bytes, channel: bytes, heard: Heard) -> None:
        """Call `heard` with each message published on the channel at the server that has the key, from now on, or as soon
        as the server can be reached: messages sent while it could not are not made up for."""
        await self._router(self._listeners).listen(key, channel, heard)

    def on_loss(self, lost: Callable[[], None]) -> None:
        """Call `lost` each time a connection of this event loop ends or cannot be made."""
        self._router().on_loss.append(lost)

    async def aclose(self) -> None:
        """Close it for all event loops. Idempotent."""
        self._closed = True
        for routers in (self._listeners, self._routers):
            for loop, router in list(routers.items()):
                if loop is asyncio.get_running_loop():
                    router.close()
                elif not loop.is_closed():
                    loop.call_soon_threadsafe(router.close)
            routers.clear()
        await asyncio.sleep(0)  # the transports' ends are told in the next turn

    def _router(self, routers: WeakKeyDictionary[asyncio.AbstractEventLoop, Router] | None = None) -> Router:
        loop = asyncio.get_running_loop()
        routers = self._routers if routers is None else routers
        router = routers.get(loop)
        if router is None:
            if self._closed:
                raise BackendError(f"the connection to Redis at {self.address} is closed")
            router = routers[loop] = Router(self.address, loop)
        return router
