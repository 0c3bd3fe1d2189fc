"""What no event tells: flows that do not run, executions that run on, connections that are broken, dead letters that are gone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from turnout.config import AlertKind, AlertRule
from turnout.errors import NotFound, Paused
from turnout.interfaces.clock import Clock
from turnout.interfaces.queue import Queue
from turnout.interfaces.records import ExecutionQuery, RecordStore
from turnout.model.execution import Status
from turnout.services.alerts.book import Book, level_mark, name_of
from turnout.services.alerts.expectations import Expected, expected_of
from turnout.services.alerts.incidents import Alert, Mark, Saying, Scope, advance, observe
from turnout.services.alerts.rules import Watched, concerns, fits, scope_of
from turnout.services.documents import Document
from turnout.services.submission import Instance

__all__ = ["ConnectionHealth", "Sources", "Watch"]

_GOING_ON: Final = (Status.QUEUED, Status.RUNNING, Status.WAITING)
_PAGE: Final = 200
_DEAD: Final = 10_000
_SKEW_S: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionHealth:
    """A customer's connection, and why it is broken, without secrets; empty: it is not."""

    customer: str
    name: str
    broken: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where to look. `instances` are those that are active now, `instance` is one of a customer, `NotFound` or `Paused` if it is not; `broken` the connections that are, `connection` one of them, or one
    that is not broken or gone. `catch_up` brings the records up
    to what the journal has: nobody shall hear that a flow did not run because its record is late."""

    records: RecordStore
    queue: Queue
    instances: Callable[[], AsyncIterator[Instance]]
    instance: Callable[[str, str], Awaitable[Instance]]
    broken: Callable[[], AsyncIterator[ConnectionHealth]]
    connection: Callable[[str, str], Awaitable[ConnectionHealth]]
    catch_up: Callable[[], Awaitable[None]]


class Watch:
    def __init__(self, rules: Mapping[str, AlertRule], book: Book, sources: Sources, clock: Clock) -> None:
        self._rules = rules
        self._book = book
        self._sources = sources
        self._clock = clock

    async def overdue(self) -> None:
        """Begin to wait for every flow that a rule expects to run, and stop where it is expected no more."""
        rules = {name: rule for name, rule in self._rules.items() if rule.kind is AlertKind.OVERDUE}
        expected = await self._expected(rules)
        for name in rules:
            async for document in self._book.every(f"{name[:200]}/"):
                if document.value.rule == name:
                    await self._compare(document, expected.pop(document.name, None))
        for one in expected.values():
            await self._expect(*one)

    async def running(self) -> None:
        """Mark executions that have been going on for longer than they may."""
        now = self._clock.now()
        for name, rule in self._rules.items():
            if rule.kind is not AlertKind.DURATION or rule.longer_than_s is None:
                continue
            note = f"has been going on for longer than {rule.longer_than_s:g} s"
            before = ""
            while page := await self._sources.records.search(
                ExecutionQuery(
                    statuses=_GOING_ON, until=now - rule.longer_than_s, parent="", before=before, limit=_PAGE
                )
            ):
                for info in (record.info for record in page):
                    if fits(rule, scope := scope_of(info)):
                        at = info.created_at + rule.longer_than_s
                        mark = Mark(at=at, cause=info.id, bad=True, note=note, execution=info.id, going_on=True)
                        await self._book.take(Watched(rule=name, scope=scope), [mark])
                before = page[-1].info.id

    async def connections(self) -> None:
        """Compare the connections that are broken with those that are known to be. Reads none of the others."""
        rules = {name: rule for name, rule in self._rules.items() if rule.kind is AlertKind.CONNECTION}
        if not rules:
            return
        open_ones = {name: document.value async for name, document in self._open(rules)}
        async for state in self._sources.broken():
            scope = Scope(customer=state.customer, connection=state.name)
            for name, rule in rules.items():
                watched = Watched(rule=name, scope=scope)
                open_ones.pop(name_of(watched), None)
                if concerns(rule, scope):
                    await self._book.level(watched, bad=True, note=state.broken)
        for alert in open_ones.values():  # of connections that work again, or are gone
            state = await self._sources.connection(alert.scope.customer, alert.scope.connection)
            await self._book.level(
                Watched(rule=alert.rule, scope=alert.scope), bad=bool(state.broken), note=state.broken
            )

    async def look(self, document: Document[Alert]) -> None:
        """Go on with an alert that is due."""
        alert = document.value
        rule = self._rules.get(alert.rule)
        if rule is not None and rule.kind is AlertKind.OVERDUE and alert.expected_at is not None:
            await self._book.look(document, self._late)
        elif rule is not None and rule.kind is AlertKind.DEAD_LETTER and alert.incident is not None:
            await self._book.look(document, self._dead)
        else:
            await self._book.look(document)

    async def _open(self, rules: Mapping[str, AlertRule]) -> AsyncIterator[tuple[str, Document[Alert]]]:
        for rule in rules:
            async for document in self._book.every(f"{rule[:200]}/"):
                if document.value.rule == rule and document.value.marks and document.value.marks[-1].bad:
                    yield document.name, document

    async def _expected(self, rules: Mapping[str, AlertRule]) -> dict[str, tuple[Watched, Expected]]:
        found = {}
        if rules:
            async for instance in self._sources.instances():
                for name, rule in rules.items():
                    for one in expected_of(rule, instance):
                        watched = Watched(rule=name, scope=one.scope)
                        found[name_of(watched)] = (watched, one)
        return found

    async def _expected_of(self, alert: Alert, rule: AlertRule) -> Expected | None:
        try:
            instance = await self._sources.instance(alert.scope.customer, alert.scope.instance)
        except (NotFound, Paused):
            return None
        return next((one for one in expected_of(rule, instance) if one.scope == alert.scope), None)

    async def _compare(self, document: Document[Alert], found: tuple[Watched, Expected] | None) -> None:
        alert = document.value
        if found is None and alert.expected_at is not None:
            rule = self._rules[alert.rule]

            async def forgotten(alert: Alert) -> tuple[Alert, tuple[Saying, ...]]:
                now = self._clock.now()
                mark = level_mark(alert, rule, now, bad=False)
                after = replace(alert, expected_at=None, schedule="")
                return observe(after, rule, [] if mark is None else [mark], now)

            await self._book.change(Watched(rule=alert.rule, scope=alert.scope), forgotten)
        elif found is not None and found[1].schedule != alert.schedule:
            await self._expect(*found)

    async def _expect(self, watched: Watched, expected: Expected) -> None:
        """From now on: what should have run before anybody looked is not held against it."""

        async def waiting(alert: Alert) -> tuple[Alert, tuple[Saying, ...]]:
            if alert.schedule == expected.schedule and alert.expected_at is not None:
                return alert, ()
            at = expected.after(self._clock.now())
            return replace(alert, expected_at=at, schedule=expected.schedule), ()

        await self._book.change(watched, waiting)

    async def _late(self, alert: Alert) -> tuple[Alert, tuple[Saying, ...]]:
        rule, now = self._rules[alert.rule], self._clock.now()
        assert alert.expected_at is not None
        if now < alert.expected_at + rule.grace_s:
            return advance(alert, rule, now)
        one = await self._expected_of(alert, rule)
        if one is None:
            return advance(alert, rule, now)  # it is not expected any more, which `overdue` finds
        began = await self._ran(alert, rule, since=alert.expected_at - _SKEW_S - (one.every_s or 0.0))
        if began is not None and (next_at := one.after(began)) > alert.expected_at:
            alert = replace(alert, expected_at=next_at)
            if now >= next_at + rule.grace_s:
                began = None  # it ran, and should have run again since
        else:
            began = None
        note = "" if began is not None else f"nothing {'succeeded' if rule.succeeded else 'ran'} in time"
        mark = level_mark(alert, rule, now, bad=began is None, note=note)
        return advance(alert, rule, now) if mark is None else observe(alert, rule, [mark], now)

    async def _ran(self, alert: Alert, rule: AlertRule, *, since: float) -> float | None:
        """When the newest run began, if one did since then. An interval counts from the run before, whenever that was."""
        await self._sources.catch_up()
        scope = alert.scope
        found = await self._sources.records.search(
            ExecutionQuery(
                tenant=scope.customer,
                instance=scope.instance,
                flow=scope.flow,
                statuses=(Status.SUCCEEDED,) if rule.succeeded else (),
                since=since,
                limit=1,
            )
        )
        return found[0].info.created_at if found else None

    async def _dead(self, alert: Alert) -> tuple[Alert, tuple[Saying, ...]]:
        """Dead letters that somebody took out of the queue are none any more."""
        rule, now = self._rules[alert.rule], self._clock.now()
        there = {dead.message.id for dead in await self._sources.queue.dead(limit=_DEAD)}
        gone = [
            Mark(at=max(now, mark.at + 0.001), cause=mark.cause, bad=False)
            for mark in alert.marks
            if mark.bad and mark.cause not in there and len(there) < _DEAD
        ]
        return observe(alert, rule, gone, now) if gone else advance(alert, rule, now)
