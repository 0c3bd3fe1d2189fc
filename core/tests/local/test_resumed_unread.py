"""A consumer that was away while an execution failed and a person resumed it hears everything, once."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from turnout.codec import decode_event
from turnout.engine.history import History
from turnout.errors import UserError
from turnout.interfaces.service import Consumer, Delivery, Invocation
from turnout.model.events import EVENTS, Accepted, Ended, Intended, Resumed, StepEnded
from turnout.model.execution import Status
from turnout.services.consumers import Consumers, ConsumerState

from core.tests.local.office import Office, office_in
from core.tests.local.test_operations import LOOP, THREE, fail

CALLS = """
  main:
    trigger: {webhook: {}}
    steps:
      - {id: ask, call: {flow: other}}
      - {id: done, stop: {output: "${{ steps.ask }}"}}
  other:
    steps:
      - {id: a, action: world.put, with: {value: a}}
      - {id: b, action: world.keyed, with: {value: b}}
"""


@dataclass
class Reader:
    """A consumer of every kind of event, which reads when it is told to."""

    office: Office
    got: list[Delivery]

    async def read(self) -> None:
        async def handle(deliveries: Any, call: Invocation) -> list[str]:
            self.got += deliveries
            return []

        await self.office.platform.stream.catch_up([Consumer(name="reader", events=frozenset(EVENTS), handle=handle)])

    def heard(self, kind: type) -> list[Any]:
        return [found.event for found in self.got if isinstance(found.event, kind)]

    def steps(self) -> Counter[tuple[str, str]]:
        return Counter((found.path, found.status.value) for found in self.heard(StepEnded) if found.kind != "item")


@asynccontextmanager
async def office_of(directory: Path, *, held: bool) -> AsyncIterator[tuple[Office, Reader]]:
    """With `held` the journal keeps its rows for the reader; without, it forgets what has ended at once."""
    async with office_in(directory) as office:
        reader = Reader(office, [])
        if held:
            await Consumers(office.platform.stores.catalog).put("watch/held", ConsumerState(until=1e12))
        yield office, reader


@pytest.fixture(params=[True, False], ids=["unread", "read"])
async def there(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Office, Reader, bool]]:
    async with office_of(tmp_path, held=request.param) as (office, reader):
        yield office, reader, request.param


async def fail_once(office: Office, flows: str, action: str, after: int = 0) -> str:
    fail(office, action, after=after)
    id = await office.accept(flows, body="b")
    await office.turn(id)
    assert (await office.record(id)).status is Status.FAILED
    return id


@pytest.mark.parametrize(
    ("flows", "action", "after", "succeeded"),
    [
        (THREE, "keyed", 0, {"a", "b", "c", "done"}),
        (LOOP, "put", 2, {"each", "done", *(f"each[{index}].put" for index in range(4))}),
        (CALLS, "keyed", 0, {"ask", "a", "b", "done"}),
    ],
    ids=["steps", "loop", "call"],
)
async def test_a_consumer_hears_the_failure_and_each_step_once(
    there: tuple[Office, Reader, bool], flows: str, action: str, after: int, succeeded: set[str]
) -> None:
    office, reader, held = there
    fail(office, action, after=after)
    id = await office.accept(flows, body="b")
    await office.turn(id)
    if not held:
        await reader.read()  # before the journal forgets it
    assert (await office.record(id)).status is Status.FAILED

    await office.platform.operations.resume(id)
    await office.turn(id)
    await reader.read()

    assert (await office.record(id)).status is Status.SUCCEEDED
    roots = [found.event for found in reader.got if found.info.id == id and isinstance(found.event, Ended)]
    assert [end.status for end in roots] == [Status.FAILED, Status.SUCCEEDED]
    assert {(path, "succeeded"): 1 for path in succeeded}.items() <= reader.steps().items()
    assert all(count == 1 for count in reader.steps().values())
    assert len(reader.heard(Accepted)) == len({found.info.id for found in reader.got})
    assert [len(reader.heard(Resumed)), len({found.id for found in reader.got})] == [
        2 if flows is CALLS else 1,
        len(reader.got),
    ]


async def test_what_is_resumed_runs_the_same_whether_its_rows_were_kept(there: tuple[Office, Reader, bool]) -> None:
    """Twice: the ends that the first resume has made count for the second."""
    office, _, _ = there
    id = await fail_once(office, LOOP, "put", after=1)
    fail(office, "put", after=1)
    for _ in range(2):
        await office.platform.operations.resume(id)
        await office.turn(id)

    assert office.values() == [1, 2, 3, 4]
    record = await office.record(id)
    assert (record.status, record.error) == (Status.SUCCEEDED, None)
    assert await office.steps(id) == {"each", "done", *(f"each[{index}].put" for index in range(4))}


async def test_the_time_of_the_first_run_does_not_count(there: tuple[Office, Reader, bool]) -> None:
    office, _, _ = there
    flows = LOOP.replace("trigger: {webhook: {}}", "trigger: {webhook: {}}\n    timeout: 1h").replace(
        "- id: each", "- id: each\n        timeout: 10m"
    )
    id = await fail_once(office, flows, "put", after=2)
    office.clock.at += 86_400

    await office.platform.operations.resume(id)
    await office.turn(id)

    assert (await office.record(id)).status is Status.SUCCEEDED


async def test_two_people_who_resume_at_once_resume_once(there: tuple[Office, Reader, bool]) -> None:
    office, _, _ = there
    id = await fail_once(office, THREE, "keyed")
    await office.platform.operations.resume(id)

    with pytest.raises(UserError, match=f"execution {id} is queued"):
        await office.platform.operations.resume(id)
    await office.turn(id)

    assert office.values() == ["a", "b", "c"]


async def test_who_comes_second_with_what_was_known_before_is_told(tmp_path: Path) -> None:
    """The second saw the record before the first had resumed."""
    async with office_of(tmp_path, held=True) as (office, _):
        id = await fail_once(office, THREE, "keyed")
        record = await office.record(id)
        await office.platform.operations.resume(id)

        with pytest.raises(UserError, match="somebody else has resumed it"):
            await office.platform.operations._reopen(record)


async def test_an_effect_in_doubt_stays_known(tmp_path: Path) -> None:
    """What was announced and has no answer must not be repeated because a person resumed what failed elsewhere."""
    async with office_of(tmp_path, held=True) as (office, _):
        id = await fail_once(office, THREE, "keyed")
        rows = await office.platform.stores.journal.rows(id)
        history = History.of(rows)
        history.add(Intended(at=1.0, path="c", attempt=1, key="k"))

        history.add(Resumed(at=2.0, drop=("b",)))

        assert set(history.ends) == {"a"}
        assert set(history.intents) == {"c"}


async def test_a_second_resume_after_it_began_takes_nothing_back(tmp_path: Path) -> None:
    async with office_of(tmp_path, held=True) as (office, _):
        id = await fail_once(office, THREE, "keyed")
        await office.platform.operations.resume(id)
        await office.turn(id)
        events = [decode_event(row.kind, row.body) for row in await office.platform.stores.journal.rows(id)]
        history = History()
        for event in events[:-1]:
            history.add(event)

        history.add(Resumed(at=2.0, drop=("b",)))

        assert "b" in history.ends


async def test_rows_that_are_dropped_between_the_look_and_the_write_are_made_again(tmp_path: Path) -> None:
    async with office_of(tmp_path, held=True) as (office, _):
        id = await fail_once(office, THREE, "keyed")
        journal = office.platform.stores.journal
        signal = journal.signal

        async def late(execution: str, row: Any) -> bool:
            await journal.forget([execution])
            return await signal(execution, row)

        journal.signal = late  # type: ignore[method-assign]
        await office.platform.operations.resume(id)
        journal.signal = signal  # type: ignore[method-assign]
        await office.turn(id)

        assert (await office.record(id)).status is Status.SUCCEEDED
        assert office.values() == ["a", "b", "c"]


async def test_a_resumed_execution_is_not_counted_as_dropped(tmp_path: Path) -> None:
    """Its end was kept for too long, but it goes on: its rows are there to be read."""
    async with office_of(tmp_path, held=False) as (office, reader):
        await office.platform.consumers.put("reader", ConsumerState())

        async def names() -> tuple[str, ...]:
            return ("reader",)

        office.platform._consumer_names = await names()
        id = await fail_once(office, THREE, "keyed")
        await office.platform.operations.resume(id)
        office.clock.at += 365 * 86_400.0
        await office.platform.metadata.catch_up()
        assert await office.platform.stores.journal.rows(id)

        await reader.read()

        assert (await office.platform.consumers.get("reader")).value.dropped == 0
        assert [end.status for end in reader.heard(Ended)] == [Status.FAILED]
