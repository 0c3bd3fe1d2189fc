"""Alerts in the catalog: each changed under its revision, together with the messages that the change brings about."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from turnout.config import AlertKind, AlertRule
from turnout.errors import BackendError
from turnout.interfaces.catalog import CatalogStore
from turnout.interfaces.clock import Clock
from turnout.services.alerts.incidents import Alert, Mark, Saying, advance, close_by_hand, next_look, observe
from turnout.services.alerts.outbox import Outbox
from turnout.services.alerts.quiet import quiet_until
from turnout.services.alerts.rules import Watched, concerns
from turnout.services.documents import Document, Documents

__all__ = ["KIND", "Book", "Change", "level_mark", "name_of"]

KIND: Final = "alert"
_ATTEMPTS: Final = 30
_PAGE: Final = 500
_AGAIN_S: Final = 60.0
_STILL_S: Final = 600.0
_LEFT_S: Final = 600.0

Change = Callable[[Alert], Awaitable[tuple[Alert, tuple[Saying, ...]]]]
"""From an alert as it is now to what it becomes, the very same where nothing changes. It may be asked more than once."""


class Book:
    """All alerts. Several processes may write at once: each incident begins once and ends once all the same, since an alert and
    its messages are one write, and whoever comes second begins anew from what the first has written."""

    def __init__(self, catalog: CatalogStore, rules: Mapping[str, AlertRule], outbox: Outbox, clock: Clock) -> None:
        self._catalog = catalog
        self._rules = rules
        self._outbox = outbox
        self._clock = clock
        self._alerts = Documents(catalog, KIND, Alert)

    async def take(self, watched: Watched, marks: Sequence[Mark]) -> None:
        """Take marks into the alert of what is watched."""
        rule = self._rules[watched.rule]

        async def observed(alert: Alert) -> tuple[Alert, tuple[Saying, ...]]:
            return observe(alert, rule, marks, self._clock.now())

        await self.change(watched, observed)

    async def level(self, watched: Watched, *, bad: bool, note: str = "") -> None:
        """Say how something is that is bad or good at any time. What goes on being bad is told again as its rule allows."""
        rule = self._rules[watched.rule]

        async def levelled(alert: Alert) -> tuple[Alert, tuple[Saying, ...]]:
            now = self._clock.now()
            mark = level_mark(alert, rule, now, bad=bad, note=note)
            return (alert, ()) if mark is None else observe(alert, rule, [mark], now)

        await self.change(watched, levelled)

    async def change(self, watched: Watched, change: Change) -> None:
        """Change an alert as it is at that moment, and write what is to be said of it."""
        for _ in range(_ATTEMPTS):
            found = await self._alerts.get(name_of(watched), tenant=watched.scope.customer)
            before = Alert(rule=watched.rule, scope=watched.scope) if found is None else found.value
            after, said = await change(before)
            if after is before or await self._write(watched, found, after, said):
                return
        raise BackendError(f"the alert of rule {watched.rule!r} is written by others again and again")

    async def look(self, document: Document[Alert], change: Change | None = None) -> None:
        """Go on with an alert that is due: with `change`, or what follows from the time alone. Forget it where nothing does."""
        alert = document.value
        rule = self._rules.get(alert.rule)
        if rule is None or not concerns(rule, alert.scope):
            await self._leave(document)
            return
        if alert.left_at is not None:  # the rule is back, or was never gone for others
            alert = replace(alert, left_at=None)
        now = self._clock.now()
        after, said = await change(alert) if change is not None else advance(alert, rule, now)
        due = self._due(after, rule)
        if after == document.value and after.incident is None and (due is None or due <= now):
            await self._alerts.remove(document.name, tenant=document.tenant, expected=document.revision)
            return
        await self._write(_watched(alert), document, after, said)  # who was quicker has looked as well

    async def _leave(self, document: Document[Alert]) -> None:
        """No rule is about it any more: forget it. Its incident is over for those who heard of it, unless for another process
        the rule is there, as while a new version is rolled out: for some minutes, nothing happens."""
        alert, now = document.value, self._clock.now()
        if alert.incident is not None and (alert.left_at is None or now < alert.left_at + _LEFT_S):
            since = now if alert.left_at is None else alert.left_at
            await self._alerts.replace(document, replace(alert, left_at=since), due=since + _LEFT_S)
            return
        _, said = close_by_hand(alert, AlertRule(), now, "no rule is about it any more")
        gone = self._alerts.change(document.name, None, tenant=document.tenant, expected=document.revision)
        await self._catalog.write(gone, *self._outbox.writes(alert, said))

    async def due(self, limit: int) -> Sequence[Document[Alert]]:
        return await self._alerts.due(self._clock.now(), limit=limit)

    async def every(self, prefix: str = "") -> AsyncIterator[Document[Alert]]:
        """Every alert whose name begins with `prefix`, in the order of their names, which no two customers share."""
        after = ""
        while found := await self._alerts.page(prefix=prefix, after=after, limit=_PAGE):
            for document in found:
                yield document
            after = found[-1].name

    async def resolve(self, document: Document[Alert], who: str) -> bool:
        """End the incident because somebody says so; False if there is none (any more)."""
        rule, ended = self._rules.get(document.value.rule, AlertRule()), False

        async def closed(alert: Alert) -> tuple[Alert, tuple[Saying, ...]]:
            nonlocal ended
            ended = alert.incident is not None
            return close_by_hand(alert, rule, self._clock.now(), who)

        await self.change(_watched(document.value), closed)
        return ended

    async def _write(
        self, watched: Watched, found: Document[Alert] | None, alert: Alert, said: Iterable[Saying]
    ) -> bool:
        change = self._alerts.change(
            name_of(watched),
            alert,
            tenant=watched.scope.customer,
            due=self._due(alert, self._rules.get(alert.rule, AlertRule())),
            expected=0 if found is None else found.revision,
        )
        return await self._catalog.write(change, *self._outbox.writes(alert, said))

    def _due(self, alert: Alert, rule: AlertRule) -> float | None:
        now = self._clock.now()
        looks = [next_look(alert, rule)]
        if alert.expected_at is not None:
            late_at = alert.expected_at + rule.grace_s
            looks = [late_at if late_at > now else now + _AGAIN_S, looks[0] if alert.incident is not None else None]
        if alert.incident is not None:  # whether a rule is about it still
            looks.append(now + (_AGAIN_S if rule.kind is AlertKind.DEAD_LETTER else _STILL_S))
        found = min((look for look in looks if look is not None), default=None)
        return found if found is None or found > now else quiet_until(rule.quiet, now)


def level_mark(alert: Alert, rule: AlertRule, now: float, *, bad: bool, note: str = "") -> Mark | None:
    """The mark that says how something is now, or None where it need not be said: it is known, and no message is due."""
    known = alert.marks[-1].bad if alert.marks else False
    told, incident = alert.told_at, alert.incident
    again = incident is not None and incident.announced and told is not None and now >= told + rule.throttle_s
    if bad == known and not (bad and again):
        return None
    at = max(now, alert.marks[-1].at + 0.001) if alert.marks else now  # newer than what is known, whatever clocks say
    return Mark(at=at, cause="state", bad=bad, note=note)


def _watched(alert: Alert) -> Watched:
    return Watched(rule=alert.rule, scope=alert.scope)


def name_of(watched: Watched) -> str:
    """Of the alert's entry: the rule's name, and a digest of what it is about, since names may hold anything."""
    scope = watched.scope
    parts = (watched.rule, scope.customer, scope.integration, scope.instance, scope.flow, scope.connection)
    digest = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return f"{watched.rule[:200]}/{digest}"
