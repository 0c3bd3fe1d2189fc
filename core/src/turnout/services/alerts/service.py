"""The alerts service: reads what happens after the fact, and tells people what they asked to hear of."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import ClassVar, Final

from turnout.config import AlertRule
from turnout.errors import BackendError
from turnout.interfaces.service import Consumer, Delivery, Invocation, Needs, Service, Timer
from turnout.services.alerts.book import Book
from turnout.services.alerts.channels import Channels
from turnout.services.alerts.incidents import Mark
from turnout.services.alerts.outbox import Outbox
from turnout.services.alerts.rules import Watched, events_of, marks_of
from turnout.services.alerts.watch import Watch

__all__ = ["Alerts"]

_LOOK_S: Final = 10.0
_WATCH_S: Final = 60.0
_SEND_S: Final = 2.0
_PAGE: Final = 500
_LEFT_S: Final = 1.0
_log = logging.getLogger("turnout.alerts")


class Alerts(Service):
    """Keeps everything in the catalog. Without rules and channels it has nothing to do, reads no events, and is called by nobody.
    Channels alone hear that what they heard of is over, since its rule is gone."""

    name = "alerts"
    needs: ClassVar[Needs] = Needs(call_s=60.0)

    def __init__(
        self, rules: Mapping[str, AlertRule], book: Book, outbox: Outbox, watch: Watch, channels: Channels
    ) -> None:
        self._rules = rules
        self._book = book
        self._outbox = outbox
        self._watch = watch
        self._channels = channels

    def timers(self) -> Sequence[Timer]:
        if not self._rules and not self._outbox.channels:
            return ()
        return (
            *(
                Timer(name=f"alerts-send-{channel}", every_s=_SEND_S, handle=partial(self._outbox.send_line, channel))
                for channel in self._outbox.channels
            ),
            Timer(name="alerts-look", every_s=_LOOK_S, handle=self.look),
            Timer(name="alerts-watch", every_s=_WATCH_S, handle=self.watch),
        )

    def consumers(self) -> Sequence[Consumer]:
        events = events_of(self._rules.values())
        return (Consumer(name="alerts", events=events, handle=self.handle),) if events else ()

    async def start(self) -> None:
        """Nothing of its own: timers and the event stream call."""

    async def stop(self) -> None:
        await self._channels.close()

    async def handle(self, deliveries: Sequence[Delivery], call: Invocation) -> Sequence[str]:
        """Take events in, all those of one thing in one write. The ids of those that could not be written."""
        seen: dict[Watched, list[tuple[Mark, str]]] = {}
        for delivery in deliveries:
            for watched, mark in marks_of(self._rules, delivery):
                seen.setdefault(watched, []).append((mark, delivery.id))
        failed: set[str] = set()
        for watched, marks in seen.items():
            try:
                if call.remaining_s() > _LEFT_S:
                    await self._book.take(watched, [mark for mark, _ in marks])
                    continue
            except BackendError as error:
                _log.warning("alerts: rule %s does not see all, trying again: %s", watched.rule, error)
            failed.update(id for _, id in marks)
        return [delivery.id for delivery in deliveries if delivery.id in failed]

    async def look(self, call: Invocation) -> None:
        """Go on with what is due: incidents that wait to be told, to be told again, to end; flows that should have run."""
        for document in await self._book.due(_PAGE):
            if call.remaining_s() < _LEFT_S:
                return
            try:
                await self._watch.look(document)
            except BackendError as error:
                _log.warning("alerts: rule %s is looked at later: %s", document.value.rule, error)

    async def watch(self, call: Invocation) -> None:
        """Look for what no event tells."""
        for look in (self._watch.overdue, self._watch.running, self._watch.connections):
            if call.remaining_s() > _LEFT_S:
                await look()
        await self._outbox.tidy(call)
