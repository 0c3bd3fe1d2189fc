"""What SQS cannot tell of its messages, kept in the catalog: which there are, who has leased which, how often each was tried,
who died. A record is found by its id; three indices, written with it or not at all, find the leased, the dead and, of
customers with a capacity, the waiting."""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Final

from turnout.errors import BackendError
from turnout.interfaces.catalog import Address, CatalogChange, CatalogEntry, CatalogStore
from turnout.interfaces.queue import DeadMessage, Lease, Message

__all__ = ["Ledger", "Record", "State", "new_ticket"]

_TRIES: Final = 50
"""Of a write that others come before, again and again."""
_PAGE: Final = 1000


class State(StrEnum):
    WAITING = "waiting"
    LEASED = "leased"
    DEAD = "dead"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """All that is known of a message. `at` is when it is due, its lease ends or it died (infinity: when it is woken).

    `ticket` is that of the newest hint in SQS, sent at `hinted_at`: older ones are not kept for later.
    `receipt` is the one by which SQS knows the hint that the lease came from: whoever renews or ends the lease, in whatever
    process, tells SQS with it. `counted` says that it is in the index of the waiting.
    """

    id: str
    tenant: str
    priority: int = 0
    state: State = State.WAITING
    at: float = 0.0
    ticket: str = ""
    hinted_at: float = 0.0
    token: int = 0
    attempts: int = 0
    worker: str = ""
    receipt: str = ""
    woken: bool = False
    cancelled: bool = False
    counted: bool = False
    reason: str = ""

    @property
    def message(self) -> Message:
        return Message(id=self.id, tenant=self.tenant, priority=self.priority)

    @property
    def lease(self) -> Lease:
        return Lease(
            message=self.message, worker=self.worker, token=self.token, attempt=self.attempts, expires_at=self.at
        )

    def held_by(self, lease: Lease) -> bool:
        return self.state is State.LEASED and self.token == lease.token

    def waiting(self, at: float, now: float) -> Record:
        """The same, due then, with a ticket of its own."""
        return replace(self, state=State.WAITING, at=at, ticket=new_ticket(), hinted_at=now, receipt="")


def new_ticket() -> str:
    return secrets.token_hex(8)


