"""The scheduler service: starts what is due, and keeps its plans in step with the instances that there are."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Protocol

from turnout.definition.schedules import schedules_of
from turnout.engine.history import History
from turnout.errors import BackendError, NotFound, Paused, SettingsError, StepError, TurnoutError
from turnout.interfaces.catalog import CatalogStore
from turnout.interfaces.clock import Clock
from turnout.interfaces.journal import Journal
from turnout.interfaces.service import Invocation, Service, Timer
from turnout.model.schedule import Missed, Overlap, Schedule
from turnout.services.documents import Document
from turnout.services.instance_documents import deployed_of
from turnout.services.scheduler.plans import Decision, Planned, decide, planned_in, replanned
from turnout.services.scheduler.polls import LONGEST_POLL_S, Polls
from turnout.services.scheduler.started import Started
from turnout.services.scheduler.ticks import moment, next_tick
from turnout.services.submission import Instance, Submission
from turnout.values import Value

__all__ = ["Scheduler", "Scheduling"]

_BATCH: Final = 200
_AT_ONCE: Final = 16
_CLAIM_S: Final = 30.0
"""A tick that somebody is starting is started by another after this: the first must have died."""
_POLL_CLAIM_S: Final = LONGEST_POLL_S + 60.0
_AGAIN_S: Final = 10.0
_LATEST_S: Final = 3600.0
"""However often a look fails, the next comes within this."""
_LONGEST_ASKED_S: Final = 86_400.0
"""Who asks to be left alone for longer is asked again after a day."""
_LEAST_S: Final = 2.0
_AHEAD_S: Final = 60.0
"""What is decided so far ahead was decided by a clock that was wrong."""
_REMEMBERED: Final = 10_000
_log = logging.getLogger("turnout.scheduler")


class Scheduling(Protocol):
    """The instances that schedules are made of."""

    def active(self) -> AsyncIterator[Instance]:
        """Every instance that takes executions in: deployed ones, and those of the project's own files."""

    async def get(self, customer: str, name: str) -> Instance:
        """`NotFound` if there is none, or it takes none in now."""


