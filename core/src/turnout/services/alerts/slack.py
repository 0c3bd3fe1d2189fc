"""Slack, through an incoming webhook: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks"""

from __future__ import annotations

from typing import Any, ClassVar, Final, Self

from pydantic import BaseModel, ConfigDict

from turnout.interfaces.notifier import Notification, Notifier, Phase, Reference
from turnout.interfaces.opening import Opening
from turnout.services.alerts.posting import Poster, checked_url, encoded, refused

__all__ = ["SlackNotifier"]

_HEADER_LENGTH: Final = 150
_SECTION_LENGTH: Final = 3000
_SETTINGS: Final = frozenset({401, 403, 404, 410})
"""`invalid_token`, `action_prohibited`, `channel_not_found`, `channel_is_archived`."""
_MESSAGE: Final = frozenset({400, 413})
_SIGNS: Final = {"info": "ℹ️", "warning": "⚠️", "error": "🔴", "critical": "🚨"}


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid")

    url: Reference
    """The webhook's URL, which is a secret: who knows it may write into the channel."""


class SlackNotifier(Notifier):
    """Messages as Block Kit. All that is anybody's words stands in `plain_text`, which Slack does not read for markup, mentions
    or links; the text for notifications, which it does read, is escaped."""

    options: ClassVar[type[BaseModel]] = _Options

    def __init__(self, url: str) -> None:
        self._poster = Poster("Slack", checked_url(url, "the webhook's URL"))

    @classmethod
    async def connect(cls, opening: Opening) -> Self:
        options = opening.read(_Options)
        return cls((await opening.secret(options.url)).reveal().strip())

    def describe(self) -> str:
        return "an incoming webhook of Slack"

    async def send(self, notification: Notification) -> str:
        answer = await self._poster.post(
            encoded(_message(notification)), {"content-type": "application/json; charset=utf-8"}
        )
        if answer.status != 200:
            raise refused("Slack", answer, settings=_SETTINGS, message=_MESSAGE)
        return f"Slack answered {answer.status}: {answer.text}"

    async def close(self) -> None:
        await self._poster.close()


def _message(notification: Notification) -> dict[str, Any]:
    over = notification.phase is Phase.RESOLVED
    sign = "✅" if over else _SIGNS.get(notification.severity, "🔴")
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": _plain(f"{sign} {notification.subject}", _HEADER_LENGTH)},
        {"type": "section", "text": _plain(notification.text or notification.subject, _SECTION_LENGTH)},
        {
            "type": "context",
            "elements": [
                _plain(f"{notification.severity} · {notification.phase.value} · {notification.incident}", 200)
            ],
        },
    ]
    return {
        "text": _escaped(f"{sign} {notification.subject}"),
        "blocks": blocks,
        "link_names": False,
        "unfurl_links": False,
        "unfurl_media": False,
    }


def _plain(text: str, most: int) -> dict[str, Any]:
    return {"type": "plain_text", "text": text if len(text) <= most else f"{text[: most - 1]}…", "emoji": True}


def _escaped(text: str) -> str:
    """As Slack asks: https://docs.slack.dev/messaging/formatting-message-text#escaping"""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
