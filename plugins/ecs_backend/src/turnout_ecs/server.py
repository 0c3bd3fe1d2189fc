"""The server that the queue, the journal and the state of one project share: connected once, checked once."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from turnout.errors import BackendError
from turnout.interfaces.opening import Opening
from turnout.model.durability import Durability

from turnout_ecs.connection import Connection
from turnout_ecs.options import Address, RedisOptions

__all__ = ["Facts", "Server"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the server's real settings are, over all masters of a cluster the weakest. `appendfsync` and `snapshots` are
    None if this user may not ask (`CONFIG GET`; ElastiCache never allows it)."""

    version: str
    clustered: bool
    masters: int
    appendonly: bool
    appendfsync: str | None
    snapshots: bool | None
    max_bytes: int
    eviction: str

    @property
    def durability(self) -> Durability:
        """`host` if every write is on the server's disk before it is answered, `process` otherwise."""
        return Durability.HOST if self.appendonly and self.appendfsync == "always" else Durability.PROCESS

    def describe(self) -> str:
        """What the server is, and what is lost if it dies."""
        if self.durability is Durability.HOST:
            loses = "AOF with fsync always: what was answered survives the loss of its power"
        elif self.appendonly and self.appendfsync == "no":
            loses = "AOF without fsync: its host's crash can lose half a minute"
        elif self.appendonly:
            asked = "everysec" if self.appendfsync else "settings unknown"
            loses = f"AOF, fsync {asked}: its host's crash can lose up to a second"
        elif self.snapshots:
            loses = "snapshots only: its restart after a crash loses everything since the last; set appendonly yes"
        elif self.snapshots is None:
            loses = "no AOF: its restart loses what was not in a snapshot or on a replica; set appendonly yes"
        else:
            loses = "neither AOF nor snapshots: its restart loses everything; set appendonly yes"
        kind = f"Redis {self.version}" + (f", a cluster of {self.masters}" if self.clustered else "")
        memory = "" if self.max_bytes else "; maxmemory is not set"
        return f"{kind} ({loses}{memory})"


class Server:
    """`connection`, `options` and, once it is ready, `facts`."""

    def __init__(self, name: str = "redis") -> None:
        self._name = name
        self._opening: asyncio.Task[None] | None = None
        self._connection: Connection | None = None
        self._options: RedisOptions | None = None
        self._facts: Facts | None = None

    @classmethod
    async def of(cls, opening: Opening) -> Self:
        """The server of this opening, checked; the same for everybody who shares it. `SettingsError` as `Address.of`,
        `BackendError` if it cannot be reached, is older than 6.2 or may evict keys."""
        name = opening.name or "redis"
        server = opening.shared.get(f"backends.{name}", lambda: cls(name))
        if server._opening is None or (server._opening.done() and server._opening.exception() is not None):
            server._opening = asyncio.ensure_future(server._open(opening))
        await asyncio.shield(server._opening)
        return server

    @property
    def connection(self) -> Connection:
        assert self._connection is not None, "opened by `of`"
        return self._connection

    @property
    def options(self) -> RedisOptions:
        assert self._options is not None, "opened by `of`"
        return self._options

    @property
    def facts(self) -> Facts:
        assert self._facts is not None, "opened by `of`"
        return self._facts

    async def aclose(self) -> None:
        if self._connection is not None:
            await self._connection.aclose()

    async def _open(self, opening: Opening) -> None:
        options = opening.read(RedisOptions)
        connection = Connection(await Address.of(options, opening.secret, name=self._name))
        try:
            self._facts = await learn(connection)
        except BaseException:
            await connection.aclose()
            raise
        self._options, self._connection = options, connection


async def learn(connection: Connection) -> Facts:
    """Ask all masters for what matters here, and refuse what would lose work."""
    hello = await connection.ready()
    clustered = hello[b"mode"] == b"cluster"
    infos = [_fields(reply) for reply in await asyncio.gather(*connection.everywhere("INFO"))]
    if any(info.get("aof_enabled") is None for info in infos):
        raise BackendError(f"Redis at {connection.address} does not answer INFO; allow it to this user (+info)")
    for info in infos:
        _refuse_eviction(info, connection)
    fsyncs = await _config(connection, "appendfsync")
    saves = await _config(connection, "save")
    return Facts(
        version=hello[b"version"].decode(),
        clustered=clustered,
        masters=len(infos),
        appendonly=all(info["aof_enabled"] == "1" for info in infos),
        appendfsync=None if fsyncs is None else min(fsyncs, key=("no", "everysec", "always").index),
        snapshots=None if saves is None else all(saves),
        max_bytes=min(int(info.get("maxmemory", "0")) for info in infos),
        eviction=infos[0].get("maxmemory_policy", "unknown"),
    )


def _refuse_eviction(info: Mapping[str, str], connection: Connection) -> None:
    policy = info.get("maxmemory_policy", "noeviction")
    if int(info.get("maxmemory", "0")) and policy != "noeviction":
        raise BackendError(
            f"Redis at {connection.address} has maxmemory-policy {policy}: when it is full it would delete queued work "
            f"without a word; set maxmemory-policy to noeviction (on ElastiCache: in its parameter group)"
        )


async def _config(connection: Connection, name: str) -> list[str] | None:
    try:
        replies: list[Any] = await asyncio.gather(*connection.everywhere("CONFIG", "GET", name))
    except BackendError:
        return None  # the user may not ask
    values: list[Any] = [next(iter(reply.values()), None) for reply in replies]
    return None if None in values else [value.decode() for value in values]


def _fields(reply: Any) -> Mapping[str, str]:
    text = reply.decode() if isinstance(reply, bytes) else str(reply)
    return dict(re.findall(r"^(\w+):(.*?)\r?$", text, re.MULTILINE))
