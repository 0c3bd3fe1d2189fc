"""The other sides of the channels: what moto's server holds of mails and messages, behind a gate that refuses as AWS documents."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Mapping, Sequence
from email.header import decode_header, make_header
from typing import Any

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.ses.models import ses_backends
from moto.sns.models import sns_backends
from turnout.testing.notifier import Answering, Arrival

from .gate import NO_ANSWER, Answer, Gate, refusal, xml_refusal

__all__ = ["REGION", "SesSide", "SmsSide", "TopicSide"]

REGION = "eu-central-1"


class _Side:
    secrets: Sequence[str] = ("testing-secret",)
    answers = frozenset(Answering)
    refusals: Mapping[Answering, Answer]

    def __init__(self, gate: Gate) -> None:
        self.gate = gate

    async def answer(self, how: Answering) -> None:
        answer = None if how is Answering.TAKES else NO_ANSWER if how is Answering.GONE else self.refusals[how]
        self.gate.answer = lambda asked: answer


def _refusals(refuse: Callable[..., Answer], refused: tuple[str, str], busy: str, busy_status: int) -> Any:
    return {
        Answering.REFUSES: refuse(*refused),
        Answering.BUSY: refuse(busy, "Rate exceeded", busy_status),
        Answering.FAILS: refuse("InternalFailure", "it failed", 500),
        Answering.UNAUTHORISED: refuse("AccessDenied", "User: turnout is not authorized to perform this", 403),
    }


class SesSide(_Side):
    refusals = _refusals(
        refusal, ("MessageRejected", "The message has content that is not taken."), "TooManyRequestsException", 429
    )

    def __init__(self, gate: Gate) -> None:
        super().__init__(gate)
        self.backend: Any = ses_backends[DEFAULT_ACCOUNT_ID][REGION]
        self.backend.reset()
        self.backend.verify_email_identity("alerts@shop.example")

    @property
    def mails(self) -> list[Any]:
        """As the server holds them."""
        return list(self.backend.sent_messages)

    async def arrivals(self) -> Sequence[Arrival]:
        return [_as_read(mail) for mail in self.mails]


def _as_read(mail: Any) -> Arrival:
    found = re.search(r"<p>(.*?)</p>\n<p><small>\w+, (\w+), (.*?)</small>", mail.body, re.DOTALL)
    assert found is not None
    return Arrival(
        incident=found[3],
        over=found[2] == "resolved",
        subject=str(make_header(decode_header(mail.subject))) if "=?" in mail.subject else mail.subject,
        text=html.unescape(found[1].replace("<br>\n", "\n")),
    )


class SmsSide(_Side):
    refusals = _refusals(xml_refusal, ("InvalidParameter", "Invalid parameter: Message too long"), "Throttling", 400)

    def __init__(self, gate: Gate) -> None:
        super().__init__(gate)
        self.backend: Any = sns_backends[DEFAULT_ACCOUNT_ID][REGION]
        self.backend.reset()

    @property
    def messages(self) -> list[tuple[str, str]]:
        """As the server holds them: numbers, and texts."""
        return list(self.backend.sms_messages.values())

    async def arrivals(self) -> Sequence[Arrival]:
        return [_read(text) for _, text in self.messages]


class TopicSide(_Side):
    refusals = SmsSide.refusals

    def __init__(self, gate: Gate, name: str = "alerts", **attributes: str) -> None:
        super().__init__(gate)
        self.backend: Any = sns_backends[DEFAULT_ACCOUNT_ID][REGION]
        self.backend.reset()
        self.arn: str = self.backend.create_topic(name, attributes).arn

    @property
    def notes(self) -> list[Any]:
        return list(self.backend.topics[self.arn].sent_notifications)

    async def arrivals(self) -> Sequence[Arrival]:
        return [_read(json.loads(note[1])["default"]) for note in self.notes]


def _read(text: str) -> Arrival:
    """The subject stands on the first line, the incident on the last."""
    subject, _, rest = text.partition("\n")
    body, _, tail = rest.rpartition("\n")
    incident, _, phase = tail.partition(" ")
    return Arrival(incident=incident, over=phase == "resolved", subject=subject, text=body.removesuffix("\n"))
