"""Messages that wait: none is lost to a channel that is down or hangs, none is sent twice by two processes, and none comes before
the one that it follows."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import pairwise

import pytest
from turnout.config import AlertRule
from turnout.errors import BackendError, Overloaded, SettingsError, Undeliverable
from turnout.interfaces.notifier import Notification
from turnout.interfaces.service import Invocation

from core.tests.services.alerts.alert_yard import AlertYard, Told, ended, failed, info_of, runs

FAILED = AlertRule(channels=("ops",), throttle_s=600)
BOTH = replace(FAILED, channels=("ops", "mail"))


class Hangs(Told):
    """Answers when it is let go, and never before."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = asyncio.Event()
        self.asked = asyncio.Event()

    async def send(self, notification: Notification) -> str:
        self.asked.set()
        await self.let_go.wait()
        return await super().send(notification)


class DiesAfterSending(Told):
    """The first message is taken, and whoever sent it never gets to know."""

    async def send(self, notification: Notification) -> str:
        await super().send(notification)
        if len(self.sent) == 1:
            raise asyncio.CancelledError
        return "taken"


def yard_of(rule: AlertRule, **told: Told) -> AlertYard:
    return AlertYard(rules={"rule": rule}, told=told or {"ops": Told()})


async def fail(yard: AlertYard, id: str) -> None:
    now = yard.clock.now()
    await yard.give(ended(info_of(id, now), now, error=failed(id)))


async def waiting(yard: AlertYard) -> list[tuple[str, str, int, bool]]:
    return [
        (message.channel, message.phase.value, message.tries, message.given_up)
        async for message in yard.outbox.waiting()
    ]


async def test_a_channel_that_is_down_for_hours_gets_all_of_it_once_and_in_its_order() -> None:
    yard = yard_of(FAILED)
    yard.ops.broken = BackendError("no route")
    for number in range(12):
        await fail(yard, f"e{number}")
        await yard.look()
        yard.clock.advance(600)
    await yard.give(*runs([True], yard.clock.now(), first=99))
    await yard.look()
    assert (yard.ops.sent, len(await waiting(yard))) == ([], 13)

    yard.ops.broken = None
    for _ in range(120):
        yard.clock.advance(30)
        await yard.send()

    assert yard.ops.phases == ["opened", *["repeated"] * 11, "resolved"]
    assert len({one.id for one in yard.ops.sent}) == 13
    assert [one.at for one in yard.ops.sent] == sorted(one.at for one in yard.ops.sent)
    assert await waiting(yard) == []


