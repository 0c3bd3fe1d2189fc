"""Going on after a crash, a wait, a cancellation: nothing reported runs again, nothing is lost."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from turnout.codec import encode_event
from turnout.connectors import StepError
from turnout.engine.backends import Backends
from turnout.engine.outcome import Finished, Suspended
from turnout.errors import Fenced
from turnout.interfaces.journal import Row
from turnout.local.memory_journal import MemoryJournal
from turnout.model.events import CancelRequested, Ended, Intended, Resumed, Signalled, StepEnded, Waiting
from turnout.model.execution import Status, StepStatus
from turnout.values import Value

from core.tests.engine.laboratory import Died, Laboratory

HEAD = "integration: i\nversion: 1.0.0\nflows:\n  main:\n    trigger: {webhook: {}}\n"


def flow(steps: str, timeout: str = "") -> str:
    limit = f"    timeout: {timeout}\n" if timeout else ""
    return HEAD + limit + "    steps:\n" + "".join(f"      {line}\n" for line in steps.strip("\n").splitlines())


def with_journal(journal: Any, backends: Backends) -> Backends:
    return replace(backends, journal=journal)


class Dying:
    """A journal that takes its process with it: at the `at`-th of its calls that write, before or after writing."""

    def __init__(self, journal: MemoryJournal, at: int, *, after: bool) -> None:
        self._journal = journal
        self._at = at
        self._after = after
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._journal, name)
        if name not in ("append", "barrier", "open"):
            return found

        async def call(*arguments: Any) -> Any:
            self.calls += 1
            if self.calls > self._at or (self.calls == self._at and not self._after):
                raise Died
            result = await found(*arguments)
            if self.calls == self._at:
                raise Died
            return result

        return call


MIXED = """
- {id: look, action: world.look, with: {value: 1}}
- {id: double, action: world.compute, with: {value: "${{ steps.look.value }}"}}
- {id: put, action: world.put, with: {value: "${{ steps.double.value }}"}}
- id: each
  loop:
    over: [10, 20]
    collect: "${{ steps.post.value }}"
    steps:
      - {id: post, action: world.keyed, with: {value: "${{ item }}"}}
- id: both
  parallel:
    left: [{id: a, action: world.put, with: {value: a}}]
    right: [{id: b, action: world.keyed, with: {value: b}}]
- id: maybe
  branch: [{when: "${{ steps.put.value }}", steps: [{id: inside, action: world.put, with: {value: inside}}]}]
- {id: ask, call: {flow: other, with: 5}}
- {id: done, stop: {output: ["${{ steps.each }}", "${{ steps.ask }}", "${{ steps.inside.value }}", "${{ steps.b.value }}"]}}
"""
OTHER = """  other:
    steps:
      - {id: deep, action: world.keyed, with: {value: "${{ trigger.body }}"}}
      - {id: back, stop: {output: "${{ steps.deep.value }}"}}
"""
WANTED = [[10, 20], 5, "inside", "b"]


async def death_points(lab: Laboratory) -> int:
    counting: Any = Dying(lab.journal, 10**9, after=True)
    await lab.again(await lab.accept(flow(MIXED) + OTHER), change=lambda b: replace(b, journal=counting))
    return int(counting.calls)


@pytest.mark.parametrize("after", [False, True])
async def test_death_at_any_journal_call_loses_nothing_and_repeats_nothing_that_was_reported(
    lab: Laboratory, after: bool
) -> None:
    points = await death_points(lab)
    assert points > 20

    for at in range(1, points + 1):
        lab.world.calls.clear()
        lab.events.clear()
        id = await lab.accept(flow(MIXED) + OTHER)
        dying: Any = Dying(lab.journal, at, after=after)
        with pytest.raises(BaseException) as death:  # noqa: PT011 - Died may come inside a group of arms
            await lab.again(id, change=partial(with_journal, dying))
        assert isinstance(death.value, Died), death.value
        reported = set(lab.ended())
        before = [value for name, value in lab.world.calls if name in ("put", "keyed")]
        lab.events.clear()

        finished = await lab.again(id)

        assert isinstance(finished, Finished), (at, finished)
        assert finished.status is Status.SUCCEEDED, (at, finished.error)
        if finished.output is not None:
            assert finished.output.load() == WANTED
        assert not reported & set(lab.ended()), (at, "reported twice")
        effects = [value for name, value in lab.world.calls if name in ("put", "keyed")]
        repeated = len(effects) - len({str(value) for value in effects})
        assert set(map(str, effects)) == {"1", "10", "20", "a", "b", "inside", "5"}
        assert repeated <= 2, (at, before, effects)


async def test_an_effect_of_which_nobody_knows_parks_and_waits_for_a_person(lab: Laboratory) -> None:
    lab.world.failures["note"] = [Died()]
    steps = """
