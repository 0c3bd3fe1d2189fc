"""Rules and channels that are changed or removed while incidents go on: whoever heard of one hears that it is over."""

from __future__ import annotations

from dataclasses import replace

import pytest
from turnout.config import AlertKind, AlertRule, QuietPeriod, Severity
from turnout.services.alerts.watch import ConnectionHealth

from core.tests.services.alerts.alert_yard import AlertYard, Told, ended, failed, info_of, runs

FAILED = AlertRule(channels=("ops",))
MINUTES = 60.0


def after(before: AlertYard, rules: dict[str, AlertRule], told: dict[str, Told] | None = None) -> AlertYard:
    """The next version of the project, on the same stores."""
    return AlertYard(
        rules=rules,
        catalog=before.catalog,
        clock=before.clock,
        records=before.records,
        told=before.told if told is None else told,
    )


async def pass_minutes(yard: AlertYard, minutes: int) -> None:
    for _ in range(minutes):
        yard.clock.advance(MINUTES)
        await yard.look()


async def broken(rules: dict[str, AlertRule], told: dict[str, Told] | None = None) -> AlertYard:
    """A yard in which an incident of each rule of failures was told."""
    yard = AlertYard(rules=rules, told=told or {"ops": Told()})
    await yard.give(ended(info_of("e1", yard.clock.now()), yard.clock.now(), error=failed()))
    await yard.look()
    return yard


@pytest.mark.parametrize("left", [{}, {"another": AlertRule(channels=("ops",), customers=("nobody",))}])
async def test_the_incident_of_a_rule_that_is_removed_is_over_for_who_heard_of_it(left: dict[str, AlertRule]) -> None:
    yard = after(await broken({"rule": replace(FAILED, severity=Severity.CRITICAL)}), left)

    await pass_minutes(yard, 25)

    assert yard.ops.phases == ["opened", "resolved"]
    opened, resolved = yard.ops.sent
    assert (opened.incident, opened.severity) == (resolved.incident, resolved.severity)
    assert "no rule is about it any more" in resolved.text
    assert await yard.alerts() == []


async def test_without_rules_the_timers_still_tell_that_it_is_over() -> None:
    yard = after(await broken({"rule": FAILED}), {})

    assert {timer.name for timer in yard.service.timers()} == {"alerts-send-ops", "alerts-look", "alerts-watch"}
    assert AlertYard(rules={}, told={}).service.timers() == ()


async def test_a_rule_that_one_process_does_not_know_for_some_minutes_stays() -> None:
    """As while a new version is rolled out: the old one runs on beside it."""
    new = await broken({"rule": FAILED})
    old = after(new, {})

    await pass_minutes(new, 11)
    await pass_minutes(old, 5)
    await pass_minutes(new, 60)

    assert new.ops.phases == ["opened"]
    [alert] = await new.alerts()
    assert alert.left_at is None


async def test_an_incident_that_nobody_heard_of_is_over_without_a_word() -> None:
    all_day = QuietPeriod(start=0, end=24 * 60 - 1)
    yard = after(await broken({"rule": replace(FAILED, quiet=all_day)}), {})

    await pass_minutes(yard, 25)

    assert yard.ops.sent == []
    assert await yard.alerts() == []


@pytest.mark.parametrize(
    "rule",
    [
        replace(FAILED, customers=("globex",)),
        replace(FAILED, flows=("other",)),
        AlertRule(kind=AlertKind.CONNECTION, channels=("ops",)),
    ],
)
async def test_what_a_changed_rule_is_no_longer_about_is_over(rule: AlertRule) -> None:
    yard = after(await broken({"rule": FAILED}), {"rule": rule})

    await pass_minutes(yard, 25)

    assert yard.ops.phases == ["opened", "resolved"]


async def test_a_connection_of_a_customer_whom_the_rule_leaves_out_now_is_over() -> None:
    everybody = AlertRule(kind=AlertKind.CONNECTION, channels=("ops",))
    before = AlertYard(rules={"rule": everybody})
    before.connections = [ConnectionHealth(customer="acme", name="erp", broken="its password is refused")]
    await before.look()
    yard = after(before, {"rule": replace(everybody, customers=("globex",))})
    yard.connections = before.connections

    await pass_minutes(yard, 25)

    assert yard.ops.phases == ["opened", "resolved"]


async def test_a_channel_that_the_rule_does_not_name_any_more_hears_that_it_is_over_and_a_new_one_nothing() -> None:
    told = {"pager": Told(), "mail": Told()}
    yard = after(
        await broken({"rule": replace(FAILED, channels=("pager",))}, told),
        {"rule": replace(FAILED, channels=("mail",))},
    )

    await yard.give(*runs([True], yard.clock.now() + 1, first=2))
    await yard.look()

    assert told["pager"].phases == ["opened", "resolved"]
    assert told["mail"].phases == []


async def test_a_channel_that_is_new_hears_that_it_goes_on_and_that_it_is_over() -> None:
    told = {"pager": Told(), "mail": Told()}
    both = replace(FAILED, channels=("pager", "mail"), throttle_s=0)
    yard = after(await broken({"rule": replace(both, channels=("pager",))}, told), {"rule": both})

    await yard.give(*runs([False, True], yard.clock.now() + 1, first=2))
    await yard.look()

    assert told["pager"].phases == ["opened", "repeated", "resolved"]
    assert told["mail"].phases == ["repeated", "resolved"]


async def test_messages_for_a_channel_that_is_gone_are_given_up_after_a_day_and_told_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told = {"gone": Told(), "ops": Told()}
    before = AlertYard(rules={"rule": replace(FAILED, channels=("gone", "ops"))}, told=told)
    await before.give(*runs([False], before.clock.now()))
    yard = after(before, {"rule": FAILED}, {"ops": told["ops"]})

    await pass_minutes(yard, 60)
    assert [message.channel async for message in yard.outbox.waiting()] == ["gone"]
    yard.clock.advance(24 * 3600)
    await yard.look()

    assert [message async for message in yard.outbox.waiting()] == []
    assert "GIVEN UP, there is no channel gone any more" in caplog.text
    assert told["ops"].phases == ["opened"]


async def test_a_channel_that_comes_back_within_the_day_gets_what_waited() -> None:
    told = {"away": Told()}
    before = AlertYard(rules={"rule": replace(FAILED, channels=("away",))}, told=told)
    await before.give(*runs([False], before.clock.now()))
    await pass_minutes(after(before, {}, {"other": Told()}), 5)

    await before.look()

    assert told["away"].phases == ["opened"]


async def test_a_rule_that_is_removed_can_be_ended_by_hand_at_once() -> None:
    yard = after(await broken({"rule": FAILED}), {})
    [document] = [document async for document in yard.book.every()]

    assert await yard.book.resolve(document, "ada")
    await yard.send()

    assert yard.ops.phases == ["opened", "resolved"]
    assert "this is over, ada" in yard.ops.sent[-1].text