async def test_tries_come_further_and_further_apart_to_half_an_hour() -> None:
    yard = yard_of(FAILED)
    yard.ops.broken = BackendError("no route")
    await fail(yard, "e1")
    tried, began = [], yard.clock.now()

    for _ in range(2 * 3600 // 2):
        before = yard.ops.tries
        await yard.send()
        if yard.ops.tries > before:
            tried.append(yard.clock.now() - began)
        yard.clock.advance(2)

    gaps = [later - earlier for earlier, later in pairwise(tried)]
    assert gaps[:8] == [10, 20, 40, 80, 160, 320, 640, 1280]
    assert all(gap == 1800 for gap in gaps[8:])


async def test_who_asks_to_be_left_alone_is_left_alone() -> None:
    yard = yard_of(FAILED)
    yard.ops.broken = Overloaded("too many", retry_after_s=300)
    await fail(yard, "e1")
    await yard.send()

    yard.ops.broken = None
    yard.clock.advance(299)
    await yard.send()
    assert yard.ops.sent == []

    yard.clock.advance(1)
    await yard.send()
    assert yard.ops.phases == ["opened"]


@pytest.mark.parametrize("error", [BackendError("no route"), SettingsError("wrong password"), RuntimeError("a bug")])
async def test_a_channel_that_fails_for_a_day_is_given_up_and_that_is_told(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    yard = yard_of(FAILED)
    yard.ops.broken = error
    await fail(yard, "e1")
    for _ in range(50):
        await yard.send()
        yard.clock.advance(1800)
    assert [(phase, given_up) for _, phase, _, given_up in await waiting(yard)] == [("opened", True)]
    assert "GIVEN UP, channel ops did not take it" in caplog.text

    yard.ops.broken = None
    await yard.send()
    assert yard.ops.sent == []

    yard.clock.advance(8 * 86400)
    await yard.send()
    assert await waiting(yard) == []


async def test_what_a_channel_refuses_for_good_is_not_tried_again_and_holds_up_nothing() -> None:
    yard = yard_of(replace(FAILED, throttle_s=0))
    yard.ops.broken = Undeliverable("no such text")
    await fail(yard, "e1")
    await yard.send()
    yard.ops.broken = None

    await fail(yard, "e2")
    await yard.send()

    assert yard.ops.phases == ["repeated"]
    assert yard.ops.tries == 2


async def test_a_channel_that_hangs_holds_up_no_other() -> None:
    hangs = Hangs()
    yard = yard_of(BOTH, ops=Told(), mail=hangs)
    sends = {timer.name: timer.handle for timer in yard.service.timers()}
    await fail(yard, "e1")
    hanging = asyncio.ensure_future(sends["alerts-send-mail"](Invocation()))
    await hangs.asked.wait()

    await sends["alerts-send-ops"](Invocation())
    yard.clock.advance(10)
    await yard.give(*runs([True], yard.clock.now(), first=9))
    await sends["alerts-send-ops"](Invocation())

    assert yard.ops.phases == ["opened", "resolved"]
    assert hangs.phases == []
    hangs.let_go.set()
    await hanging
    await yard.send()
    assert hangs.phases == ["opened", "resolved"]


async def test_a_channel_that_hangs_as_it_is_opened_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its secret may come from a server."""
    yard = yard_of(BOTH, ops=Told(), mail=Told())
    opened, find = asyncio.Event(), yard.channels._find

    def slow(kind: str) -> type[Told]:
        class Slow(find(kind)):  # type: ignore[misc]  # a class that is made at that moment
            @classmethod
            async def connect(cls, opening: object) -> object:
                if getattr(opening, "name", "") == "mail":
                    await opened.wait()
                return await super().connect(opening)

        return Slow

    monkeypatch.setattr(yard.channels, "_find", slow)
    await fail(yard, "e1")
    hanging = asyncio.create_task(yard.outbox.send_line("mail", Invocation()))
    await yard.clock.settle()

    await yard.outbox.send_line("ops", Invocation())

    assert yard.ops.phases == ["opened"]
    opened.set()
    await hanging
    assert yard.told["mail"].phases == ["opened"]


async def test_two_processes_that_send_at_once_send_each_message_once() -> None:
    hangs = Hangs()
    yard = yard_of(FAILED, ops=hangs)
    other = yard.another()[2]
    await fail(yard, "e1")

    first = asyncio.create_task(yard.outbox.send_line("ops", Invocation()))
    await hangs.asked.wait()
    second = asyncio.create_task(other.send_line("ops", Invocation()))
    await yard.clock.settle()
    hangs.let_go.set()
    await asyncio.gather(first, second)

    assert hangs.phases == ["opened"]


async def test_a_process_that_dies_between_sending_and_writing_leaves_it_to_another_under_the_same_id() -> None:
    """What is promised: at least once, and who gets it twice can tell."""
    dies = DiesAfterSending()
    yard = yard_of(FAILED, ops=dies)
    await fail(yard, "e1")
    with pytest.raises(asyncio.CancelledError):
        await yard.outbox.send_line("ops", Invocation())
    other = yard.another()[2]

    await other.send_line("ops", Invocation())
    assert len(dies.sent) == 1  # it may be under way still

    yard.clock.advance(61)
    await other.send_line("ops", Invocation())
    await other.send_line("ops", Invocation())

    assert len(dies.sent) == 2
    assert dies.sent[0] == dies.sent[1]


async def test_nobody_hears_that_it_is_over_before_hearing_that_it_began() -> None:
    yard = yard_of(FAILED)
    yard.ops.broken = BackendError("no route")
    await fail(yard, "e1")
    await yard.send()
    yard.ops.broken = None
    yard.clock.advance(1)
    await yard.give(*runs([True], yard.clock.now(), first=9))

    await yard.send()
    assert yard.ops.phases == []

    yard.clock.advance(15)
    await yard.send()
    yard.clock.advance(15)
    await yard.send()
    assert yard.ops.phases == ["opened", "resolved"]


async def test_an_error_with_a_secret_of_the_channel_is_kept_without_it() -> None:
    yard = yard_of(FAILED)
    yard.channels._secrets["ops"] = {"hunter2-the-password"}
    yard.ops.broken = BackendError("cannot log in with hunter2-the-password")
    await fail(yard, "e1")

    await yard.send()

    [message] = [message async for message in yard.outbox.waiting()]
    assert "hunter2" not in message.error
    assert message.error.startswith("cannot log in with ")


async def test_a_call_that_has_little_time_left_begins_no_message() -> None:
    yard = yard_of(FAILED)
    await fail(yard, "e1")

    await yard.outbox.send_line("ops", Invocation(remaining_s=lambda: 20.0))

    assert (yard.ops.tries, len(await waiting(yard))) == (0, 1)
