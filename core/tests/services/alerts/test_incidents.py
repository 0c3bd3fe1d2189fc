"""Rules over what happened: in any order, any number of times, by any number of processes, an incident begins once and ends once."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turnout.config import AlertKind, AlertRule, Resolve
from turnout.interfaces.catalog import Address, CatalogChange, CatalogEntry
from turnout.interfaces.records import RecordBatch
from turnout.interfaces.service import Delivery, Invocation
from turnout.local.memory_catalog import MemoryCatalog
from turnout.model.definition import Flow, Integration, Trigger
from turnout.model.execution import ErrorInfo, Status
from turnout.services.submission import Instance
from turnout.testing.records import created

from core.tests.services.alerts.alert_yard import AlertYard, ended, failed, info_of, logged, runs

FAILED = AlertRule(channels=("ops",))
THREE_OF_FIVE = AlertRule(channels=("ops",), at_least=3, of=5)
T = 1_700_000_000.0


def yard_of(rule: AlertRule) -> AlertYard:
    return AlertYard(rules={"rule": rule})


async def test_a_failure_is_told_once_and_the_next_success_once() -> None:
    yard = yard_of(FAILED)

    for one in [*runs([False], T), *runs([True], T + 10, first=1)] * 2:
        await yard.give(one)
    await yard.send()

    assert yard.ops.phases == ["opened", "resolved"]
    assert len({one.incident for one in yard.ops.sent}) == 1
    assert "http_503 in step post: the ERP is closed" in yard.ops.sent[0].text


async def test_successes_alone_say_nothing() -> None:
    yard = yard_of(FAILED)

    await yard.give(*runs([True] * 5, T))
    await yard.send()

    assert yard.ops.sent == []


async def test_a_failure_that_is_heard_of_late_changes_nothing_after_a_success() -> None:
    yard = yard_of(FAILED)
    early, late = runs([False, True], T)

    await yard.give(late)
    await yard.give(early)
    await yard.send()

    assert yard.ops.sent == []


async def test_three_of_the_last_five_have_to_fail() -> None:
    yard = yard_of(THREE_OF_FIVE)

    await yard.give(*runs([False, True, False, True], T))
    await yard.send()
    assert yard.ops.sent == []

    await yard.give(*runs([False], T + 10, first=10))
    await yard.send()
    assert yard.ops.phases == ["opened"]

    await yard.give(*runs([True, True], T + 20, first=20))
    await yard.send()
    assert yard.ops.phases == ["opened", "resolved"]


async def test_two_that_fail_long_apart_are_not_three_of_five() -> None:
    yard = yard_of(THREE_OF_FIVE)

    await yard.give(*runs([False, False, True, True, True, False, True, True, True, False], T))
    await yard.send()

    assert yard.ops.sent == []


async def test_ends_out_of_their_order_count_by_when_they_ended() -> None:
    yard = yard_of(THREE_OF_FIVE)
    ends = runs([False, False, False, True, True, True, True], T)

    for end in reversed(ends):
        await yard.give(end)
    await yard.send()

    assert yard.ops.sent == []


async def test_what_goes_on_is_told_again_once_per_throttle() -> None:
    yard = yard_of(FAILED)

    for hour in range(4):
        for number in range(6):
            await yard.give(*runs([False], yard.clock.now(), first=100 * hour + number))
            await yard.look()
            yard.clock.advance(600)

    assert yard.ops.phases == ["opened", "repeated", "repeated", "repeated"]
    assert yard.ops.sent[-1].text.startswith("Executions fail, 19 times")


async def test_what_goes_on_and_off_is_told_once_per_throttle() -> None:
    yard = yard_of(FAILED)

    for number in range(12):
        await yard.give(*runs([number % 2 == 1], yard.clock.now(), first=number))
        await yard.look()
        yard.clock.advance(120)

    assert yard.ops.phases == ["opened", "resolved"]


async def test_what_began_again_within_the_throttle_and_stays_is_told_when_that_is_over() -> None:
    yard = yard_of(FAILED)
    await yard.give(*runs([False, True, False], yard.clock.now()))
    await yard.look()
    assert yard.ops.phases == ["opened", "resolved"]

    yard.clock.advance(3600)
    await yard.look()

    assert yard.ops.phases == ["opened", "resolved", "opened"]
    assert yard.ops.sent[0].incident != yard.ops.sent[2].incident


async def test_a_resumed_execution_that_then_succeeds_resolves_what_its_failure_began() -> None:
    yard = yard_of(FAILED)
    info = info_of("e1", T)

    await yard.give(ended(info, T + 1, error=failed()), ended(info, T + 500))
    await yard.send()

    assert yard.ops.phases == ["opened", "resolved"]


@pytest.mark.parametrize(("status", "told"), [(Status.CANCELLED, []), (Status.PARKED, ["opened"])])
async def test_a_cancelled_execution_says_nothing_and_a_parked_one_does(status: Status, told: list[str]) -> None:
    yard = yard_of(FAILED)

    await yard.give(ended(info_of("e1", T), T + 1, status=status))
    await yard.send()

    assert yard.ops.phases == told


async def test_what_fails_in_a_called_flow_is_its_callers_to_tell() -> None:
    yard = yard_of(FAILED)

    await yard.give(ended(info_of("e1-0123456789", T, parent="e1"), T + 1, error=failed()))
    await yard.send()

    assert yard.ops.sent == []


async def test_a_rule_is_about_what_its_globs_fit() -> None:
    rule = AlertRule(channels=("ops",), customers=("acme", "glob*"), flows=("im?ort",))
    yard = yard_of(rule)

    for tenant, flow in (("acme", "import"), ("globex", "import"), ("initech", "import"), ("acme", "export")):
        await yard.give(ended(info_of(f"{tenant}{flow}", T, tenant=tenant, flow=flow), T + 1, error=failed()))
    await yard.send()

    assert {(one.details["customer"], one.details["flow"]) for one in yard.ops.sent} == {
        ("acme", "import"),
        ("globex", "import"),
    }


async def test_customers_are_told_of_apart() -> None:
    yard = yard_of(FAILED)

    await yard.give(
        ended(info_of("a", T, tenant="acme"), T, error=failed()), ended(info_of("b", T, tenant="globex"), T + 1)
    )
    await yard.send()

    assert [one.details["customer"] for one in yard.ops.sent] == ["acme"]


async def test_log_lines_of_a_level_are_told_and_are_over_when_none_came_for_a_while() -> None:
    yard = yard_of(AlertRule(kind=AlertKind.LOG, level="warning", channels=("ops",), resolve_after_s=1800))
    info = info_of("e1", T)

    await yard.give(logged(info, T, "fine", level="info"), logged(info, T + 1, "odd", level="warning"))
    await yard.look()
    yard.clock.advance(1000)
    await yard.give(logged(info, T + 2, "broken"))
    yard.clock.advance(1000)
    await yard.look()
    assert yard.ops.phases == ["opened"]

    yard.clock.advance(1000)
    await yard.look()
    await yard.look()
    assert yard.ops.phases == ["opened", "resolved"]
    assert "warning: odd" in yard.ops.sent[0].text


async def test_an_execution_that_took_too_long_is_told_and_a_quick_one_resolves_it() -> None:
    yard = yard_of(AlertRule(kind=AlertKind.DURATION, longer_than_s=60, channels=("ops",)))

    await yard.give(ended(info_of("slow", T), T + 61))
    await yard.give(ended(info_of("quick", T + 70), T + 100))
    await yard.send()

    assert yard.ops.phases == ["opened", "resolved"]


async def test_a_manual_rule_ends_by_hand_alone_and_begins_anew_with_what_comes_after() -> None:
    yard = yard_of(AlertRule(channels=("ops",), resolve=Resolve.MANUAL, throttle_s=0))
    await yard.give(*runs([False, True, True], T))
    await yard.send()
    [document] = [document async for document in yard.book.every()]

    assert await yard.book.resolve(document, "ada")
    assert not await yard.book.resolve(document, "ada")
    await yard.give(*runs([False], T))  # again
    await yard.send()
    assert yard.ops.phases == ["opened", "resolved"]

    await yard.give(*runs([False], T + 100, first=9))
    await yard.send()
    assert yard.ops.phases == ["opened", "resolved", "opened"]


async def test_a_dead_letter_goes_on_however_many_runs_end_well() -> None:
    yard = yard_of(AlertRule(kind=AlertKind.DEAD_LETTER, channels=("ops",)))

    await yard.give(ended(info_of("dead", T), T, error=ErrorInfo(kind="dead_letter", message="given up")))
    for number in range(400):
        await yard.give(ended(info_of(f"ok{number}", T + 1 + number), T + 1 + number))
    await yard.send()

    assert yard.ops.phases == ["opened"]


async def test_a_flow_that_ran_within_the_interval_is_not_overdue_until_the_next_is_over() -> None:
    yard = yard_of(AlertRule(kind=AlertKind.OVERDUE, channels=("ops",), expect_s=3600, grace_s=0))
    flows = {"import": Flow(name="import", trigger=Trigger())}
    integration = Integration(name="orders", version="1.0.0", flows=flows)
    yard.instances = [Instance(name="acme-orders", tenant="acme", bundle="b", settings="s", integration=integration)]
    await yard.look()
    early = created(info_of("early", yard.clock.now() + 1800), status=Status.SUCCEEDED)
    await yard.records.apply(RecordBatch(position=1, executions=(early,)))

    yard.clock.advance(3601)
    await yard.look()
    assert yard.ops.phases == []

    yard.clock.advance(1800)
    await yard.look()
    assert yard.ops.phases == ["opened"]


class YieldingCatalog(MemoryCatalog):
    """Lets others run before and after each call, as a server would."""

    async def get(self, address: Address) -> CatalogEntry | None:
        await asyncio.sleep(0)
        found = await super().get(address)
        await asyncio.sleep(0)
        return found

    async def write(self, *changes: CatalogChange) -> bool:
        await asyncio.sleep(0)
        return await super().write(*changes)


async def told_of(
    rule: AlertRule, batches: Sequence[Sequence[Delivery]], owners: Sequence[int], *, order: int
) -> AlertYard:
    """Batches handed to two processes, beside each other."""
    yard = AlertYard(rules={"rule": rule}, catalog=YieldingCatalog())
    processes = (yard.service, yard.another()[0])
    lines: tuple[list[Sequence[Delivery]], list[Sequence[Delivery]]] = ([], [])
    for batch, owner in zip(batches, owners, strict=True):
        lines[owner].append(batch)

    async def work(number: int) -> None:
        for batch in lines[number]:
            assert list(await processes[number].handle(batch, Invocation())) == []

    numbers = [0, 1]
    random.Random(order).shuffle(numbers)
    await asyncio.gather(*(work(number) for number in numbers))
    await yard.send()
    return yard


@st.composite
def told_twice(draw: st.DrawFn) -> tuple[list[bool], list[list[int]], list[int], int]:
    outcomes = draw(st.lists(st.booleans(), min_size=1, max_size=12))
    indexes = st.integers(0, len(outcomes) - 1)
    given_ = draw(st.permutations(range(len(outcomes)))) + draw(st.lists(indexes, max_size=10))
    batches: list[list[int]] = []
    while given_:
        size = draw(st.integers(1, 4))
        batches.append(given_[:size])
        given_ = given_[size:]
    owners = draw(st.lists(st.integers(0, 1), min_size=len(batches), max_size=len(batches)))
    return outcomes, batches, owners, draw(st.integers(0, 99))


@given(told_twice(), st.sampled_from([FAILED, THREE_OF_FIVE, AlertRule(channels=("ops",), throttle_s=0)]))
def test_whatever_the_order_each_incident_begins_once_and_ends_once(
    case: tuple[list[bool], list[list[int]], list[int], int], rule: AlertRule
) -> None:
    outcomes, batches, owners, order = case
    ends = runs(outcomes, T)

    async def check() -> None:
        yard = await told_of(rule, [[ends[index] for index in batch] for batch in batches], owners, order=order)
        [alert] = await yard.alerts()
        phases: dict[str, Counter[str]] = {}
        for one in yard.ops.sent:
            phases.setdefault(one.incident, Counter())[one.phase.value] += 1
        for incident, count in phases.items():
            over = alert.incident is None or alert.incident.key != incident
            assert count["opened"] == 1
            assert count["resolved"] == (1 if over else 0)
        assert len({one.id for one in yard.ops.sent}) == len(yard.ops.sent)
        if rule.of == 1:
            assert (alert.incident is not None) == (not outcomes[-1])

    asyncio.run(check())