- {id: post, action: world.note, with: {value: 1}}
- {id: done, stop: {output: "${{ steps.post }}"}}
"""
    id = await lab.accept(flow(steps))
    with pytest.raises(Died):
        await lab.again(id)

    parked = await lab.again(id)

    assert (parked.status, parked.error.step) == (Status.PARKED, "post")
    assert lab.world.count("note") == 1
    ends = [event for _, event in lab.events if isinstance(event, StepEnded)]
    assert [event.status for event in ends] == [StepStatus.PARKED]


@pytest.mark.parametrize(("output", "calls", "wanted"), [(None, 2, {"value": 1}), ("done by hand", 1, "done by hand")])
async def test_a_person_decides_a_parked_effect(lab: Laboratory, output: Any, calls: int, wanted: Any) -> None:
    lab.world.failures["note"] = [Died()]
    steps = '- {id: post, action: world.note, with: {value: 1}}\n- {id: done, stop: {output: "${{ steps.post }}"}}'
    id = await lab.accept(flow(steps))
    with pytest.raises(Died):
        await lab.again(id)
    await lab.again(id)

    decision = Resumed(at=1.0, decide="post", output=None if output is None else Value(output).encode())
    await lab.journal.signal(id, Row(*encode_event(decision)))
    finished = await lab.again(id)

    assert (finished.status, finished.output.load(), lab.world.count("note")) == (Status.SUCCEEDED, wanted, calls)


@pytest.mark.parametrize("options", ["retry: 2", "on_crash: retry"])
async def test_an_effect_whose_author_allows_it_is_repeated(lab: Laboratory, options: str) -> None:
    lab.world.failures["note"] = [Died()]
    id = await lab.accept(flow(f"- {{id: post, action: world.note, {options}}}"))
    with pytest.raises(Died):
        await lab.again(id)

    finished = await lab.again(id)

    assert (finished.status, lab.world.count("note")) == (Status.SUCCEEDED, 2)
    assert lab.world.repeated == [False, True]


async def test_on_crash_park_parks_even_what_could_be_repeated(lab: Laboratory) -> None:
    lab.world.failures["keyed"] = [Died()]
    id = await lab.accept(flow("- {id: post, action: world.keyed, on_crash: park}"))
    with pytest.raises(Died):
        await lab.again(id)

    assert (await lab.again(id)).status is Status.PARKED


async def test_an_effect_is_announced_durably_before_it_happens(lab: Laboratory) -> None:
    id = await lab.accept(flow("- {id: a, action: world.compute}\n- {id: post, action: world.note}"))
    lab.world.failures["note"] = [Died()]
    with pytest.raises(Died):
        await lab.again(id)

    history = await lab.history(id)
    assert [type(event).__name__ for event in history][-2:] == ["StepEnded", "Intended"]
    assert next(event for event in history if isinstance(event, Intended)).key == lab.world.keys[-1]


async def test_a_worker_whose_token_is_behind_writes_nothing_more(lab: Laboratory) -> None:
    id = await lab.accept(flow("- {id: a, action: world.note}"))
    await lab.journal.fence(id, 99)
    before = await lab.history(id)

    with pytest.raises(Fenced):
        await lab.again(id)

    assert await lab.history(id) == before
    assert lab.world.calls == []


async def test_a_long_wait_leaves_the_worker_and_goes_on_at_its_time(lab: Laboratory) -> None:
    steps = "- {id: a, action: world.note}\n- {id: pause, wait: {for: 2h}}\n- {id: b, action: world.note}"
    id = await lab.accept(flow(steps))
    begun = lab.clock.now()

    suspended = await lab.again(id)

    assert suspended == Suspended(until=begun + 7200)
    lab.clock.at = begun + 7200
    finished = await lab.again(id)
    assert (finished.status, lab.world.count("note")) == (Status.SUCCEEDED, 2)


async def test_a_wait_until_a_time_takes_iso_8601(lab: Laboratory) -> None:
    id = await lab.accept(flow('- {id: pause, wait: {until: "${{ trigger.body }}"}}'), "2100-01-01T00:00:00Z")

    assert await lab.again(id) == Suspended(until=4102444800.0)


async def test_a_callback_wakes_what_waits_for_it_and_is_its_output(lab: Laboratory) -> None:
    steps = """
