"""Accepting executions: persisted first, queued second, so that what was promised cannot be lost in between."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace

from turnout.codec import encode_event
from turnout.engine.content import Content
from turnout.errors import NotFound
from turnout.interfaces.clock import Clock
from turnout.interfaces.journal import Journal, Row
from turnout.interfaces.payloads import PayloadStore
from turnout.interfaces.queue import Message, Queue
from turnout.model.definition import Integration
from turnout.model.events import Accepted, Event
from turnout.model.execution import ExecutionInfo
from turnout.model.trace import TraceContext
from turnout.values import Value

__all__ = ["Instance", "Submission", "message_of", "new_execution_id"]

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
"""Crockford's base 32, in the order of its values, so that ids sort as they were made."""


def new_execution_id(now: float) -> str:
    """26 characters that sort by time, to the millisecond, with 80 random bits: unique without asking anybody."""
    number = (int(now * 1000) << 80) | secrets.randbits(80)
    return "".join(_ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5))


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """A version of an integration deployed to a customer (`tenant`), with the digest of its settings."""

    name: str
    tenant: str
    integration: Integration
    bundle: str
    settings: str


def message_of(info: ExecutionInfo) -> Message:
    """What an execution is queued with, whoever queues it."""
    return Message(id=info.id, tenant=info.tenant)


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """Accepts executions. `observe` sees what was written."""

    journal: Journal
    queue: Queue
    payloads: PayloadStore
    clock: Clock
    observe: Callable[[str, Event], None]

    async def accept(
        self,
        instance: Instance,
        flow: str,
        trigger: Value,
        *,
        hold_s: float = 0.0,
        id: str = "",
        replay_of: str = "",
        span: TraceContext | None = None,
    ) -> str:
        """Write and queue an execution; its id. Once this returns nothing short of losing the store loses it.

        `trigger` is what expressions see as `trigger`. With `hold_s` no worker takes it before: the caller claims it
        itself. `id` makes it idempotent: an execution of that id is accepted once. `span` is the sender's, of
        whose trace the execution becomes a part.
        """
        if flow not in instance.integration.flows:
            known = ", ".join(instance.integration.flows)
            raise NotFound("flow", flow, hint=f"integration {instance.integration.name!r} has {known}")
        now = self.clock.now()
        timeout_s = instance.integration.flows[flow].timeout_s
        info = ExecutionInfo(
            id=id or new_execution_id(now),
            tenant=instance.tenant,
            instance=instance.name,
            integration=instance.integration.name,
            version=instance.integration.version,
            bundle=instance.bundle,
            flow=flow,
            settings=instance.settings,
            trigger=await Content(self.payloads, instance.tenant).pack(trigger),
            created_at=now,
            deadline=None if timeout_s is None else now + timeout_s,
            replay_of=replay_of,
            traceparent="" if span is None else span.traceparent,
            tracestate="" if span is None else span.state,
        )
        await self.write(info)
        await self.queue.put(message_of(info), delay_s=hold_s)
        return info.id

    async def write(self, info: ExecutionInfo, more: tuple[Event, ...] = ()) -> bool:
        """The first rows of an execution; False if it exists already."""
        events: tuple[Event, ...] = (Accepted(at=info.created_at, info=info), *more)
        written = await self.journal.begin(info.id, [Row(*encode_event(event)) for event in events])
        if written:
            for event in events:
                self.observe(info.id, event)
        return written

    def renewed(self, info: ExecutionInfo, flow_timeout_s: float | None) -> ExecutionInfo:
        """The same execution with a deadline that counts from now."""
        now = self.clock.now()
        return replace(info, deadline=None if flow_timeout_s is None else now + flow_timeout_s)
