"""Messages that wait to be sent: written together with what they tell of, sent afterwards, removed once they were taken.

A message is sent at least once: a process that dies between sending and removing leaves it to the next. Each channel has a line of
its own, and none waits for another.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from turnout.config import AlertRule
from turnout.errors import BackendError, Overloaded, SettingsError, Undeliverable
from turnout.interfaces.catalog import CatalogChange, CatalogStore
from turnout.interfaces.clock import Clock
from turnout.interfaces.service import Invocation
from turnout.services.alerts.channels import Channels
from turnout.services.alerts.incidents import Alert, Saying
from turnout.services.alerts.messages import Message, notification_of
from turnout.services.documents import Document, Documents

__all__ = ["Outbox"]

_KIND: Final = "alert-message/"
_PAGE: Final = 200
_CLAIMED_S: Final = 60.0
_FIRST_S: Final = 10.0
_SLOWEST_S: Final = 1800.0
_GIVE_UP_S: Final = 24 * 3600.0
_KEPT_S: Final = 7 * 86400.0
_NEEDED_S: Final = 35.0
_log = logging.getLogger("turnout.alerts")


class Outbox:
    """`project` is what messages call the project; `rules` are those of now, by which a message is worded when it is sent."""

    def __init__(
        self,
        catalog: CatalogStore,
        channels: Channels,
        rules: Mapping[str, AlertRule],
        clock: Clock,
        *,
        project: str = "",
    ) -> None:
        self._catalog = catalog
        self._channels = channels
        self._rules = rules
        self._clock = clock
        self._project = project
        self._lines = {name: Documents(catalog, f"{_KIND}{name}", Message) for name in channels.names}

    def writes(self, alert: Alert, sayings: Iterable[Saying]) -> Sequence[CatalogChange]:
        """What has to be written together with the alert, for each channel that is to hear of it: also for one that this process
        does not know (any more), since another may."""
        return [
            self._line(channel).change(_name(message), message, tenant=alert.scope.customer, due=saying.at, expected=0)
            for saying in sayings
            for channel in saying.channels
            for message in [self._message(alert, saying, channel)]
        ]

    @property
    def channels(self) -> Sequence[str]:
        return tuple(self._lines)

    async def send_due(self, call: Invocation) -> None:
        """Send what is due, every channel beside the others. Whatever fails is told and tried again later."""
        await asyncio.gather(*(self.send_line(channel, call) for channel in self._lines))

    async def tidy(self, call: Invocation) -> None:
        """Give up messages for channels that are gone, as late as those for channels that are down: another process may know
        them."""
        for kind in await self._catalog.kinds():
            channel = kind.removeprefix(_KIND)
            if not kind.startswith(_KIND) or channel in self._lines or call.remaining_s() < 1.0:
                continue
            line = self._line(channel)
            for document in await line.due(self._clock.now() - _GIVE_UP_S, limit=_PAGE):
                if await line.remove(document.name, tenant=document.tenant, expected=document.revision):
                    _log.error(
                        "alerts: a message of rule %s is GIVEN UP, there is no channel %s any more",
                        document.value.rule,
                        channel,
                    )

    async def waiting(self, tenant: str | None = None, incident: str = "") -> AsyncIterator[Message]:
        """What was not sent yet, or was given up: of a customer and an incident, or all there is."""
        for kind in await self._catalog.kinds():
            if kind.startswith(_KIND):
                prefix = f"{incident}/" if incident else ""
                for document in await self._line(kind.removeprefix(_KIND)).page(tenant=tenant, prefix=prefix):
                    yield document.value

    def _line(self, channel: str) -> Documents[Message]:
        return self._lines.get(channel) or Documents(self._catalog, f"{_KIND}{channel}", Message)

    def _message(self, alert: Alert, saying: Saying, channel: str) -> Message:
        incident = saying.incident
        return Message(
            id=f"{incident.key}-{saying.number}",
            channel=channel,
            rule=alert.rule,
            scope=alert.scope,
            incident=incident.key,
            phase=saying.phase,
            at=saying.at,
            opened_at=incident.opened_at,
            written_at=self._clock.now(),
            kind=incident.kind,
            severity=incident.severity,
            why=saying.why,
            count=incident.count,
            note=incident.last.note,
            execution=incident.last.execution,
        )

    async def send_line(self, channel: str, call: Invocation) -> None:
        """Send what is due through one channel."""
        line = self._lines[channel]
        try:
            for document in await line.due(self._clock.now(), limit=_PAGE):
                if call.remaining_s() < _NEEDED_S or not await self._send(line, document):
                    return
        except BackendError as error:
            _log.warning("alerts: messages for channel %s wait: %s", channel, error)

    async def _send(self, line: Documents[Message], document: Document[Message]) -> bool:
        """Whether the channel is worth another message now."""
        message, now = document.value, self._clock.now()
        if message.given_up:
            await line.remove(document.name, tenant=document.tenant, expected=document.revision)
            return True
        if (before := await self._before(line, document)) is not None:
            await line.replace(document, message, due=max(before, now) + 1.0)
            return True
        if not await line.replace(document, message, due=now + _CLAIMED_S):
            return True  # another process sends it
        claimed = replace(document, revision=document.revision + 1)
        try:
            rule = self._rules.get(message.rule)
            await self._channels.send(message.channel, notification_of(message, rule, self._project))
        except (BackendError, SettingsError) as error:
            return await self._failed(line, claimed, error)
        await line.remove(claimed.name, tenant=claimed.tenant, expected=claimed.revision)
        return True

    async def _before(self, line: Documents[Message], document: Document[Message]) -> float | None:
        """When a message that comes before this one, of the same incident, is tried again: nobody shall hear that it is over
        before hearing that it began."""
        for other in await line.page(tenant=document.tenant, prefix=f"{document.value.incident}/", limit=20):
            if other.name >= document.name:
                return None
            if not other.value.given_up:
                return other.due or 0.0
        return None

    async def _failed(self, line: Documents[Message], document: Document[Message], error: Exception) -> bool:
        message, now = document.value, self._clock.now()
        tried = replace(message, tries=message.tries + 1, error=str(error)[:500])
        if isinstance(error, Undeliverable) or now - max(message.written_at, message.at) > _GIVE_UP_S:
            _log.error(
                "alerts: a message of rule %s is GIVEN UP, channel %s did not take it: %s",
                message.rule,
                message.channel,
                error,
            )
            await line.replace(document, replace(tried, given_up=True), due=now + _KEPT_S)
            return isinstance(error, Undeliverable)
        delay = min(_SLOWEST_S, _FIRST_S * 2 ** min(message.tries, 20))
        if isinstance(error, Overloaded):
            delay = min(_SLOWEST_S, max(delay, error.retry_after_s))
        _log.warning(
            "alerts: channel %s did not take a message, trying again in %g s: %s", message.channel, delay, error
        )
        await line.replace(document, tried, due=now + delay)
        return False


def _name(message: Message) -> str:
    return f"{message.incident}/{message.id.rpartition('-')[2].zfill(9)}"
