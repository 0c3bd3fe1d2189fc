"""The queue on SQS. SQS says that there is something to do, and to whom it says so first; what there is to do, and who does
it, is in the ledger, which is in the project's catalog.

The ledger is written first, then SQS is told. A process that dies in between leaves a record of which no hint is on its
way: `reap` finds it by its time, and tells SQS again. A hint that is good for nothing is deleted by whoever receives it.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import ClassVar, Final, Self

from turnout.errors import BackendError, Overloaded, Unsupported
from turnout.interfaces.catalog import CatalogStore
from turnout.interfaces.clock import Clock, SystemClock
from turnout.interfaces.opening import Opening
from turnout.interfaces.permission import Permission
from turnout.interfaces.queue import (
    DeadMessage,
    Lease,
    LeaseState,
    Message,
    Queue,
    QueueCapability,
    QueueStats,
)
from turnout.model.durability import Durability
from turnout.model.tenancy import Policies

from turnout_lambda.clients import make_client
from turnout_lambda.sqs_hints import BATCH, Hint, Hints, Received
from turnout_lambda.sqs_ledger import Ledger, Record, State, new_ticket
from turnout_lambda.sqs_options import SqsOptions, queue_url

__all__ = ["SqsQueue"]

_SOON_S: Final = 5.0
"""What is due so soon is hidden until then; anything later is sent anew, for SQS hides few messages at a time."""
_SILENT_S: Final = 60.0
"""After so long nothing is on its way any more to somebody who waits, if SQS has nothing to give."""
_SILENT_IN_A_CROWD_S: Final = 3600.0
"""The same while it has: the hint may be among the others."""
_RESENT: Final = 200
_ACTIONS: Final = (
    "sqs:ChangeMessageVisibility",
    "sqs:DeleteMessage",
    "sqs:GetQueueAttributes",
    "sqs:GetQueueUrl",
    "sqs:ReceiveMessage",
    "sqs:SendMessage",
)


class SqsQueue(Queue):
    """Implements `Queue` by one standard queue of SQS and a catalog. Safe for any number of processes.

    Delays and leases are in whole seconds in SQS, and exact in the ledger: nothing is early.
    """

    capabilities: ClassVar[frozenset[QueueCapability]] = frozenset({QueueCapability.CLAIM})

    def __init__(
        self,
        hints: Hints,
        catalog: CatalogStore,
        *,
        name: str,
        clock: Clock | None = None,
        lease_s: float = 30.0,
        max_attempts: int = 5,
        policies: Policies | None = None,
    ) -> None:
        """`name` tells the records of several queues in one catalog apart."""
        self._hints = hints
        self._catalog = catalog
        self._policies = policies or Policies()
        self._ledger = Ledger(catalog, name=name, capped=lambda tenant: self._policies.of(tenant).capacity is not None)
        self._name = name
        self._clock = clock or SystemClock()
        self._lease_s = lease_s
        self._max_attempts = max_attempts

    @classmethod
    def permissions(cls, opening: Opening) -> Sequence[Permission]:
        return (Permission(actions=_ACTIONS, resources=(opening.read(SqsOptions).arn,)),)

    @classmethod
    async def connect(cls, opening: Opening) -> Self:
        options = opening.read(SqsOptions)
        setting = f"backends.{opening.name}"
        client = make_client("sqs", options, setting=setting)
        url = await queue_url(client, options, setting=f"{setting}.queue")
        return cls(
            Hints(client, url, opening.clock),
            await opening.catalog(),
            name=url.rpartition("/")[2],
            clock=opening.clock,
            lease_s=opening.lease_s,
            max_attempts=opening.max_attempts,
            policies=opening.policies,
        )

    @property
    def durability(self) -> Durability:
        return self._catalog.durability

    def describe(self) -> str:
        return f"SQS, queue {self._name}: it keeps neither limits, priorities nor turns of customers"

    async def put(self, message: Message, *, delay_s: float = 0.0, capped: bool = False) -> bool:
        if message.concurrency or message.rates or message.order or message.debounce:
            raise Unsupported(type(self).__name__, QueueCapability.LIMITS)
        if capped and await self.room(message.tenant) == 0:
            raise Overloaded(f"as many messages of tenant {message.tenant!r} wait as may wait: try again later")
        now = self._clock.now()
        blank = Record(id=message.id, tenant=message.tenant, priority=message.priority)
        record = blank.waiting(now + max(delay_s, 0.0), now)
        if not await self._ledger.write(None, record, 0):
            return False
        try:
            await self._tell(record)
        except BackendError:
            # Who is told that it failed must not find later that it did not.
            await self._ledger.change(record.id, lambda there, _: None if there.ticket == record.ticket else there)
            raise
        return True

    async def room(self, tenant: str) -> int | None:
        capacity = self._policies.of(tenant).capacity
        return None if capacity is None else capacity - await self._ledger.waiting(tenant, capacity)

    async def missing(self, ids: Sequence[str]) -> Sequence[str]:
        return [id for id in ids if (await self._ledger.find(id))[0] is None]

    async def take(self, worker: str, *, wait_s: float) -> Lease | None:
        leases = await self.take_many(worker, limit=1, wait_s=wait_s)
        return leases[0] if leases else None

    async def take_many(self, worker: str, *, limit: int, wait_s: float) -> Sequence[Lease]:
        deadline = self._clock.now() + wait_s
        while limit > 0:
            left = max(deadline - self._clock.now(), 0.0)
            messages = await self._hints.receive(limit=min(limit, BATCH), wait_s=left, hidden_s=self._lease_s)
            if leases := await self._accept_all(worker, messages):
                return leases
            if (not messages and left < 1.0) or self._hints.closed:
                break
        return []

    async def accept(self, worker: str, messages: Sequence[Received]) -> Sequence[Lease]:
        """Lease what these hints are about, as far as there is something to do now; the others are put off or deleted."""
        ours = [(message.receipt, message.hint) for message in messages if message.hint is not None]
        found = [await self._accept_one(worker, receipt, hint) for receipt, hint in ours]
        return [lease for lease in found if lease is not None]

    async def _accept_all(self, worker: str, messages: Sequence[Received]) -> Sequence[Lease]:
        """As `accept`. A taker that is cancelled meanwhile does not keep what was leased."""
        accepting = asyncio.ensure_future(self.accept(worker, messages))
        try:
            return await asyncio.shield(accepting)
        except asyncio.CancelledError:
            for lease in await accepting:
                await self.decline(lease)
            raise

    async def claim(self, worker: str, id: str) -> Lease | None:
        changed = await self._ledger.change(id, self._leasing(worker, due=False))
        return None if changed is None else _after(changed).lease

    async def extend(self, leases: Sequence[Lease]) -> Sequence[LeaseState]:
        states, hidden = [], []
        expires_at = self._clock.now() + self._lease_s
        for lease in leases:
            changed = await self._of(lease, lambda record, _: replace(record, at=expires_at))
            if changed is None:
                states.append(LeaseState.LOST)
                continue
            record = _after(changed)
            states.append(LeaseState.CANCELLED if record.cancelled else LeaseState.HELD)
            if record.receipt:
                hidden.append((record.receipt, self._lease_s))
        await self._hints.hide(hidden)
        return states

    async def complete(self, lease: Lease) -> bool:
        changed = await self._of(lease, lambda record, _: None)
        if changed is None:
            return False
        await self._forget(changed[0])
        return True

    async def release(self, lease: Lease, *, delay_s: float | None = 0.0) -> bool:
        def change(record: Record, now: float) -> Record:
            at = math.inf if delay_s is None else now + max(delay_s, 0.0)
            return replace(record, attempts=0).waiting(now if record.woken or record.cancelled else at, now)

        return await self._give_back(lease, change)

    async def decline(self, lease: Lease, *, delay_s: float = 0.0) -> bool:
        def change(record: Record, now: float) -> Record:
            at = now if record.woken or record.cancelled else now + max(delay_s, 0.0)
            return replace(record, attempts=record.attempts - 1).waiting(at, now)

        return await self._give_back(lease, change)

    async def fail(self, lease: Lease, *, reason: str, delay_s: float = 0.0) -> bool:
        def change(record: Record, now: float) -> Record:
            if record.attempts >= self._max_attempts:
                return _buried(record, reason, now)
            return record.waiting(now + (0.0 if record.cancelled else max(delay_s, 0.0)), now)

        return await self._give_back(lease, change)

    async def wake(self, id: str) -> bool:
        return await self._nudge(id, cancel=False)

    async def cancel(self, id: str) -> bool:
        return await self._nudge(id, cancel=True)

    async def reap(self, *, workers: Collection[str] = ()) -> Sequence[Lease]:
        now, lost = self._clock.now(), frozenset(workers)
        ids = dict.fromkeys(await self._ledger.expired(now))
        if lost:
            ids |= {id: None async for id, worker in self._ledger.holders() if worker in lost}
        ended, waiting = [], []
        for id in ids:
            changed = await self._ledger.change(id, self._ending(now, lost))
            if changed is None:
                continue
            old, new = changed[0], _after(changed)
            ended.append(replace(old, token=new.token).lease)
            if new.state is State.WAITING:
                waiting.append(new)
        await self._tell(*waiting)
        await self._tell_again(now)
        return ended

    async def workers(self) -> Sequence[str]:
        return list(dict.fromkeys([worker async for _, worker in self._ledger.holders()]))

    async def stats(self) -> QueueStats:
        """Exact, and as long as there are messages to count: it reads the ledger."""
        now = self._clock.now()
        states: Counter[State] = Counter()
        tenants: Counter[str] = Counter()
        oldest = now
        async for record in self._ledger.all():
            states[record.state] += 1
            if record.state is State.WAITING and record.at <= now:
                tenants[record.tenant] += 1
                oldest = min(oldest, record.at)
        ready = tenants.total()
        return QueueStats(
            ready=ready,
            delayed=states[State.WAITING] - ready,
            leased=states[State.LEASED],
            dead=states[State.DEAD],
            oldest_ready_s=now - oldest,
            tenants=dict(tenants),
        )

    async def dead(self, *, limit: int = 100) -> Sequence[DeadMessage]:
        return await self._ledger.dead(limit)

    async def revive(self, id: str) -> bool:
        now = self._clock.now()

        def change(record: Record, _: int) -> Record:
            return replace(record, attempts=0, reason="").waiting(now, now) if record.state is State.DEAD else record

        changed = await self._ledger.change(id, change)
        if changed is None:
            return False
        await self._tell(_after(changed))
        return True

    async def drop(self, id: str) -> bool:
        changed = await self._ledger.change(id, lambda record, _: None)
        if changed is None:
            return False
        await self._forget(changed[0])
        return True

    async def close(self) -> None:
        """As promised; the catalog stays open, it belongs to the caller."""
        self._hints.close()

    async def _accept_one(self, worker: str, receipt: str, hint: Hint) -> Lease | None:
        """Lease what a hint is about; if that cannot be now, put it off until it can, and delete it if it never can."""
        now = self._clock.now()
        changed = await self._ledger.change(hint.id, self._leasing(worker, receipt=receipt))
        if changed is not None:
            return _after(changed).lease
        record, _ = await self._ledger.find(hint.id)
        if record is None or record.ticket != hint.ticket or record.state is State.DEAD or math.isinf(record.at):
            await self._hints.delete([receipt])
        elif record.state is State.WAITING and record.at > now + _SOON_S:
            await self._tell(record)
            await self._hints.delete([receipt])
        else:
            # One that expired on its last attempt is left to `reap`.
            await self._hints.hide([(receipt, record.at - now if record.at > now else self._lease_s)])
        return None

    def _leasing(self, worker: str, *, due: bool = True, receipt: str = "") -> Callable[[Record, int], Record]:
        def change(record: Record, revision: int) -> Record:
            now = self._clock.now()
            waits = record.state is State.WAITING and (record.at <= now or not due)
            ended = record.state is State.LEASED and record.at <= now and record.attempts < self._max_attempts
            if not waits and not ended:
                return record
            return replace(
                record,
                state=State.LEASED,
                at=now + self._lease_s,
                token=_raised(record, revision, now),
                attempts=record.attempts + 1,
                worker=worker,
                receipt=receipt,
                woken=False,
            )

        return change

    def _ending(self, now: float, lost: frozenset[str]) -> Callable[[Record, int], Record]:
        def change(record: Record, revision: int) -> Record:
            if record.state is not State.LEASED or (record.at > now and record.worker not in lost):
                return record
            raised = replace(record, token=_raised(record, revision, now))
            if record.attempts >= self._max_attempts:
                reason = f"its worker was lost {record.attempts} times, the last was {record.worker}"
                return _buried(raised, reason, now)
            return raised.waiting(min(record.at, now), now)

        return change

    async def _of(
        self, lease: Lease, change: Callable[[Record, float], Record | None]
    ) -> tuple[Record, Record | None] | None:
        """Change the record of a lease that is held; None if it is lost."""
        return await self._ledger.change(
            lease.message.id,
            lambda record, _: change(record, self._clock.now()) if record.held_by(lease) else record,
        )

    async def _give_back(self, lease: Lease, change: Callable[[Record, float], Record]) -> bool:
        changed = await self._of(lease, change)
        if changed is None:
            return False
        if (new := _after(changed)).state is State.WAITING:
            await self._tell(new)
        await self._forget(changed[0])
        return True

    async def _nudge(self, id: str, *, cancel: bool) -> bool:
        now = self._clock.now()

        def change(record: Record, _: int) -> Record:
            nudged = replace(record, woken=True, cancelled=record.cancelled or cancel)
            return nudged.waiting(now, now) if record.state is State.WAITING and record.at > now else nudged

        changed = await self._ledger.change(id, change)
        if changed is None:
            return False
        if changed[0].ticket != (new := _after(changed)).ticket:
            await self._tell(new)
        return True

    async def _tell(self, *records: Record) -> None:
        """Let SQS tell somebody of what waits, when it is due."""
        now = self._clock.now()
        await self._hints.send(
            [
                Hint(id=one.id, tenant=one.tenant, ticket=one.ticket, delay_s=max(one.at - now, 0.0))
                for one in records
                if not math.isinf(one.at)
            ]
        )

    async def _tell_again(self, now: float) -> None:
        """Of what should have been taken long ago: its hint was never sent, or SQS has dropped it."""
        silent = await self._ledger.overdue(now - _SILENT_S, limit=_RESENT)
        if not silent:
            return
        if await self._hints.visible():
            silent = [record for record in silent if max(record.at, record.hinted_at) <= now - _SILENT_IN_A_CROWD_S]

        def change(record: Record, _: int) -> Record:
            waits = record.state is State.WAITING and (record.id, record.ticket) in tickets
            return replace(record, ticket=new_ticket(), hinted_at=now) if waits else record

        tickets = {(record.id, record.ticket) for record in silent}
        changes = [await self._ledger.change(record.id, change) for record in silent]
        await self._tell(*[_after(changed) for changed in changes if changed is not None])

    async def _forget(self, record: Record) -> None:
        """Delete the hint by which a lease came to be."""
        if record.receipt:
            await self._hints.delete([record.receipt])


def _raised(record: Record, revision: int, now: float) -> int:
    """A token above all before. The clock keeps it rising where a message was put again after the catalog had forgotten it,
    the revision where the clock stands still."""
    return max(record.token, int(now * 1000)) + revision


def _buried(record: Record, reason: str, now: float) -> Record:
    return replace(record, state=State.DEAD, at=now, reason=reason)


def _after(changed: tuple[Record, Record | None]) -> Record:
    new = changed[1]
    assert new is not None
    return new
