"""Channels that each break a promise, and the tests of the contract that must notice it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from turnout.errors import BackendError, SettingsError, Undeliverable
from turnout.interfaces.notifier import Notification, Notifier, Phase
from turnout.testing.notifier import Answering, Arrival, NotifierContract

from core.tests.local.contract_runs import run_contract

KEY = "hunter22-key"


class Mailbox:
    """Takes messages in memory."""

    secrets: Sequence[str] = (KEY,)
    answers = frozenset(Answering)

    def __init__(self) -> None:
        self.how = Answering.TAKES
        self.taken: list[Arrival] = []

    async def arrivals(self) -> Sequence[Arrival]:
        return list(self.taken)

    async def answer(self, how: Answering) -> None:
        self.how = how

    def take(self, arrival: Arrival) -> None:
        match self.how:
            case Answering.TAKES:
                self.taken.append(arrival)
            case Answering.REFUSES:
                raise Undeliverable("the mailbox refuses it")
            case Answering.UNAUTHORISED:
                raise SettingsError("the mailbox does not take the key")
            case _:
                raise BackendError("the mailbox is not there now")


class Whole(Notifier):
    """Keeps every promise."""

    def __init__(self, other: Mailbox) -> None:
        self._other = other

    async def send(self, notification: Notification) -> str:
        self._other.take(self._read(notification))
        return "the mailbox has it"

    def _read(self, notification: Notification) -> Arrival:
        over = notification.phase is Phase.RESOLVED
        return Arrival(incident=notification.incident, over=over, subject=notification.subject, text=notification.text)

    def describe(self) -> str:
        return "a mailbox"

    async def close(self) -> None:
        """Nothing is held open."""


class LosesTheText(Whole):
    def _read(self, notification: Notification) -> Arrival:
        return replace(super()._read(notification), text="")


class SaysNothing(Whole):
    async def send(self, notification: Notification) -> str:
        await super().send(notification)
        return " "


class NeverEnds(Whole):
    def _read(self, notification: Notification) -> Arrival:
        return replace(super()._read(notification), over=False)


class ReadsMarkup(Whole):
    def _read(self, notification: Notification) -> Arrival:
        arrival = super()._read(notification)
        return replace(arrival, text=arrival.text.replace("<!channel>", "@channel"))


class ChokesOnLength(Whole):
    async def send(self, notification: Notification) -> str:
        if len(notification.text) > 3000:
            raise Undeliverable("too long")
        return await super().send(notification)


class TellsItsKey(Whole):
    async def send(self, notification: Notification) -> str:
        try:
            return await super().send(notification)
        except SettingsError as error:
            raise SettingsError(f"{error}: {KEY}") from None


class GivesUp(Whole):
    """After a failure it takes nothing any more."""

    failed = False

    async def send(self, notification: Notification) -> str:
        if self.failed:
            return "the mailbox had it"
        try:
            return await super().send(notification)
        except (BackendError, SettingsError):
            self.failed = True
            raise


class OneAtATime(Whole):
    busy = False

    async def send(self, notification: Notification) -> str:
        if self.busy:
            return "the mailbox is busy"
        self.busy = True
        await asyncio.sleep(0)
        self.busy = False
        return await super().send(notification)


class DescribesItsKey(Whole):
    def describe(self) -> str:
        return f"a mailbox with {KEY}"


class ClosesOnce(Whole):
    closed = False

    async def close(self) -> None:
        assert not self.closed
        self.closed = True


CAUGHT: dict[type[Whole], str] = {
    LosesTheText: "a_message_arrives_with_its_words",
    SaysNothing: "it_returns_what_the_other_side_said_on_one_line",
    NeverEnds: "messages_of_one_incident_have_its_key_and_its_end_is_told_as_one",
    ReadsMarkup: "anybodys_words_arrive_as_they_are_and_as_nothing_else",
    ChokesOnLength: "the_longest_message_arrives",
    TellsItsKey: "what_is_not_taken_is_an_error_that_says_whether_to_try_again",
    GivesUp: "what_was_not_taken_is_taken_when_it_is_tried_again",
    OneAtATime: "several_may_be_under_way_at_once",
    DescribesItsKey: "its_description_has_no_secret",
    ClosesOnce: "closing_again_changes_nothing",
}


class TestWhole(NotifierContract):
    @pytest.fixture
    def other(self) -> Mailbox:
        return Mailbox()

    @pytest.fixture
    def notifier(self, other: Mailbox) -> Whole:
        return Whole(other)


@pytest.mark.parametrize("broken", CAUGHT, ids=lambda broken: broken.__name__)
async def test_a_broken_promise_is_noticed(broken: type[Whole]) -> None:
    def fixtures() -> dict[str, Any]:
        other = Mailbox()
        return {"notifier": broken(other), "other": other}

    with pytest.raises((AssertionError, BackendError, pytest.fail.Exception)):
        await run_contract(NotifierContract, CAUGHT[broken], fixtures)


def test_every_promise_has_a_broken_channel() -> None:
    promises = {name.removeprefix("test_") for name in dir(NotifierContract) if name.startswith("test_")}

    assert promises == set(CAUGHT.values())
