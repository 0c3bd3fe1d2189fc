"""The scheduler: each tick becomes one execution, whoever dies, however many there are, whatever is away."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turnout.definition.loader import load_yaml_text
from turnout.errors import BackendError, NotFound, StepError
from turnout.interfaces.polling import Found, Poll
from turnout.interfaces.service import Invocation
from turnout.local.memory_catalog import MemoryCatalog
from turnout.local.memory_journal import MemoryJournal
from turnout.model.schedule import Missed, Schedule
from turnout.services.scheduler.service import Scheduler
from turnout.services.submission import Acceptance, Instance
from turnout.testing.clock import ManualClock
from turnout.values import Value

START = 1_800_000_000.0
CALL = Invocation()


class Died(Exception):
    """The process that was at it is gone."""


@dataclass
class Office:
    """A catalog that may fail or be the last thing a process does, and what was started."""

    clock: ManualClock = field(default_factory=lambda: ManualClock(START))
    catalog: MemoryCatalog = field(default_factory=MemoryCatalog)
    journal: MemoryJournal = field(default_factory=MemoryJournal)
    instances: dict[tuple[str, str], Instance] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    started: Counter[tuple[str, str]] = field(default_factory=Counter)
    triggers: list[dict[str, Any]] = field(default_factory=list)
    faults: Iterator[Exception | None] = field(default_factory=lambda: iter(()))
    polls: Any = None

    def fault(self) -> None:
        if (failure := next(self.faults, None)) is not None:
            raise failure

    def scheduler(self) -> Scheduler:
        office = self

        class Catalog(MemoryCatalog):
            """The same entries for all schedulers; each call may fail before, or after it had its effect."""

            def __init__(self) -> None:
                self._entries = office.catalog._entries
                self._revisions = office.catalog._revisions

            async def write(self, *changes: Any) -> bool:
                office.fault()
                await asyncio.sleep(0)
                written = await super().write(*changes)
                office.fault()
                return written

            async def due(self, *arguments: Any, **named: Any) -> Any:
                office.fault()
                return await super().due(*arguments, **named)

        class Submission:
            async def accept(
                self,
                instance: Instance,
                flow: str,
                trigger: Value,
                *,
                deduplication_id: str,
                deduplication_at: float | None = None,
            ) -> Acceptance:
                office.fault()
                await asyncio.sleep(0)
                key = (f"{instance.tenant}/{instance.name}/{flow}", deduplication_id)
                if not office.started[key]:
                    office.started[key] += 1
                    found = trigger.load()
                    assert isinstance(found, dict)
                    office.triggers.append(found)
                office.fault()
                return Acceptance(id=f"{len(office.triggers)}")

        async def config(instance: Instance) -> Mapping[str, Any]:
            return office.config

        async def find(*arguments: Any, **named: Any) -> str:
            return ""

        made: Any = Submission()
        return Scheduler(
            Catalog(),
            self.journal,
            self,
            made,
            config,
            SimpleNamespace(find=find),
            self.clock,
            polls=self.polls,
            own="local",
        )

    async def active(self) -> AsyncIterator[Instance]:
        for instance in list(self.instances.values()):
            yield instance

    async def get(self, customer: str, name: str) -> Instance:
        if (customer, name) not in self.instances:
            raise NotFound("instance", name)
        return self.instances[customer, name]

    def deploy(self, schedule: str, *, name: str = "shop", tenant: str = "local", bundle: str = "1") -> None:
        text = f"""
integration: shop
version: 1.0.0
config: {{when: {{type: string, default: "0 6 * * *"}}}}
flows:
  sync: {{trigger: {{schedule: {schedule}}}, steps: [{{id: done, stop: {{}}}}]}}