- {id: tell, action: world.look, with: {value: "${{ callback_url('answer') }}"}}
- {id: answer, wait: {callback: true, timeout: 1h}}
- {id: done, stop: {output: "${{ steps.answer }}"}}
"""
    id = await lab.accept(flow(steps))
    assert isinstance(await lab.again(id), Suspended)
    assert lab.world.calls == [("look", f"http://turnout.test/callbacks/{id}/answer")]

    for answer in ("yes", "too late"):
        event = Signalled(at=1.0, path="answer", value=Value(answer).encode())
        await lab.journal.signal(id, Row(*encode_event(event)))
    finished = await lab.again(id)

    assert finished.output.load() == "yes"


async def test_a_callback_with_large_content_ends_its_wait_once(lab: Laboratory) -> None:
    id = await lab.accept(flow("- {id: answer, wait: {callback: true, timeout: 1h}}"))
    await lab.again(id)
    event = Signalled(at=1.0, path="answer", value=Value("x" * 300_000).encode())
    await lab.journal.signal(id, Row(*encode_event(event)))

    finished = await lab.again(id)

    ends = [event for _, event in lab.events if isinstance(event, StepEnded)]
    assert finished.status is Status.SUCCEEDED
    assert [(event.path, event.status) for event in ends] == [("answer", StepStatus.SUCCEEDED)]


async def test_a_callback_that_does_not_come_is_a_time_out(lab: Laboratory) -> None:
    id = await lab.accept(flow("- {id: answer, wait: {callback: true, timeout: 1h}}"))
    suspended = await lab.again(id)

    lab.clock.at = suspended.until
    failed = await lab.again(id)

    assert (failed.status, failed.error.kind) == (Status.FAILED, "timeout")


async def test_a_retry_after_a_long_delay_leaves_the_worker(lab: Laboratory) -> None:
    lab.world.failures["look"] = [StepError("no", kind="x")]
    id = await lab.accept(
        flow("- {id: a, action: world.look, retry: {attempts: 2, delay: 1h, jitter: 0, max_delay: 2h}}")
    )

    suspended = await lab.again(id)

    assert suspended == Suspended(until=lab.clock.now() + 3600)
    lab.clock.at += 3600
    assert (await lab.again(id)).status is Status.SUCCEEDED


async def test_a_waiting_arm_lets_the_other_go_on_first(lab: Laboratory) -> None:
    steps = """
- id: both
  parallel:
    left: [{id: pause, wait: {for: 1h}}, {id: a, action: world.look}]
    right: [{id: b, action: world.look}]
