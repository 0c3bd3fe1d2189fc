"""Limits of flows from the webhook to the end: what waits, in which order, what is ended unrun, what comes back after a
crash. The queue's own promises are its contract suite's; here it is that every message has the limits of its flow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from turnout.errors import SettingsError
from turnout.interfaces.queue import Lease, Message
from turnout.model.execution import Status
from turnout.values import Value

from core.tests.engine.laboratory import Died
from core.tests.local.shop import Shop, said, shop_in

BY_ACCOUNT = "key: '${{ trigger.body.account }}'"


@pytest.fixture(params=["in-memory", "sqlite"])
async def shop(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Shop]:
    async with shop_in(tmp_path, queue=request.param) as opened:
        yield opened


async def posted(shop: Shop, *bodies: Any) -> list[str]:
    return [said(await shop.post(body))["execution"] for body in bodies]


async def test_no_more_run_at_once_than_the_flow_says(shop: Shop) -> None:
    await shop.deploy("{concurrency: 2}")
    ids = await posted(shop, 1, 2, 3)

    first = await shop.take()
    second = await shop.take()

    assert first is not None
    assert second is not None
    assert [first.message.id, second.message.id] == ids[:2]
    assert await shop.take() is None
    await shop.platform.runner.run(second)
    assert await shop.taken() == ids[2:]


async def test_accounts_wait_for_themselves_alone(shop: Shop) -> None:
    await shop.deploy(f"{{concurrency: {{most: 1, {BY_ACCOUNT}}}}}")

    ids = await posted(shop, {"account": 1}, {"account": 1}, {"account": "1"}, {"account": 2}, {}, {})

    assert await shop.taken() == [ids[0], ids[2], ids[3], ids[4]]


async def test_a_number_may_be_each_instances_own(shop: Shop) -> None:
    await shop.deploy("{concurrency: '${{ trigger.body.most }}'}")

    ids = await posted(shop, {"most": 2}, {"most": 2}, {"most": 2})

    assert await shop.taken() == ids[:2]


async def test_an_execution_that_waits_has_let_another_begin(shop: Shop) -> None:
    await shop.deploy("{concurrency: 1}", "[{id: pause, wait: 1h}]")
    ids = await posted(shop, 1, 2)

    assert await shop.drain() == ids
    assert [(await shop.record(id)).status for id in ids] == [Status.WAITING, Status.WAITING]


async def test_equal_values_run_one_by_one_in_their_order_even_while_one_waits(shop: Shop) -> None:
    await shop.deploy("{order: '${{ trigger.body.order }}'}", "[{id: pause, wait: 1h}]")
    ids = await posted(shop, {"order": "a"}, {"order": "a"}, {"order": "b"})

    assert await shop.drain() == [ids[0], ids[2]]
    shop.clock.at += 3601
    first, second, *_ = await shop.drain()
    assert (first, second) == (ids[0], ids[1])


async def test_no_more_begin_in_a_window_than_the_flow_says(shop: Shop) -> None:
    await shop.deploy("{rate: {most: 2, window: 1m}}")
    ids = await posted(shop, *range(5))

    assert await shop.drain() == ids[:2]
    shop.clock.at += 61
    assert await shop.drain() == ids[2:4]
    shop.clock.at += 61
    assert await shop.drain() == ids[4:]


async def test_the_more_urgent_goes_first(shop: Shop) -> None:
    await shop.deploy("{priority: '${{ trigger.body }}'}")

    low, high, none = await posted(shop, -1, 9, "nonsense")

    assert await shop.drain() == [high, none, low]


async def test_the_newest_runs_and_the_others_end_at_once_unrun(shop: Shop) -> None:
    await shop.deploy(f"{{debounce: {{wait: 10s, {BY_ACCOUNT}}}}}")
    first, second, newest = await posted(shop, *({"account": 1, "n": n} for n in range(3)))

    assert sorted(await shop.drain()) == sorted([first, second])
    shop.clock.at += 11
    assert await shop.drain() == [newest]

    for id, after in ((first, second), (second, newest)):
        record = await shop.record(id)
        assert (record.status, record.steps, record.started_at, record.attempts) == (Status.CANCELLED, (), None, 0)
        assert record.error is not None
        assert record.error.kind == "debounced"
        assert record.error.message == f"execution {after} took its place: it came within the debounce of flow 'main'"
    assert (await shop.record(newest)).output is not None
    stats = await shop.platform.stores.queue.stats()
    assert (stats.ready, stats.delayed, stats.leased, stats.dead) == (0, 0, 0, 0)
    assert list(await shop.platform.stores.journal.unfinished()) == []


async def test_longest_ends_the_waiting(shop: Shop) -> None:
    await shop.deploy("{debounce: {wait: 10s, longest: 15s}}")
    ids = await posted(shop, 1)
    for number in (2, 3):
        shop.clock.at += 7
        ids += await posted(shop, number)
    await shop.drain()
    assert (await shop.record(ids[2])).status is Status.QUEUED

    shop.clock.at += 2

    assert await shop.drain() == ids[2:]


async def test_what_gives_no_value_is_not_debounced(shop: Shop) -> None:
    await shop.deploy(f"{{debounce: {{wait: 10s, {BY_ACCOUNT}}}}}")

    ids = await posted(shop, {}, {})

    assert await shop.drain() == ids
    [(level, message)] = await shop.logs(ids[0])
    assert (level, message) == (
        "warning",
        "limits: `debounce`: ${{ trigger.body.account }} gave null; it is not debounced",
    )


async def test_whoever_waits_for_the_answer_of_a_debounced_one_is_sent_to_its_record(shop: Shop) -> None:
    await shop.deploy("{debounce: 10s}")
    waiting = asyncio.ensure_future(shop.post(1, {"wait": "30s"}))
    while not (found := list(await shop.platform.stores.journal.unfinished())):
        await asyncio.sleep(0)
    await posted(shop, 2)

    assert await shop.drain() == found
    answer = await waiting

    assert (answer.status, answer.headers["location"]) == (303, f"/api/v1/executions/{found[0]}")


async def test_a_debounced_execution_that_a_person_resumes_runs(shop: Shop) -> None:
    await shop.deploy("{debounce: 10s}")
    first, newest = await posted(shop, 1, 2)
    await shop.drain()

    await shop.platform.operations.resume(first)

    assert await shop.drain() == [first]
    assert (await shop.record(first)).status is Status.SUCCEEDED
    assert (await shop.record(newest)).status is Status.QUEUED


async def test_a_start_after_a_crash_does_not_cut_the_debounce_short(shop: Shop) -> None:
    await shop.deploy("{debounce: 10s}")
    [waiting] = await posted(shop, 1)

    await shop.platform.recover()

    assert await shop.drain() == []
    shop.clock.at += 11
    assert await shop.drain() == [waiting]


async def test_what_was_accepted_and_never_queued_comes_back_with_its_limits(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.deploy("{concurrency: 1, rate: {most: 9, window: 1m}, order: '${{ trigger.body }}', priority: 3}")
    queue = shop.platform.stores.queue
    lost: list[Message] = []

    async def die(message: Message, **options: Any) -> bool:
        lost.append(message)
        raise Died

    with monkeypatch.context() as patch:
        patch.setattr(queue, "put", die)
        with pytest.raises(Died):
            await shop.post("a")

    assert await shop.platform.recover() == 1
    lease = await shop.take()

    assert lease is not None
    assert lease.message == lost[0]
    assert (lease.message.priority, len(lease.message.concurrency), len(lease.message.rates)) == (3, 1, 1)
    assert lease.message.order


async def test_limits_stay_as_they_were_accepted_and_a_replay_takes_the_flows_new_ones(shop: Shop) -> None:
    await shop.deploy("{concurrency: 1}", "[{id: failing, stop: {error: no}}]")
    [failed] = await posted(shop, 1)
    await shop.drain()
    newer = await shop.deploy("{concurrency: 7, debounce: 1h}")

    await shop.platform.operations.resume(failed)
    replayed = await shop.platform.operations.replay(failed, instance=newer)

    most = {}
    while (lease := await shop.take()) is not None:
        most[lease.message.id] = [limit.most for limit in lease.message.concurrency]
    assert most == {failed: [1], replayed: [7]}


async def test_a_run_by_hand_does_not_wait_and_others_wait_for_it(shop: Shop) -> None:
    instance = await shop.deploy("{concurrency: 1, debounce: 10s}")
    by_hand = await shop.accept(instance, "by hand", hold_s=60.0)
    [waiting] = await posted(shop, "webhook")
    shop.clock.at += 11
    taken = await shop.take()
    assert taken is not None

    lease = await shop.platform.stores.queue.claim("other", by_hand.id)

    assert taken.message.id == waiting
    assert lease is not None
    assert (await shop.record(waiting)).status is Status.QUEUED
    [later] = await posted(shop, "later")
    shop.clock.at += 11
    await shop.platform.runner.run(taken)
    assert await shop.take() is None
    await shop.platform.runner.run(lease)
    assert await shop.drain() == [later]


async def test_running_by_hand_ends_at_once_however_many_run(shop: Shop) -> None:
    instance = await shop.deploy("{concurrency: 1, rate: {most: 1, window: 1d}, order: {per: customer}, debounce: 1h}")
    await posted(shop, 1)

    id = await shop.platform.run(instance, "main", Value({"body": 2}))

    assert (await shop.record(id)).status is Status.SUCCEEDED


async def test_an_end_that_was_written_as_its_worker_died_is_not_written_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.deploy("{debounce: 10s}")
    first, _ = await posted(shop, 1, 2)
    lease = await shop.take()
    assert lease is not None

    async def die(lease: Lease) -> bool:
        raise Died

    with monkeypatch.context() as patch:
        patch.setattr(shop.platform.stores.queue, "complete", die)
        with pytest.raises(Died):
            await shop.platform.runner.run(lease)
    rows = await shop.platform.stores.journal.rows(first)
    await shop.platform.stores.queue.reap(workers=["w"])

    again = await shop.take()

    assert again is not None
    assert (again.message.id, again.attempt) == (first, 2)
    await shop.platform.runner.run(again)
    assert await shop.platform.stores.journal.rows(first) == rows
    assert await shop.take() is None


@pytest.mark.parametrize("limits", ["{concurrency: 1}", "{order: {per: flow}}", "{debounce: 1s}"])
async def test_limits_that_the_queue_does_not_keep_are_refused_before_anything_is_accepted(
    tmp_path: Path, limits: str
) -> None:
    async with shop_in(tmp_path, queue="unlimited") as shop:
        with pytest.raises(
            SettingsError, match="flow 'main' of 'shop' has `limits`, which the queue 'unlimited' does not"
        ):
            await shop.deploy(limits)

        await shop.deploy("{deduplicate: '${{ trigger.body.id }}', priority: 3}")
        assert (await shop.post({"id": 1})).status == 202


async def test_the_record_tells_which_executions_count_together(shop: Shop) -> None:
    await shop.deploy(f"{{concurrency: {{most: 2, {BY_ACCOUNT}}}}}")
    one, same, other = await posted(shop, {"account": 1}, {"account": 1}, {"account": 2})

    limits = [(await shop.record(id)).info.limits for id in (one, same, other)]

    keys = [found.concurrency[0].key for found in limits if found is not None]
    assert keys[0] == keys[1] != keys[2]