"""
        self.instances[tenant, name] = Instance(
            name=name, tenant=tenant, integration=load_yaml_text(text), bundle=bundle, settings=""
        )

    def ticks(self) -> list[float]:
        return sorted(float(deduplication.partition("\0")[2]) - START for _, deduplication in self.started)


@pytest.fixture
def office() -> Office:
    return Office()


async def minutes(office: Office, scheduler: Scheduler, count: int) -> None:
    for _ in range(count * 6):
        office.clock.advance(10.0)
        await scheduler.look(CALL)


async def test_a_flow_is_started_at_each_of_its_times_and_told_which(office: Office) -> None:
    office.deploy("{every: 60s}")
    scheduler = office.scheduler()
    await scheduler.sync(CALL)

    await minutes(office, scheduler, 3)

    assert office.ticks() == [60.0, 120.0, 180.0]
    assert [one["previous_at"] for one in office.triggers] == [
        None,
        *(one["scheduled_at"] for one in office.triggers[:2]),
    ]
    assert office.triggers[0]["scheduled_at"] == "2027-01-15T08:01:00+00:00"


async def test_a_schedule_may_be_each_instances_own(office: Office) -> None:
    office.deploy('{cron: "${{ config.when }}", timezone: Europe/Berlin}')
    office.config = {"when": "30 7 * * *"}
    scheduler = office.scheduler()
    await scheduler.sync(CALL)

    [planned] = await scheduler.plans.page()

    assert planned.value.schedule == Schedule(cron="30 7 * * *", timezone="Europe/Berlin")


@pytest.mark.parametrize(
    ("missed", "expected"),
    [("skip", [3660.0]), ("once", [3600.0, 3660.0]), ("all", [60.0 * number for number in range(1, 62)])],
)
async def test_what_an_outage_missed_goes_by_the_policy(office: Office, missed: str, expected: list[float]) -> None:
    office.deploy(f"{{cron: '* * * * *', missed: {missed}}}")
    scheduler = office.scheduler()
    await scheduler.sync(CALL)

    office.clock.advance(3600.0 if missed != "skip" else 3660.0)
    await scheduler.look(CALL)
    if missed != "skip":
        await minutes(office, scheduler, 1)

    assert office.ticks() == expected


async def test_a_tick_that_was_missed_by_too_much_is_left_out_and_counted(office: Office) -> None:
    office.deploy("{cron: '0 * * * *', missed: skip}")
    scheduler = office.scheduler()
    await scheduler.sync(CALL)

    office.clock.advance(3 * 3600.0 + 120.0)
    await scheduler.look(CALL)

    [planned] = await scheduler.plans.page()
    assert office.ticks() == []
    assert planned.value.missed == 3


async def test_a_paused_instance_holds_its_place_and_goes_on(office: Office) -> None:
    office.deploy("{every: 60s, missed: all}")
    scheduler = office.scheduler()
    await scheduler.sync(CALL)
    shop = office.instances.pop(("local", "shop"))

    await scheduler.sync(CALL)
    await minutes(office, scheduler, 2)
    before = office.ticks()
    office.instances["local", "shop"] = shop
    await scheduler.sync(CALL)
    await minutes(office, scheduler, 1)

    assert before == []
    assert office.ticks() == [60.0, 120.0, 180.0]


async def test_another_version_with_the_same_schedule_keeps_the_place(office: Office) -> None:
    office.deploy("{every: 60s, missed: all}")
    scheduler = office.scheduler()
    await scheduler.sync(CALL)

    office.clock.advance(90.0)
    office.deploy("{every: 60s, missed: all}", bundle="2")
    await scheduler.sync(CALL)
    await minutes(office, scheduler, 1)

    assert office.ticks() == [60.0, 120.0]


async def test_another_schedule_makes_up_for_nothing(office: Office) -> None:
    office.deploy("{every: 60s, missed: all}")
    scheduler = office.scheduler()
    await scheduler.sync(CALL)

    office.clock.advance(90.0)
    office.deploy("{every: 30s, missed: all}", bundle="2")
    await scheduler.sync(CALL)
    await minutes(office, scheduler, 1)

    assert office.ticks() == [120.0, 150.0]


async def test_the_schedules_of_an_instance_that_is_gone_go_too(office: Office) -> None:
    office.deploy("{every: 60s}", tenant="acme")
    scheduler = office.scheduler()
    await scheduler.sync(CALL)
    office.instances.clear()

    await scheduler.sync(CALL)

    assert await scheduler.plans.page() == []


async def test_a_clock_that_jumped_ahead_and_back_starts_again_from_now(office: Office) -> None:
    office.deploy("{every: 60s}")
    scheduler = office.scheduler()
    await scheduler.sync(CALL)
    office.clock.advance(86_400.0)
    await scheduler.look(CALL)
    office.clock = ManualClock(START + 30.0)
    scheduler = office.scheduler()

    await scheduler.sync(CALL)
    await minutes(office, scheduler, 2)

    assert office.ticks() == [60.0, 120.0, 86_400.0]


@pytest.mark.parametrize("missed", list(Missed))
async def test_a_spread_moves_each_start_and_loses_none(office: Office, missed: Missed) -> None:
    office.deploy(f"{{every: 60s, jitter: 40s, missed: {missed}}}")
    scheduler = office.scheduler()
    await scheduler.sync(CALL)

    await minutes(office, scheduler, 4)

    assert office.ticks()[:3] == [60.0, 120.0, 180.0]


async def test_a_spread_is_each_customers_own(office: Office) -> None:
    for number in range(50):
        office.deploy("{every: 60s, jitter: 40s}", tenant=f"customer-{number}")
    scheduler = office.scheduler()

    await scheduler.sync(CALL)

    due = {document.due for document in await scheduler.plans.page()}
    assert len(due) == 50


FAULTS = st.lists(st.sampled_from([None, None, None, "backend", "died"]), max_size=60).map(
    lambda kinds: [None if kind is None else BackendError("away") if kind == "backend" else Died() for kind in kinds]
)


@given(FAULTS, st.lists(st.tuples(st.integers(0, 1), st.sampled_from([5.0, 31.0, 61.0, 200.0])), max_size=30))
async def test_each_tick_becomes_one_execution_whatever_fails_and_whoever_dies(
    faults: list[Exception | None], turns: list[tuple[int, float]]
) -> None:
    office = Office()
    office.deploy("{every: 60s, missed: all}")
    schedulers = [office.scheduler(), office.scheduler()]
    await schedulers[0].sync(CALL)
    office.faults = iter(faults)

    for number, seconds in turns:
        office.clock.advance(seconds)
        try:
            await schedulers[number].look(CALL)
        except BackendError:
            pass
        except Died:
            schedulers[number] = office.scheduler()
    office.faults = iter(())
    office.clock.advance(120.0)
    for _ in range(3):  # a tick that was being started is taken over once its time is up
        await asyncio.gather(*(scheduler.look(CALL) for scheduler in schedulers))
        office.clock.advance(31.0)
    await schedulers[0].look(CALL)

    passed = int((office.clock.now() - START) // 60.0)
    assert office.ticks() == [60.0 * number for number in range(1, passed + 1)]
    assert set(office.started.values()) == {1}


async def test_two_schedulers_at_once_start_each_tick_once(office: Office) -> None:
    for number in range(300):
        office.deploy("{every: 60s}", name=f"shop-{number}")
    schedulers = [office.scheduler(), office.scheduler()]
    await schedulers[0].sync(CALL)

    office.clock.advance(60.0)
    await asyncio.gather(*(scheduler.look(CALL) for scheduler in schedulers))

    assert len(office.started) == 300
    assert set(office.started.values()) == {1}
    assert len(office.triggers) == 300


async def test_an_instance_that_cannot_be_started_is_tried_again_and_says_why(office: Office) -> None:
    office.deploy("{every: 60s}")
    scheduler = office.scheduler()
    await scheduler.sync(CALL)
    del office.instances["local", "shop"]

    office.clock.advance(60.0)
    await scheduler.look(CALL)

    [planned] = await scheduler.plans.page()
    assert planned.value.held
    assert "shop" in planned.value.trouble


class Shelf:
    """What a polling trigger finds: books by number, two at a look, the cursor the number of the last."""

    def __init__(self) -> None:
        self.books: list[str] = []
        self.failures: list[Exception] = []

    async def look(self, instance: Instance, flow: str, cursor: Any) -> Poll:
        if self.failures:
            raise self.failures.pop()
        first = 0 if cursor is None else cursor
        found = [Found(id=book, value={"book": book}) for book in self.books[first : first + 2]]
        return Poll(items=found, cursor=first + len(found), more=first + 2 < len(self.books))


POLLED = """
integration: shop
version: 1.0.0
connections: {files: {connector: dropbox}}
flows:
  sync: {trigger: {dropbox.changed: {connection: files, every: 60s}}, steps: [{id: done, stop: {}}]}