"""
    id = await lab.accept(flow(steps))

    assert isinstance(await lab.again(id), Suspended)
    assert lab.world.count("look") == 1
    lab.clock.at += 3600
    assert (await lab.again(id)).status is Status.SUCCEEDED
    assert lab.world.count("look") == 2


async def test_a_wait_in_a_sub_execution_suspends_its_parent(lab: Laboratory) -> None:
    text = flow('- {id: ask, call: {flow: other}}\n- {id: done, stop: {output: "${{ steps.ask }}"}}')
    text += "  other:\n    steps:\n      - {id: pause, wait: {for: 1h}}\n      - {id: back, stop: {output: late}}\n"
    id = await lab.accept(text)

    assert await lab.again(id) == Suspended(until=lab.clock.now() + 3600)
    lab.clock.at += 3600
    assert (await lab.again(id)).output.load() == "late"


async def test_a_flow_that_takes_too_long_ends_at_its_deadline_waits_included(lab: Laboratory) -> None:
    id = await lab.accept(flow("- {id: pause, wait: {for: 5h}}", timeout="1h"))
    begun = lab.clock.now()

    assert await lab.again(id) == Suspended(until=begun + 3600)
    lab.clock.at = begun + 3600
    failed = await lab.again(id)

    assert (failed.status, failed.error.kind) == (Status.FAILED, "timeout")
    ends = [event for _, event in lab.events if isinstance(event, StepEnded)]
    assert [(event.path, event.status) for event in ends] == [("pause", StepStatus.CANCELLED)]


async def test_cancelling_stops_a_running_step_at_once_and_its_sandbox(lab: Laboratory) -> None:
    id = await lab.accept(flow("- {id: spin, code: 'export default () => { for (;;); }'}"))
    task = asyncio.ensure_future(lab.again(id))
    while not (lab.running and "spin" in lab.running.steps):
        await asyncio.sleep(0)

    lab.running.cancel("enough")
    finished = await asyncio.wait_for(task, 10)

    assert (finished.status, finished.error.message) == (Status.CANCELLED, "enough")
    ends = [event for _, event in lab.events if isinstance(event, StepEnded)]
    assert [(event.path, event.status) for event in ends] == [("spin", StepStatus.CANCELLED)]


async def test_a_cancellation_that_was_asked_for_while_nobody_ran_it_ends_it(lab: Laboratory) -> None:
    id = await lab.accept(flow("- {id: a, action: world.note}"))
    await lab.journal.signal(id, Row(*encode_event(CancelRequested(at=1.0, reason="no longer needed"))))

    finished = await lab.again(id)

    assert (finished.status, lab.world.calls) == (Status.CANCELLED, [])


async def test_leaving_writes_nothing_and_another_worker_goes_on(lab: Laboratory) -> None:
    steps = "- {id: a, action: world.note}\n- {id: slow, code: 'export default () => { for (;;); }', when: '${{ trigger.body }}'}"
    id = await lab.accept(flow(steps), "go")
    task = asyncio.ensure_future(lab.again(id))
    while not (lab.running and "slow" in lab.running.steps):
        await asyncio.sleep(0)

    lab.running.leave()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert not any(isinstance(event, Ended | Waiting) for event in await lab.history(id))


async def test_time_and_ids_in_expressions_are_the_same_after_a_crash(lab: Laboratory) -> None:
    lab.world.failures["keyed"] = [Died()]
    steps = '- {id: post, action: world.keyed, with: {value: ["${{ now() }}", "${{ uuid() }}"]}}'
    id = await lab.accept(flow(steps))
    with pytest.raises(Died):
        await lab.again(id)

    lab.clock.at += 1000
    await lab.again(id)

    first, second = (value for _, value in lab.world.calls)
    assert first == second


async def test_resuming_a_failed_execution_runs_the_failed_step_and_what_follows(lab: Laboratory) -> None:
    lab.world.failures["look"] = [StepError("no", kind="x")]
    id = await lab.accept(
        flow("- {id: a, action: world.note}\n- {id: b, action: world.look}\n- {id: c, action: world.note}")
    )
    assert (await lab.again(id)).status is Status.FAILED

    await lab.journal.signal(id, Row(*encode_event(Resumed(at=1.0, drop=("b",)))))
    finished = await lab.again(id)

    assert finished.status is Status.SUCCEEDED
    assert [name for name, _ in lab.world.calls] == ["note", "look", "note"]


async def test_strict_waits_for_every_step(lab: Laboratory) -> None:
    lab.with_settings(strict=True)
    id = await lab.accept(flow("- {id: a, action: world.compute}\n- {id: b, action: world.compute}"))

    counting: Any = Dying(lab.journal, 10**9, after=True)
    await lab.again(id, change=lambda backends: replace(backends, journal=counting))
    strict = counting.calls
    lab.with_settings(strict=False)
    counting = Dying(lab.journal, 10**9, after=True)
    id = await lab.accept(flow("- {id: a, action: world.compute}\n- {id: b, action: world.compute}"))
    await lab.again(id, change=lambda backends: replace(backends, journal=counting))

    assert strict > counting.calls


async def test_a_large_output_goes_through_the_payload_store_and_comes_back_after_a_crash(lab: Laboratory) -> None:
    lab.world.failures["keyed"] = [Died()]
    steps = """
- {id: big, code: "export default () => 'x'.repeat(1000000)"}
- {id: post, action: world.keyed, with: {value: "${{ length(steps.big) }}"}}
- {id: done, stop: {output: "${{ length(steps.big) }}"}}
"""
    id = await lab.accept(flow(steps))
    with pytest.raises(Died):
        await lab.again(id)

    assert (await lab.again(id)).output.load() == 1_000_000
    (stored,) = [
        event.output and event.output.stored
        for event in await lab.history(id)
        if isinstance(event, StepEnded) and event.path == "big"
    ]
    assert stored is not None
