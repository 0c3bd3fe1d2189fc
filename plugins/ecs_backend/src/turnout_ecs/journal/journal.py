"""The journal in Redis.

All rows of all executions stand in one stream, whose ids are their positions; each execution has a list of its positions
and a hash with its fence. Positions count through the whole journal, so all its keys have one hash tag and one node of a
cluster carries the journal, however many shards the queue has.

`append` sends and returns; `barrier` costs one round trip, and none of its own when it directly follows an append. Nothing
here changes anything twice when it is sent twice, so a lost connection only delays: what was not acknowledged is sent again,
in order, for up to `patience_s`.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import secrets
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final, Self

from turnout.errors import BackendError, Fenced
from turnout.interfaces.journal import Journal, JournalEntry, Row
from turnout.interfaces.opening import Opening
from turnout.model.durability import Durability

from turnout_ecs.connection import Connection
from turnout_ecs.journal.keys import JournalKeys
from turnout_ecs.journal.parcels import pack, unpack
from turnout_ecs.journal.writers import Append, Writer
from turnout_ecs.scripts import load
from turnout_ecs.server import Server

__all__ = ["RedisJournal"]

_PATIENCE_S: Final = 30.0
"""How long the journal waits for a server that cannot be reached before it gives up."""

_UNACKNOWLEDGED_BYTES: Final = 32 * 1024 * 1024
"""Above this, `append` waits for the server, so that a slow one does not fill the memory."""

_ROWLESS_MS: Final = 24 * 3600 * 1000
"""How long the fence of an execution without rows is remembered: nobody works on nothing for longer."""

_RESENT_MS: Final = 600_000
"""How long it is remembered that a signal was written: longer than it is sent again."""

_PAGE: Final = 200
"""Rows that one script reads: a bound on how long it holds up the others."""

_SWEPT: Final = 200
"""Waste removed at once: the same bound."""

_WRITERS: Final = 10_000
"""Executions whose owners are remembered although nothing of theirs is under way; beyond, the one that was quiet for the
longest is forgotten."""

_TRIES: Final = 5


class RedisJournal(Journal):
    """Implements `Journal`. `durability` is what the server's settings come to. The connection belongs to the caller.

    `append` and `barrier` of one execution are for one event loop; everything else may be called from any.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        prefix: str = "turnout",
        durability: Durability = Durability.PROCESS,
        patience_s: float = _PATIENCE_S,
    ) -> None:
        self._connection = connection
        self._keys = JournalKeys(prefix)
        self._durability = durability
        self._patience_s = patience_s
        self._writers: OrderedDict[str, dict[int, Writer]] = OrderedDict()  # by execution, then by token
        self._unacknowledged_bytes = 0
        self._room = asyncio.Event()
        self._id = secrets.token_hex(6)
        self._numbers = itertools.count(1)

    @classmethod
    async def connect(cls, opening: Opening) -> Self:
        server = await Server.of(opening)
        return cls(server.connection, prefix=server.options.prefix, durability=server.facts.durability)

    @property
    def durability(self) -> Durability:
        return self._durability

    async def begin(self, execution: str, rows: Sequence[Row], *, unique_s: float = 0.0) -> bool:
        keys = (*self._keys.written(execution), self._keys.name(execution))
        args = (execution, self._new_id(), math.ceil(unique_s * 1000))
        return await self._write("begin", keys, args, rows) == b"written"

    async def remembered(self, executions: Sequence[str]) -> Sequence[str]:
        known = [(self._keys.name(id), self._keys.positions(id)) for id in executions]
        found = await asyncio.gather(*(self._call("EXISTS", *keys) for keys in known))
        return [id for id, count in zip(executions, found, strict=True) if count]

    async def open(self, execution: str, token: int) -> Sequence[Row]:
        for earlier in [known for known in self._writers.get(execution, ()) if known <= token]:
            self._let_go(execution, earlier)
        writer = self._writer(execution, token, opened=True)
        keys = (self._keys.rows, self._keys.positions(execution), self._keys.owner(execution))
        reply = await self._run("open", keys, (token, writer.id, _PAGE, _ROWLESS_MS))
        if reply[0] == b"fenced":
            self._let_go(execution, token)
            raise Fenced(execution, token=token, current=int(reply[1]))
        return await self._all_rows(execution, *reply[1:])

    async def append(self, execution: str, token: int, rows: Sequence[Row]) -> None:
        if not rows:
            return
        writer = self._writer(execution, token)
        while self._unacknowledged_bytes > _UNACKNOWLEDGED_BYTES:
            writer.check()
            self._room.clear()
            await self._room.wait()
        writer.append(pack(self._keys, rows), ends=rows[-1].kind == "ended")

    async def barrier(self, execution: str, token: int) -> None:
        writer = self._writer(execution, token)
        if writer.fresh:
            # It leaves together with this: its reply says that all is written, and who the owner is then.
            await writer.settled()
        else:
            await asyncio.gather(writer.settled(), self._check_owner(writer))
        writer.check()
        if writer.ended and writer.idle:
            self._let_go(execution, token)

    async def fence(self, execution: str, token: int) -> None:
        await self._run("fence", (self._keys.positions(execution), self._keys.owner(execution)), (token, _ROWLESS_MS))

    async def signal(self, execution: str, row: Row) -> bool:
        keys = (*self._keys.written(execution), self._keys.sent(self._new_id()))
        return await self._write("signal", keys, (execution, _RESENT_MS), [row]) == b"written"

    async def rows(self, execution: str) -> Sequence[Row]:
        return await self._all_rows(execution, *await self._page(execution, 0))

    async def entries(self, *, after: int, limit: int) -> Sequence[JournalEntry]:
        found = await self._call("XRANGE", self._keys.rows, after + 1, "+", "COUNT", limit)
        rows = await self._unpack([fields for _, fields in found])
        return [
            JournalEntry(position=int(id_.partition(b"-")[0]), execution=row[0], row=row[1])
            for (id_, _), row in zip(found, rows, strict=True)
            if row is not None
        ]

    async def unfinished(self) -> Sequence[str]:
        found = await self._call("ZRANGE", self._keys.unfinished, 0, -1)
        return [execution.decode() for execution in found]

    async def forget(self, executions: Sequence[str], *, through: int | None = None) -> None:
        waste = 0
        for start in range(0, len(executions), _PAGE):
            forgetting = (self._forget(execution, through) for execution in executions[start : start + _PAGE])
            waste = max(await asyncio.gather(*forgetting), default=0)
        while waste:
            waste = await self._sweep()

    async def close(self) -> None:
        """As promised; the connection stays open, it belongs to the caller."""
        writers = [writer for owners in self._writers.values() for writer in owners.values()]
        await asyncio.gather(*(writer.settled() for writer in writers))

    def _writer(self, execution: str, token: int, *, opened: bool = False) -> Writer:
        """The owner's writer, made if there is none: one of long ago, or of another process, goes on without opening."""
        owners = self._writers.setdefault(execution, {})
        self._writers.move_to_end(execution)
        if token not in owners:
            owners[token] = Writer(
                execution,
                token,
                id_=self._new_id(),
                opened=opened,
                send=self._send,
                outstanding=self._count,
            )
            quiet = next(iter(self._writers))
            if len(self._writers) > _WRITERS and all(writer.idle for writer in self._writers[quiet].values()):
                del self._writers[quiet]
        return owners[token]

    def _let_go(self, execution: str, token: int) -> None:
        """Of an owner that writes no more."""
        owners = self._writers.get(execution, {})
        owners.pop(token, None)
        if not owners:
            self._writers.pop(execution, None)

    def _send(self, writer: Writer, append: Append) -> asyncio.Future[Any]:
        keys = self._keys.written(writer.execution)
        args = (writer.execution, writer.token, writer.id, append.number, int(writer.opened))
        return append.parcel.run(self._connection, load("journal/append.lua"), keys, args, patience_s=self._patience_s)

    def _count(self, more_bytes: int) -> None:
        self._unacknowledged_bytes += more_bytes
        if self._unacknowledged_bytes <= _UNACKNOWLEDGED_BYTES:
            self._room.set()

    async def _check_owner(self, writer: Writer) -> None:
        """Raise if the writer may write no more."""
        key = self._keys.owner(writer.execution)
        fence, number = await self._call("HMGET", key, "fence", f"n:{writer.id}")
        error = None
        if fence is None:
            error = writer.refuse([b"forgotten"])
        elif int(fence) > writer.token:
            error = writer.refuse([b"fenced", fence])
        elif number is None and writer.opened:
            error = writer.refuse([b"superseded"])
        if error is not None:
            raise error

    async def _write(self, script: str, keys: Sequence[bytes], args: Sequence[str | int], rows: Sequence[Row]) -> bytes:
        """Run a script that writes rows, until it has found the separate bodies that are sent with it."""
        parcel = pack(self._keys, rows)
        for _ in range(_TRIES):
            reply: bytes = await parcel.run(
                self._connection, load(f"journal/{script}.lua"), keys, args, patience_s=self._patience_s
            )
            if reply != b"expired":
                return reply
        raise BackendError(f"execution {args[0]}: its content above 16 KB could not be stored; nothing was written")

    async def _page(self, execution: str, skipped: int) -> tuple[int, list[Any]]:
        """How many rows it has, and the fields of some of them."""
        count, found = await self._run("rows", (self._keys.rows, self._keys.positions(execution)), (skipped, _PAGE))
        return count, found

    async def _all_rows(self, execution: str, count: int, found: list[Any]) -> Sequence[Row]:
        """The rest of the rows after those `found` first; what it is if they are forgotten meanwhile."""
        for _ in range(_TRIES):
            while len(found) < count:
                now, more = await self._page(execution, len(found))
                if now < count:
                    break
                found += more
            else:
                rows = [known[1] for known in await self._unpack(found) if known is not None]
                if len(rows) == len(found):
                    return rows
            count, found = await self._page(execution, 0)
        raise BackendError(f"execution {execution}: a value that one of its rows names is not there")

    async def _unpack(self, found: Sequence[Any]) -> list[tuple[str, Row] | None]:
        return await unpack(self._connection, self._keys, found, patience_s=self._patience_s)

    async def _forget(self, execution: str, through: int | None) -> int:
        keys = self._keys
        own = (keys.positions(execution), keys.owner(execution))
        args = (execution, "" if through is None else through)
        waste: int = await self._run("forget", (keys.rows, keys.unfinished, *own, keys.waste), args)
        return waste

    async def _sweep(self) -> int:
        """Remove some of what was forgotten. Any process may do so, and one that follows a crash goes on."""
        entries = await self._call("LRANGE", self._keys.waste, 0, _SWEPT - 1)
        if not entries:
            return 0
        bodies = [self._keys.body(entry.split()[1].decode()) for entry in entries if b" " in entry]
        left: int = await self._run("sweep", (self._keys.rows, self._keys.waste, *bodies), entries)
        return left

    def _new_id(self) -> str:
        return f"{self._id}-{next(self._numbers)}"

    async def _run(self, script: str, keys: Sequence[bytes], args: Sequence[str | bytes | int]) -> Any:
        return await self._connection.run(load(f"journal/{script}.lua"), keys, args, patience_s=self._patience_s)

    async def _call(self, *words: str | bytes | int) -> Any:
        return await self._connection.call(*words, safe=True, patience_s=self._patience_s)