"""


def polling(office: Office, *, bundle: str = "1") -> Shelf:
    office.polls = office.polls or Shelf()
    office.instances["local", "shop"] = Instance(
        name="shop", tenant="local", integration=load_yaml_text(POLLED), bundle=bundle, settings=""
    )
    shelf: Shelf = office.polls
    return shelf


def books(office: Office) -> list[str]:
    return [trigger["book"] for trigger in office.triggers]


async def test_what_a_poll_finds_starts_a_flow_each_and_more_is_looked_for_at_once(office: Office) -> None:
    shelf = polling(office)
    shelf.books = ["a", "b", "c", "d", "e"]
    scheduler = office.scheduler()
    await scheduler.sync(CALL)

    office.clock.advance(60.0)
    await scheduler.look(CALL)
    before = books(office)
    shelf.books.append("f")
    office.clock.advance(60.0)
    await scheduler.look(CALL)

    assert before == ["a", "b", "c", "d", "e"]
    assert books(office) == ["a", "b", "c", "d", "e", "f"]


async def test_the_cursor_survives_a_new_version(office: Office) -> None:
    shelf = polling(office)
    shelf.books = ["a", "b"]
    scheduler = office.scheduler()
    await scheduler.sync(CALL)
    office.clock.advance(60.0)
    await scheduler.look(CALL)

    polling(office, bundle="2")
    await scheduler.sync(CALL)
    shelf.books.append("c")
    office.clock.advance(60.0)
    await scheduler.look(CALL)

    assert books(office) == ["a", "b", "c"]


async def test_a_look_that_fails_is_tried_again_ever_later_and_says_why(office: Office) -> None:
    shelf = polling(office)
    shelf.books = ["a"]
    shelf.failures = [StepError("the shelf is away", kind="http_503") for _ in range(3)]
    scheduler = office.scheduler()
    await scheduler.sync(CALL)
    waits = []

    office.clock.advance(60.0)
    while shelf.failures:
        await scheduler.look(CALL)
        [planned] = await scheduler.plans.page()
        assert planned.due is not None
        waits.append(planned.due - office.clock.now())
        assert "the shelf is away" in planned.value.trouble
        office.clock.advance(waits[-1])
    await scheduler.look(CALL)

    [planned] = await scheduler.plans.page()
    assert waits == [20.0, 40.0, 80.0]
    assert (books(office), planned.value.trouble, planned.value.failures) == (["a"], "", 0)


@given(
    FAULTS, st.lists(st.tuples(st.integers(0, 1), st.sampled_from([30.0, 61.0, 200.0]), st.integers(0, 3)), max_size=30)
)
async def test_everything_that_is_found_becomes_one_execution_whatever_fails_and_whoever_dies(
    faults: list[Exception | None], turns: list[tuple[int, float, int]]
) -> None:
    office = Office()
    shelf = polling(office)
    schedulers = [office.scheduler(), office.scheduler()]
    await schedulers[0].sync(CALL)
    office.faults = iter(faults)

    for number, seconds, new in turns:
        shelf.books += [f"{len(shelf.books) + index}" for index in range(new)]
        office.clock.advance(seconds)
        try:
            await schedulers[number].look(CALL)
        except BackendError:
            pass
        except Died:
            schedulers[number] = office.scheduler()
    office.faults = iter(())
    for _ in range(3):
        office.clock.advance(200.0)
        await asyncio.gather(*(scheduler.look(CALL) for scheduler in schedulers))

    assert sorted(books(office)) == sorted(shelf.books)
    assert set(office.started.values()) <= {1}