class Scheduler(Service):
    """Each tick becomes one execution: started first, under an id that makes it one, and only then noted as done. `own` is the
    customer whom the project's own files belong to: they may be away for a while."""

    name = "scheduler"

    def __init__(
        self,
        catalog: CatalogStore,
        journal: Journal,
        instances: Scheduling,
        submission: Submission,
        config: Callable[[Instance], Awaitable[Mapping[str, Any]]],
        started: Started,
        clock: Clock,
        *,
        polls: Polls,
        own: str,
    ) -> None:
        self.plans = planned_in(catalog)
        self._deployed = deployed_of(catalog)
        self._journal = journal
        self._instances = instances
        self._submission = submission
        self._config = config
        self._started = started
        self._clock = clock
        self._own = own
        self._polls = polls
        self._schedules: dict[tuple[str, str], dict[str, Schedule]] = {}

    def timers(self) -> Sequence[Timer]:
        return [
            Timer(name="schedules", every_s=1.0, handle=self.look),
            Timer(name="schedules of instances", every_s=5.0, handle=self.sync),
        ]

    async def start(self) -> None:
        """Nothing runs on its own."""

    async def stop(self) -> None:
        """Nothing to stop."""

    async def look(self, call: Invocation) -> None:
        """Start everything that is due. `BackendError` if a store fails; what was not started then is due again."""
        while call.remaining_s() > _LEAST_S:
            due = await self.plans.due(self._clock.now(), limit=_BATCH)
            if not due:
                return
            places = asyncio.Semaphore(_AT_ONCE)
            results = await asyncio.gather(*(self._one(document, places) for document in due), return_exceptions=True)
            for failure in results:
                if isinstance(failure, BaseException):
                    raise failure
            if len(due) < _BATCH and not any(results):
                return

    async def _one(self, document: Document[Planned], places: asyncio.Semaphore) -> bool:
        """Whether there is more to do for it at once."""
        async with places:
            planned, now = document.value, self._clock.now()
            decision = decide(planned, _whose(document.tenant, document.name), now)
            if planned.pending is not None:
                decision = Decision(tick=planned.pending, last=max(planned.pending, planned.last))
            if decision.tick is None:
                after = replanned(planned, last=decision.last, missed=decision.missed)
                return await self._write(document, after, document.revision) and after.last > planned.last
            claimed = replace(
                planned, pending=decision.tick, pending_since=now if planned.pending is None else planned.pending_since
            )
            if not await self.plans.replace(
                document, claimed, due=now + (_POLL_CLAIM_S if planned.polls else _CLAIM_S)
            ):
                return False  # somebody else has it
            after = await self._start(document, claimed, decision)
            return await self._write(document, after, document.revision + 1)

    async def _write(self, document: Document[Planned], after: Planned, revision: int) -> bool:
        due, now = after.due(_whose(document.tenant, document.name)), self._clock.now()
        if after.trouble and due is not None:
            due = max(now + min(_LATEST_S, _AGAIN_S * 2 ** min(after.failures, 10)), after.not_before)
        await self.plans.replace(replace(document, revision=revision), after, due=due)
        return due is not None and due <= now

    async def _start(self, document: Document[Planned], planned: Planned, decision: Decision) -> Planned:
        """The plan once its tick has become an execution, or cannot."""
        tick = decision.tick
        assert tick is not None
        instance, _, flow = document.name.partition("/")
        done = replanned(planned, last=decision.last, missed=decision.missed)
        if planned.polls:
            return await self._poll(document, planned, done)
        known = await self._started.find(document.tenant, instance, flow, tick, since=planned.pending_since)
        if known:
            return replace(done, execution=known, started=tick, trouble="")
        if planned.schedule.overlap is Overlap.SKIP and await self._runs(planned.execution):
            return replace(done, skipped=planned.skipped + 1)
        before = None if planned.started is None else moment(planned.schedule, planned.started)
        trigger = Value({"scheduled_at": moment(planned.schedule, tick), "previous_at": before})
        try:
            found = await self._instances.get(document.tenant, instance)
            same = f"schedule\0{tick:.3f}"
            accepted = await self._submission.accept(found, flow, trigger, deduplication_id=same, deduplication_at=tick)
        except (NotFound, Paused) as error:
            return replace(planned, held=True, trouble=str(error))  # the next sync knows why
        except BackendError:
            raise  # it stays pending: whoever comes next starts it
        except TurnoutError as error:
            _log.warning("schedule %s of %s cannot be started: %s", document.name, document.tenant, error)
            return replace(planned, trouble=str(error))
        return replace(done, execution=accepted.id, started=tick, trouble="")

    async def _poll(self, document: Document[Planned], planned: Planned, done: Planned) -> Planned:
        """The plan once everything that a look has found is an execution, or the look has failed."""
        name, _, flow = document.name.partition("/")
        try:
            instance = await self._instances.get(document.tenant, name)
            poll = await self._polls.look(instance, flow, planned.cursor)
            execution = planned.execution
            for found in poll.items:
                value = found.value if isinstance(found.value, Value) else Value(found.value)
                same = f"poll\0{found.id}"
                accepted = await self._submission.accept(instance, flow, value, deduplication_id=same)
                execution = accepted.id
        except (NotFound, Paused) as error:
            return replace(planned, held=True, trouble=str(error))
        except BackendError:
            raise  # the cursor stays: what was started already is known by its id
        except TurnoutError as error:
            _log.warning("poll %s of %s failed: %s", document.name, document.tenant, error)
            asked_s = min(error.retry_after_s or 0.0, _LONGEST_ASKED_S) if isinstance(error, StepError) else 0.0
            later = self._clock.now() + asked_s
            return replace(done, trouble=str(error), failures=planned.failures + 1, more=True, not_before=later)
        return replace(
            done,
            cursor=poll.cursor,
            more=poll.more,
            execution=execution,
            started=planned.pending if poll.items else planned.started,
            trouble="",
            failures=0,
            not_before=0.0,
        )

    async def _runs(self, execution: str) -> bool:
        if not execution:
            return False
        history = History.of(await self._journal.rows(execution))
        return history.info is not None and (history.ended is None or not history.ended.status.final)

    async def sync(self, call: Invocation) -> None:
        """Plan the schedules of all active instances, hold those of others, remove those of instances that are gone."""
        wanted: dict[tuple[str, str], tuple[Instance, Schedule]] = {}
        async for instance in self._instances.active():
            for flow, schedule in (await self._schedules_of(instance)).items():
                wanted[instance.tenant, f"{instance.name}/{flow}"] = (instance, schedule)
        planned = {(one.tenant, one.name): one for one in await self.plans.page(limit=1_000_000)}
        for key, (instance, schedule) in wanted.items():
            await self._plan(key, instance, schedule, planned.get(key))
        for key, document in planned.items():
            if key not in wanted:
                await self._withdraw(document)

    async def _schedules_of(self, instance: Instance) -> dict[str, Schedule]:
        key = (instance.bundle, instance.settings)
        if key not in self._schedules:
            if len(self._schedules) >= _REMEMBERED:
                self._schedules.pop(next(iter(self._schedules)))
            flows = instance.integration.flows.values()
            scheduled = any(flow.trigger.type == "schedule" or flow.trigger.every_s is not None for flow in flows)
            try:
                config = await self._config(instance) if scheduled else {}
                self._schedules[key] = schedules_of(instance.integration, config) if scheduled else {}
            except (NotFound, SettingsError) as error:
                _log.warning(
                    "the schedules of instance %s of %s are not known: %s", instance.name, instance.tenant, error
                )
                return {}
        return self._schedules[key]

    async def _plan(
        self, key: tuple[str, str], instance: Instance, schedule: Schedule, document: Document[Planned] | None
    ) -> None:
        now = self._clock.now()
        tenant, name = key
        polls = instance.integration.flows[name.partition("/")[2]].trigger.every_s is not None
        if document is None:
            new = Planned(
                integration=instance.integration.name,
                schedule=schedule,
                since=now,
                last=now,
                next=next_tick(schedule, now, since=now),
                polls=polls,
            )
            await self.plans.create(name, new, tenant=tenant, due=new.due(_whose(tenant, name)))
            return
        planned, whose = document.value, _whose(tenant, name)
        ahead = _is_ahead(planned, document.due, whose, now)
        if planned.schedule == schedule and not planned.held and not ahead:
            return
        after = replace(planned, held=False, schedule=schedule, trouble="")
        if _times(planned.schedule) != _times(schedule):
            # What another schedule would have done before is not made up for; what it has begun is.
            after = replanned(replace(after, since=now), last=now)
            after = replace(after, pending=planned.pending, pending_since=planned.pending_since)
        if ahead:
            # A clock that was wrong: whatever it began has an id of its time, and is not started twice.
            after = replace(replanned(after, last=min(after.last, now)), not_before=0.0)
        due = after.due(whose) if after.pending is None else now + _CLAIM_S
        await self.plans.replace(document, after, due=due)

    async def _withdraw(self, document: Document[Planned]) -> None:
        """Where the instance is gone so is its plan; one that is paused, or whose definition is away, keeps its place."""
        instance = document.name.partition("/")[0]
        deployed = await self._deployed.get(instance, tenant=document.tenant)
        if deployed is None and document.tenant != self._own:
            await self.plans.remove(document.name, tenant=document.tenant, expected=document.revision)
        elif not document.value.held:
            await self.plans.replace(document, replace(document.value, held=True, pending=None))


def _times(schedule: Schedule) -> Schedule:
    """What of a schedule says when: the rest may change without another place in it."""
    return replace(schedule, missed=Missed.ONCE, overlap=Overlap.ALLOW, jitter_s=0.0)


def _is_ahead(planned: Planned, due: float | None, whose: str, now: float) -> bool:
    """Whether what stands there was written by a clock that was ahead of what it is `now`."""
    if planned.last > now + _AHEAD_S or (planned.pending is not None and planned.pending_since > now + _AHEAD_S):
        return True
    latest = max(now, planned.due(whose) or now) + _LONGEST_ASKED_S + _AHEAD_S
    return due is not None and due > latest


def _whose(tenant: str, name: str) -> str:
    return f"{tenant}/{name}"
