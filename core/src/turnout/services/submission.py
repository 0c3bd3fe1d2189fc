"""Accepting executions: persisted first, queued second, so that what was promised cannot be lost in between."""

from __future__ import annotations

from dataclasses import dataclass, replace

from turnout.codec import encode_event
from turnout.engine.backends import Backends
from turnout.engine.content import Content
from turnout.engine.history import History
from turnout.errors import NotFound, Overloaded
from turnout.interfaces.journal import Row
from turnout.interfaces.queue import Message, Queue
from turnout.model.definition import Integration
from turnout.model.events import Accepted, Event, Logged
from turnout.model.execution import ExecutionInfo
from turnout.model.limits import ExecutionLimits, FlowLimits
from turnout.model.trace import TraceContext
from turnout.services.ids import new_execution_id
from turnout.services.limits import Settled, common_id, settle
from turnout.values import Value

__all__ = ["Acceptance", "Instance", "Submission", "message_of"]

_UNIQUE_S = 86400.0
"""For how long an id that a sender gave its request is remembered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """A version of an integration deployed to a customer (`tenant`), with the digest of its settings."""

    name: str
    tenant: str
    integration: Integration
    bundle: str
    settings: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """The id of the execution; `duplicate` where it had been accepted before."""

    id: str
    duplicate: bool = False


def message_of(info: ExecutionInfo) -> Message:
    """What an execution is queued with, whoever queues it: always under the limits that it was accepted with."""
    limits = info.limits or ExecutionLimits()
    return Message(
        id=info.id,
        tenant=info.tenant,
        priority=limits.priority,
        concurrency=limits.concurrency,
        rates=limits.rates,
        order=limits.order,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """Accepts executions: writes them to the journal of `backends`, which observe it, and puts them into `queue`."""

    backends: Backends
    queue: Queue

    async def accept(
        self,
        instance: Instance,
        flow: str,
        trigger: Value,
        *,
        hold_s: float = 0.0,
        deduplication_id: str = "",
        deduplication_at: float | None = None,
        capped: bool = False,
        span: TraceContext | None = None,
    ) -> Acceptance:
        """Write and queue an execution. Once this returns nothing short of losing the store loses it.

        `trigger` is what expressions see as `trigger`. With `hold_s` no worker takes it before: the caller claims it
        itself, and it is neither debounced nor a duplicate. Those of a flow with the same `deduplication_id`, or the same
        value of the flow's `deduplicate`, are one execution; where the id stands for something that was to be at
        `deduplication_at`, also if clocks did not agree on when it was accepted. `Overloaded`, and nothing is written, if `capped` and the
        customer has as many waiting as it may. `span` is the sender's, of whose trace the execution becomes a part.
        """
        if flow not in instance.integration.flows:
            known = ", ".join(instance.integration.flows)
            raise NotFound("flow", flow, hint=f"integration {instance.integration.name!r} has {known}")
        if capped:
            await self.require_room(instance.tenant)
        now = self.backends.clock.now()
        definition = instance.integration.flows[flow]
        info = ExecutionInfo(
            id=new_execution_id(now),
            tenant=instance.tenant,
            instance=instance.name,
            integration=instance.integration.name,
            version=instance.integration.version,
            bundle=instance.bundle,
            flow=flow,
            settings=instance.settings,
            trigger=await Content(self.backends.payloads, instance.tenant).pack(trigger),
            created_at=now,
            deadline=None if definition.timeout_s is None else now + definition.timeout_s,
            traceparent="" if span is None else span.traceparent,
            tracestate="" if span is None else span.state,
        )
        settled = await settle(self.backends, info, definition.limits, trigger, by_hand=hold_s > 0)
        if deduplication_id and not settled.same:
            settled = replace(settled, same=f"id\0{deduplication_id}", unique_s=_UNIQUE_S)
            if deduplication_at is not None:
                return await self._begin_one(info, settled, replace(info, created_at=deduplication_at))
        return await self._begin(info, settled, hold_s=hold_s)

    async def _begin(self, info: ExecutionInfo, settled: Settled, *, hold_s: float) -> Acceptance:
        info = replace(info, limits=settled.limits)
        if settled.same:
            # The first may have come in the window before, or at a host whose clock is in the next one.
            before, id, after = (common_id(self.backends.key, info, settled, ahead=ahead) for ahead in (-1, 0, 1))
            for known in await self.backends.journal.remembered([before, after]):
                if not await self._is_past(known, info.created_at - settled.unique_s):
                    return await self._duplicate(known)
            info = replace(info, id=id)
        return await self._begin_as(info, settled, hold_s=hold_s)

    async def _begin_one(self, info: ExecutionInfo, settled: Settled, then: ExecutionInfo) -> Acceptance:
        """There is one window for it: that of the time that it stands for."""
        id = common_id(self.backends.key, then, settled)
        return await self._begin_as(replace(info, id=id, limits=settled.limits), settled, hold_s=0.0)

    async def _begin_as(self, info: ExecutionInfo, settled: Settled, *, hold_s: float) -> Acceptance:
        if not await self.write(info, _logged(settled, info.created_at), unique_s=settled.unique_s):
            return await self._duplicate(info.id)
        debounce = None if settled.limits is None else settled.limits.debounce
        await self.queue.put(replace(message_of(info), debounce=debounce), delay_s=hold_s)
        return Acceptance(id=info.id)

    async def _is_past(self, id: str, since: float) -> bool:
        """Whether it is known only because it has not ended: it was accepted at `since` or before."""
        info = History.of(await self.backends.journal.rows(id)).info
        return info is not None and info.created_at <= since

    async def _duplicate(self, id: str) -> Acceptance:
        """Queues it if whoever accepted it the first time died before that."""
        history = History.of(await self.backends.journal.rows(id))
        if history.info is not None and history.began_at is None and history.ended is None:
            await self.queue.put(message_of(history.info))
        return Acceptance(id=id, duplicate=True)

    async def again(self, info: ExecutionInfo, limits: FlowLimits, events: tuple[Event, ...] = ()) -> None:
        """Write and queue a new execution that a person made of an earlier one, under the `limits` of its flow. `Overloaded`
        as `accept` with `capped`."""
        await self.require_room(info.tenant)
        settled = await settle(self.backends, info, limits, by_hand=True)
        info = replace(info, limits=settled.limits)
        await self.write(info, (*_logged(settled, info.created_at), *events))
        await self.queue.put(message_of(info))

    async def require_room(self, tenant: str) -> None:
        """`Overloaded` if the customer has as many executions waiting as its capacity."""
        room = await self.queue.room(tenant)
        if room is not None and room <= 0:
            raise Overloaded(
                f"customer {tenant!r} has as many executions waiting as its `capacity` allows: nothing was accepted, "
                "try again when some have begun",
                retry_after_s=5.0,
            )

    async def write(
        self, info: ExecutionInfo, more: tuple[Event, ...] = (), *, unique_s: float = 0.0, again: bool = False
    ) -> bool:
        """The first rows of an execution; False if it exists already, or did within `unique_s`. `again` as `Accepted`'s."""
        events: tuple[Event, ...] = (Accepted(at=info.created_at, info=info, again=again), *more)
        rows = [Row(*encode_event(event)) for event in events]
        written = await self.backends.journal.begin(info.id, rows, unique_s=unique_s)
        if written:
            for event in events:
                self.backends.observe(info.id, event)
        return written

    def renewed(self, info: ExecutionInfo, flow_timeout_s: float | None) -> ExecutionInfo:
        """The same execution with a deadline that counts from now."""
        now = self.backends.clock.now()
        return replace(info, deadline=None if flow_timeout_s is None else now + flow_timeout_s)


def _logged(settled: Settled, at: float) -> tuple[Event, ...]:
    return tuple(Logged(at=at, level="warning", message=note) for note in settled.notes)