class Ledger:
    """The records of one queue. Every change is of what is there at that moment, or does not happen."""

    def __init__(self, catalog: CatalogStore, *, name: str, capped: Callable[[str], bool]) -> None:
        """`capped` says whether a tenant has a capacity, whose waiting are to be counted."""
        self._catalog = catalog
        self._capped = capped
        self._records = f"queue:{name}"
        self._leased = f"queue:{name}:leased"
        self._dead = f"queue:{name}:dead"
        self._waiting = f"queue:{name}:waiting"

    async def find(self, id: str) -> tuple[Record | None, int]:
        """A record, and the revision to change it by; (None, 0) if there is none."""
        entry = await self._catalog.get(Address(kind=self._records, name=id)) if id else None
        return (None, 0) if entry is None else (_decoded(entry), entry.revision)

    async def write(self, old: Record | None, new: Record | None, revision: int) -> bool:
        """Put `new` in the place of `old`, each None for none. False, and nothing changes, if somebody came before."""
        record = new or old
        assert record is not None
        if new is not None:
            new = replace(new, counted=new.state is State.WAITING and self._capped(new.tenant))
        changes = [
            CatalogChange(
                address=Address(kind=self._records, name=record.id),
                body=None if new is None else _encoded(new),
                due=None if new is None else _look_at(new),
                expected=revision,
            )
        ]
        before, after = self._indices(old), self._indices(new)
        changes += [CatalogChange(address=address, body=None) for address in before if address not in after]
        changes += [
            CatalogChange(address=address, body=body, due=due)
            for address, (body, due) in after.items()
            if before.get(address) != (body, due)
        ]
        try:
            return await self._catalog.write(*changes)
        except ValueError as error:
            raise BackendError(f"a message cannot be queued: {error}") from error

    async def change(
        self, id: str, change: Callable[[Record, int], Record | None]
    ) -> tuple[Record, Record | None] | None:
        """Change what is there, by its record and revision: the record before and after. None if there is none, or
        `change` gives back the same one, and nothing is written."""
        for _ in range(_TRIES):
            old, revision = await self.find(id)
            if old is None:
                return None
            new = change(old, revision)
            if new is old:
                return None
            if await self.write(old, new, revision):
                return old, new
        raise BackendError("a message of the queue is changed all the time: the catalog does not come to rest")

    async def expired(self, now: float) -> Sequence[str]:
        """The ids of leases that ended by themselves, the first to end first."""
        return [entry.address.name for entry in await self._catalog.due(self._leased, now)]

    async def holders(self) -> AsyncIterator[tuple[str, str]]:
        """Every id that is leased, and its worker."""
        async for entry in self._all(self._leased):
            yield entry.address.name, entry.body.decode()

    async def dead(self, limit: int) -> Sequence[DeadMessage]:
        """The newest first: they are due at the time of their death before the epoch."""
        letters = []
        for entry in await self._catalog.due(self._dead, 0.0, limit=limit):
            record, _ = await self.find(entry.address.name)
            if record is not None and record.state is State.DEAD:
                letters.append(
                    DeadMessage(
                        message=record.message, attempts=record.attempts, reason=record.reason, died_at=record.at
                    )
                )
        return letters

    async def waiting(self, tenant: str, limit: int) -> int:
        """How many of a capped tenant wait; counting ends at `limit`."""
        count, after = 0, ""
        while count < limit:
            page = await self._catalog.entries(
                self._waiting, tenant=tenant, after=after, limit=min(_PAGE, limit - count)
            )
            if not page:
                break
            count, after = count + len(page), page[-1].address.name
        return count

    async def overdue(self, before: float, *, limit: int) -> Sequence[Record]:
        """Those who wait, were due by then, and of whom nothing has been heard since."""
        return [_decoded(entry) for entry in await self._catalog.due(self._records, before, limit=limit)]

    async def all(self) -> AsyncIterator[Record]:
        async for entry in self._all(self._records):
            yield _decoded(entry)

    async def _all(self, kind: str) -> AsyncIterator[CatalogEntry]:
        after = ""
        while page := await self._catalog.entries(kind, tenant="", after=after, limit=_PAGE):
            for entry in page:
                yield entry
            after = page[-1].address.name

    def _indices(self, record: Record | None) -> dict[Address, tuple[bytes, float | None]]:
        if record is None:
            return {}
        if record.state is State.LEASED:
            return {Address(kind=self._leased, name=record.id): (record.worker.encode(), record.at)}
        if record.state is State.DEAD:
            return {Address(kind=self._dead, name=record.id): (b"", -record.at)}
        counted = Address(kind=self._waiting, tenant=record.tenant, name=record.id)
        return {counted: (b"", None)} if record.counted else {}


def _look_at(record: Record) -> float | None:
    """When a hint of it should have been heard of; what is leased or dead has an index of its own."""
    if record.state is not State.WAITING or math.isinf(record.at):
        return None
    return max(record.at, record.hinted_at)


def _encoded(record: Record) -> bytes:
    return json.dumps(asdict(record) | {"at": None if math.isinf(record.at) else record.at}).encode()


def _decoded(entry: CatalogEntry) -> Record:
    try:
        fields = json.loads(entry.body)
        at = math.inf if fields["at"] is None else fields["at"]
        return Record(**fields | {"state": State(fields["state"]), "at": at})
    except (ValueError, TypeError, KeyError) as error:
        message = f"the queue's record of {entry.address.name!r} in the catalog cannot be read: was it written by a newer Turnout?"
        raise BackendError(message) from error
