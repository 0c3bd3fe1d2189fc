"""PagerDuty, through its Events API v2: https://developer.pagerduty.com/docs/events-api-v2/trigger-events/"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar, Final, Self

from pydantic import BaseModel, ConfigDict

from turnout.interfaces.notifier import Notification, Notifier, Phase, Reference
from turnout.interfaces.opening import Opening
from turnout.services.alerts.posting import Poster, checked_url, encoded, refused

__all__ = ["PagerDutyNotifier"]

_URL: Final = "https://events.pagerduty.com/v2/enqueue"
_SUMMARY_LENGTH: Final = 1024
_SETTINGS: Final = frozenset({401, 403, 404})
_MESSAGE: Final = frozenset({400, 413})


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid")

    routing_key: Reference
    """The integration key of a service, or of an orchestration."""
    url: str = _URL
    source: str = "turnout"


class PagerDutyNotifier(Notifier):
    """An incident is triggered, triggered again and resolved under its key: PagerDuty takes them for one."""

    options: ClassVar[type[BaseModel]] = _Options

    def __init__(self, routing_key: str, *, url: str = _URL, source: str = "turnout") -> None:
        self._key = routing_key
        self._source = source
        self._poster = Poster("PagerDuty", checked_url(url, "`url`"))

    @classmethod
    async def connect(cls, opening: Opening) -> Self:
        options = opening.read(_Options)
        key = (await opening.secret(options.routing_key)).reveal().strip()
        return cls(key, url=options.url, source=options.source)

    def describe(self) -> str:
        return "PagerDuty's Events API"

    async def send(self, notification: Notification) -> str:
        answer = await self._poster.post(encoded(self._event(notification)), {"content-type": "application/json"})
        if answer.status != 202:
            raise refused("PagerDuty", answer, settings=_SETTINGS, message=_MESSAGE)
        return f"PagerDuty answered {answer.status}: {answer.text}"

    async def close(self) -> None:
        await self._poster.close()

    def _event(self, notification: Notification) -> dict[str, Any]:
        event: dict[str, Any] = {
            "routing_key": self._key,
            "event_action": "resolve" if notification.phase is Phase.RESOLVED else "trigger",
            "dedup_key": notification.incident,
        }
        if notification.phase is Phase.RESOLVED:
            return event
        return {
            **event,
            "client": "Turnout",
            "payload": {
                "summary": notification.subject[:_SUMMARY_LENGTH],
                "source": self._source,
                "severity": notification.severity,
                "timestamp": datetime.fromtimestamp(notification.at, UTC).isoformat(timespec="milliseconds"),
                "component": notification.details.get("flow", "") or notification.details.get("connection", ""),
                "group": notification.details.get("customer", ""),
                "class": notification.details.get("kind", ""),
                "custom_details": {**notification.details, "text": notification.text},
            },
        }
