"""The promises of `turnout.interfaces.notifier`, one test each. Subclass `NotifierContract`; give `notifier` and `other`.

`other` is the other side: a server that takes messages, keeps them, and can be told to refuse them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Protocol

import pytest

from turnout.errors import BackendError, SettingsError, Undeliverable
from turnout.interfaces.notifier import LONGEST_SUBJECT, LONGEST_TEXT, Notification, Notifier, Phase

__all__ = ["Answering", "Arrival", "NotifierContract", "OtherSide", "notification"]


class Answering(StrEnum):
    """What the other side does with the next messages: `refuses` this message, is `busy` or `fails` for now, takes no message
    with what the channel is set up with (`unauthorised`), does not answer (`gone`)."""

    TAKES = "takes"
    REFUSES = "refuses"
    BUSY = "busy"
    FAILS = "fails"
    UNAUTHORISED = "unauthorised"
    GONE = "gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A message as who gets it reads it, decoded. `subject` and `text` may be empty where a message only says that its incident
    is over."""

    incident: str
    over: bool
    subject: str = ""
    text: str = ""


class OtherSide(Protocol):
    secrets: Sequence[str]
    """What the channel is set up with that nobody may see."""
    answers: frozenset[Answering]
    """What it can be told to do."""

    async def arrivals(self) -> Sequence[Arrival]:
        """What has come, in order."""

    async def answer(self, how: Answering) -> None: ...


_HOSTILE: Final = (
    "<script>alert(1)</script> & <b>bold</b>",
    "<!channel> <@U024BE7LH> @here *bold* `code` <https://evil.example|bank.example>",
    "Bcc: mallory@example.com",
    "%0d%0aBcc: mallory@example.com",
    "{{ 7 * 7 }} ${{ secrets }} {% raw %}",
    '","event_action":"resolve","x":"',
    ".",
    "'; DROP TABLE alerts; --",
    "Zürich 🚂 日本 ≤",
    "=?utf-8?q?Bcc=3A?= =3D",
)


def notification(
    phase: Phase = Phase.OPENED,
    *,
    incident: str = "4f1d",
    number: int = 1,
    subject: str = "Executions fail",
    **more: Any,
) -> Notification:
    usual: dict[str, Any] = {
        "severity": "error",
        "at": 1_700_000_000.0,
        "opened_at": 1_700_000_000.0,
        "text": "Executions fail.\n\nhttp_503 in step post: the ERP is closed",
        "details": {"customer": "acme", "flow": "import", "kind": "failed"},
    }
    return Notification(id=f"{incident}-{number}", incident=incident, phase=phase, subject=subject, **{**usual, **more})


class NotifierContract:
    """Each test is one sentence of the interface."""

    @pytest.fixture
    def other(self) -> Any:
        raise NotImplementedError("override the fixture `other`")

    @pytest.fixture
    def notifier(self, other: OtherSide) -> Any:
        raise NotImplementedError("override the fixture `notifier`")

    async def test_a_message_arrives_with_its_words(self, notifier: Notifier, other: OtherSide) -> None:
        await notifier.send(notification())

        [arrival] = await other.arrivals()
        assert "Executions fail" in arrival.subject
        assert "http_503 in step post: the ERP is closed" in arrival.text

    async def test_it_returns_what_the_other_side_said_on_one_line(self, notifier: Notifier) -> None:
        said = await notifier.send(notification())

        assert said.strip()
        assert said.isprintable()

    async def test_messages_of_one_incident_have_its_key_and_its_end_is_told_as_one(
        self, notifier: Notifier, other: OtherSide
    ) -> None:
        for number, phase in enumerate((Phase.OPENED, Phase.REPEATED, Phase.RESOLVED), start=1):
            await notifier.send(notification(phase, number=number))
        await notifier.send(notification(incident="77aa"))

        arrivals = await other.arrivals()
        assert [(one.incident, one.over) for one in arrivals] == [
            ("4f1d", False),
            ("4f1d", False),
            ("4f1d", True),
            ("77aa", False),
        ]

    @pytest.mark.parametrize("words", _HOSTILE)
    async def test_anybodys_words_arrive_as_they_are_and_as_nothing_else(
        self, notifier: Notifier, other: OtherSide, words: str
    ) -> None:
        await notifier.send(notification(subject=words, text=f"before\n{words}\nafter", details={"customer": words}))

        [arrival] = await other.arrivals()
        assert arrival.over is False
        assert words in arrival.subject
        assert f"before\n{words}\nafter" in arrival.text

    async def test_the_longest_message_arrives(self, notifier: Notifier, other: OtherSide) -> None:
        await notifier.send(notification(subject="ü" * LONGEST_SUBJECT, text="ü" * LONGEST_TEXT))

        [arrival] = await other.arrivals()
        assert "ü" * 50 in arrival.subject
        assert "ü" * 50 in arrival.text

    @pytest.mark.parametrize(
        ("how", "error"),
        [
            (Answering.REFUSES, Undeliverable),
            (Answering.BUSY, BackendError),
            (Answering.FAILS, BackendError),
            (Answering.UNAUTHORISED, SettingsError),
            (Answering.GONE, BackendError),
        ],
    )
    async def test_what_is_not_taken_is_an_error_that_says_whether_to_try_again(
        self, notifier: Notifier, other: OtherSide, how: Answering, error: type[Exception]
    ) -> None:
        if how not in other.answers:
            return
        await other.answer(how)

        with pytest.raises(error) as caught:
            await notifier.send(notification())

        assert isinstance(caught.value, Undeliverable) == (how is Answering.REFUSES)
        assert [secret for secret in other.secrets if secret in f"{caught.value!s} {caught.value!r}"] == []
        assert await other.arrivals() == []

    @pytest.mark.parametrize("how", [Answering.BUSY, Answering.FAILS, Answering.UNAUTHORISED])
    async def test_what_was_not_taken_is_taken_when_it_is_tried_again(
        self, notifier: Notifier, other: OtherSide, how: Answering
    ) -> None:
        if how not in other.answers:
            return
        await other.answer(how)
        with pytest.raises((BackendError, SettingsError)):
            await notifier.send(notification())

        await other.answer(Answering.TAKES)
        await notifier.send(notification())

        assert len(await other.arrivals()) == 1

    async def test_several_may_be_under_way_at_once(self, notifier: Notifier, other: OtherSide) -> None:
        await asyncio.gather(*(notifier.send(notification(incident=f"i{number}")) for number in range(8)))

        assert sorted(one.incident for one in await other.arrivals()) == [f"i{number}" for number in range(8)]

    async def test_its_description_has_no_secret(self, notifier: Notifier, other: OtherSide) -> None:
        assert [secret for secret in other.secrets if secret in f"{notifier.describe()} {notifier!r}"] == []

    async def test_closing_again_changes_nothing(self, notifier: Notifier) -> None:
        await notifier.send(notification())
        await notifier.close()

        await notifier.close()
