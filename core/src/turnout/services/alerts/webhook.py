"""Any HTTP server, with requests that are signed as Standard Webhooks has it: https://www.standardwebhooks.com"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from datetime import UTC, datetime
from typing import ClassVar, Final, Self

from pydantic import BaseModel, ConfigDict

from turnout.errors import SettingsError
from turnout.interfaces.clock import Clock, SystemClock
from turnout.interfaces.notifier import Notification, Notifier, Reference
from turnout.interfaces.opening import Opening
from turnout.services.alerts.posting import Poster, checked_url, encoded, refused

__all__ = ["WebhookNotifier"]

_PREFIX: Final = "whsec_"
_SETTINGS: Final = frozenset({401, 403, 404, 405, 410})
_MESSAGE: Final = frozenset({400, 413, 415, 422})


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid")

    url: str
    secret: Reference
    """`whsec_` and 24 to 64 bytes in base64."""


class WebhookNotifier(Notifier):
    """JSON, `{"type": "alert.opened", "timestamp": …, "data": …}`, signed with HMAC-SHA256 over id, time and body. `webhook-id`
    is the message's: the receiver tells one that came twice by it."""

    options: ClassVar[type[BaseModel]] = _Options

    def __init__(self, url: str, secret: str, *, clock: Clock | None = None) -> None:
        self._key = _key(secret)
        self._clock = clock or SystemClock()
        self._poster = Poster("the webhook", checked_url(url, "the webhook's URL"))

    @classmethod
    async def connect(cls, opening: Opening) -> Self:
        options = opening.read(_Options)
        url, secret = await opening.secret(options.url), await opening.secret(options.secret)
        return cls(url.reveal().strip(), secret.reveal().strip(), clock=opening.clock)

    def describe(self) -> str:
        return "a signed webhook"

    async def send(self, notification: Notification) -> str:
        body = encoded(
            {
                "type": f"alert.{notification.phase.value}",
                "timestamp": datetime.fromtimestamp(notification.at, UTC).isoformat(),
                "data": {
                    "incident": notification.incident,
                    "severity": notification.severity,
                    "opened_at": datetime.fromtimestamp(notification.opened_at, UTC).isoformat(),
                    "subject": notification.subject,
                    "text": notification.text,
                    **notification.details,
                },
            }
        )
        answer = await self._poster.post(body, self._headers(notification.id, body))
        if not 200 <= answer.status < 300:
            raise refused("the webhook", answer, settings=_SETTINGS, message=_MESSAGE)
        return f"the webhook answered {answer.status}" + (f": {answer.text}" if answer.text else "")

    async def close(self) -> None:
        await self._poster.close()

    def _headers(self, id: str, body: bytes) -> dict[str, str]:
        at = str(int(self._clock.now()))
        digest = hmac.digest(self._key, b".".join((id.encode(), at.encode(), body)), hashlib.sha256)
        return {
            "content-type": "application/json",
            "user-agent": "turnout",
            "webhook-id": id,
            "webhook-timestamp": at,
            "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
        }


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(_PREFIX) or not 24 <= len(key) <= 64:
        raise SettingsError(
            "`secret`: whsec_ and 24 to 64 bytes in base64 are expected; `openssl rand -base64 32` makes them"
        )
    return key
