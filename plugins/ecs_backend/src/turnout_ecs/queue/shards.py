"""The shards of a queue: each has its keys under one hash tag, so one server of a cluster, and some of the tenants."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Any, TypeVar
from weakref import WeakSet
from zlib import crc32

from turnout.interfaces.clock import Clock, SystemClock
from turnout.model.tenancy import Policies, TenantPolicy

from turnout_ecs.connection import Connection
from turnout_ecs.scripts import load

__all__ = ["Settings", "Shard", "Shards", "pages"]

T = TypeVar("T")
Word = str | bytes | int | float

_KEYS = load("queue/put.lua").keys


class Shard:
    """Runs the scripts of the queue on its keys, with the time and the settings that all of them take."""

    def __init__(self, connection: Connection, tag: str, settings: Settings) -> None:
        self.tag = tag
        self.keys = tuple(f"{tag}:{name}".encode() for name in _KEYS)
        self.idle_key = self.keys[_KEYS.index("idle")]
        self.policies_key = self.keys[_KEYS.index("policies")]
        self.counts_key = self.keys[_KEYS.index("counts")]
        self._connection = connection
        self._settings = settings

    def run(self, name: str, *args: Word) -> asyncio.Future[Any]:
        """Send the script `queue/<name>.lua` on its way."""
        settings = self._settings
        settings.made_known_by(self._connection)
        return self._connection.run(
            load(f"queue/{name}.lua"),
            self.keys,
            (settings.now(), settings.lease_s, settings.max_attempts, settings.policed, *args),
        )


class Settings:
    """What the scripts are told with each call, and the policies, which the servers remember."""

    def __init__(self, *, clock: Clock | None, lease_s: float, max_attempts: int, policies: Policies) -> None:
        self.lease_s = repr(float(lease_s))
        self.max_attempts = max_attempts
        self.policies = policies
        self.policed = "" if policies == Policies() else "1"
        self.shards: list[Shard] = []
        self._clock = None if clock is None or isinstance(clock, SystemClock) else clock
        self._loops: WeakSet[asyncio.AbstractEventLoop] = WeakSet()
        self._known = False

    def now(self) -> str:
        """The time of a test's clock; empty: the scripts take the server's, so that no worker's clock matters."""
        return "" if self._clock is None else repr(self._clock.now())

    def made_known_by(self, connection: Connection) -> None:
        """Send them ahead, once: a server that was started anew may have forgotten them."""
        loop = asyncio.get_running_loop()
        if loop not in self._loops:
            self._loops.add(loop)
            connection.on_loss(self._forget)
        if not self._known:
            self._known = True
            for shard in self.shards:
                self.configure(shard).add_done_callback(self._look)

    def configure(self, shard: Shard) -> asyncio.Future[Any]:
        default = TenantPolicy()
        known = {f"{len(name.encode())}:{name}": policy for name, policy in self.policies.tenants.items()}
        words = ["*", _policy(self.policies.default)]
        for name, policy in sorted(known.items()):
            if policy != self.policies.default or policy != default:
                words += [name, _policy(policy)]
        digest = hashlib.sha256("\0".join(words).encode()).hexdigest()
        return shard.run("configure", digest, len(self.shards), *words)

    def _look(self, done: asyncio.Future[Any]) -> None:
        if done.cancelled() or done.exception() is not None:
            self._known = False

    def _forget(self) -> None:
        self._known = False


class Shards:
    """All of them."""

    def __init__(self, connection: Connection, prefix: str, number: int, settings: Settings) -> None:
        tags = [f"{{{prefix}:queue:{n}}}" for n in range(number)]
        self.all = settings.shards = [Shard(connection, tag, settings) for tag in tags]

    def of(self, tenant: str) -> Shard:
        """Its shard; always the same for as many shards."""
        return self.all[crc32(tenant.encode()) % len(self.all)] if len(self.all) > 1 else self.all[0]

    async def ask(self, name: str, *args: Word) -> list[Any]:
        """The replies of all shards."""
        return await asyncio.gather(*(shard.run(name, *args) for shard in self.all))

    async def any(self, name: str, *args: Word) -> bool:
        """Whether a shard did it: for messages of which only the id is known."""
        return any(await self.ask(name, *args))


def pages(items: Sequence[T], size: int) -> list[Sequence[T]]:
    """The items in pieces of that size, the last one shorter."""
    return [items[start : start + size] for start in range(0, len(items), size)]


def _policy(policy: TenantPolicy) -> str:
    return f"{policy.weight} {'' if policy.in_flight is None else policy.in_flight}"
