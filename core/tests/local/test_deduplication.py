"""The same request sent twice is one execution, for as long as the flow says, however the first one ended."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from turnout.interfaces.queue import Message
from turnout.model.execution import Status
from turnout.services.submission import Acceptance

from core.tests.engine.laboratory import Died
from core.tests.local.shop import Shop, said, shop_in

BY_ID = "{deduplicate: {key: '${{ trigger.body.id }}', window: 1h}}"


@pytest.fixture(params=["in-memory", "sqlite"])
async def shop(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Shop]:
    async with shop_in(tmp_path, queue=request.param) as opened:
        yield opened


async def test_a_webhook_that_comes_again_is_answered_with_the_first_ones_id(shop: Shop) -> None:
    await shop.deploy(BY_ID)

    first = await shop.post({"id": 7, "try": 1})
    again = await shop.post({"id": 7, "try": 2})
    other = await shop.post({"id": "7"})

    assert (first.status, again.status, other.status) == (202, 202, 202)
    assert said(again) == {**said(first), "duplicate": True}
    assert "duplicate" not in said(other)
    assert await shop.drain() == [said(first)["execution"], said(other)["execution"]]
    record = await shop.record(said(first)["execution"])
    assert record.output is not None
    assert record.output.json == b'{"id":7,"try":1}'


async def test_it_is_remembered_after_the_first_has_ended_until_the_window_is_over(shop: Shop) -> None:
    await shop.deploy(BY_ID)
    first = said(await shop.post({"id": 1}))["execution"]
    await shop.drain()
    assert (await shop.record(first)).status is Status.SUCCEEDED
    assert not await shop.platform.stores.journal.rows(first)

    soon = said(await shop.post({"id": 1}))
    shop.clock.at += 3500
    later = said(await shop.post({"id": 1}))

    assert (soon["execution"], soon["duplicate"]) == (later["execution"], later["duplicate"]) == (first, True)
    assert await shop.drain() == []
    shop.clock.at += 200
    anew = said(await shop.post({"id": 1}))
    assert "duplicate" not in anew
    assert anew["execution"] != first
    assert await shop.drain() == [anew["execution"]]
    assert (await shop.record(first)).info.created_at < (await shop.record(anew["execution"])).info.created_at


@pytest.mark.parametrize("offset", range(0, 3600, 600))
async def test_one_that_has_not_ended_counts_no_longer_than_the_window(shop: Shop, offset: int) -> None:
    shop.clock.at += offset
    instance = await shop.deploy(BY_ID)
    first = await shop.accept(instance, {"id": 1})

    shop.clock.at += 3590
    soon = await shop.accept(instance, {"id": 1})
    shop.clock.at += 20
    later = await shop.accept(instance, {"id": 1})

    assert soon == Acceptance(id=first.id, duplicate=True)
    assert not later.duplicate
    assert await shop.drain() == [first.id, later.id]


async def test_what_waits_for_the_answer_of_a_duplicate_gets_the_first_ones_answer(shop: Shop) -> None:
    await shop.deploy(BY_ID)
    first = said(await shop.post({"id": 1}))["execution"]
    await shop.drain()
    await shop.record(first)

    answer = await shop.post({"id": 1, "try": 2}, {"wait": "10s"})

    assert (answer.status, answer.headers["turnout-execution"]) == (200, first)
    assert said(answer) == {"id": 1}


async def test_a_senders_own_id_is_remembered_for_a_day_after_the_end(shop: Shop) -> None:
    instance = await shop.deploy("{}")
    first = await shop.accept(instance, deduplication_id="delivery-1")
    await shop.drain()
    await shop.record(first.id)
    shop.clock.at += 86_000

    again = await shop.accept(instance, deduplication_id="delivery-1")
    shop.clock.at += 1_000
    next_day = await shop.accept(instance, deduplication_id="delivery-1")

    assert (first.duplicate, again.duplicate, next_day.duplicate) == (False, True, False)
    assert first.id == again.id != next_day.id


@pytest.mark.parametrize("offset", range(0, 3600, 600))
async def test_an_hour_is_an_hour_whenever_the_first_one_came(shop: Shop, offset: int) -> None:
    shop.clock.at += offset
    instance = await shop.deploy(BY_ID)
    first = await shop.accept(instance, {"id": 1})
    await shop.drain()
    await shop.record(first.id)

    shop.clock.at += 3590
    assert await shop.accept(instance, {"id": 1}) == Acceptance(id=first.id, duplicate=True)
    shop.clock.at -= 3600  # another host's clock, a little behind
    assert await shop.accept(instance, {"id": 1}) == Acceptance(id=first.id, duplicate=True)
    shop.clock.at += 3620
    assert not (await shop.accept(instance, {"id": 1})).duplicate


async def test_what_the_flow_says_counts_before_the_senders_id(shop: Shop) -> None:
    instance = await shop.deploy(BY_ID)

    first = await shop.accept(instance, {"id": 1}, deduplication_id="a")
    again = await shop.accept(instance, {"id": 1}, deduplication_id="b")
    other = await shop.accept(instance, {"id": 2}, deduplication_id="a")

    assert (again.id, again.duplicate) == (first.id, True)
    assert not other.duplicate


@pytest.mark.parametrize("body", [None, {}, {"id": None}, "text"])
async def test_without_a_value_each_is_an_execution_of_its_own_and_says_so(shop: Shop, body: Any) -> None:
    await shop.deploy(BY_ID)

    one, other = [said(await shop.post(body))["execution"] for _ in range(2)]

    assert one != other
    assert await shop.drain() == [one, other]
    assert await shop.logs(one) == [
        ("warning", "limits: `deduplicate`: ${{ trigger.body.id }} gave null; it is an execution of its own")
    ]


async def test_ids_cannot_be_told_beforehand(tmp_path: Path) -> None:
    found = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        async with shop_in(tmp_path / name) as shop:
            found.append((await shop.accept(await shop.deploy(BY_ID), {"id": 1})).id)

    assert found[0] != found[1]


async def test_a_duplicate_queues_what_a_process_accepted_and_died(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    instance = await shop.deploy(BY_ID)
    queue = shop.platform.stores.queue

    async def die(message: Message, **options: Any) -> bool:
        raise Died

    with monkeypatch.context() as patch:
        patch.setattr(queue, "put", die)
        with pytest.raises(Died):
            await shop.accept(instance, {"id": 1})
    assert await shop.taken() == []

    again = await shop.accept(instance, {"id": 1})

    assert again.duplicate
    assert await shop.drain() == [again.id]


async def test_a_run_by_hand_and_a_replay_are_never_duplicates(shop: Shop) -> None:
    instance = await shop.deploy(BY_ID)
    first = (await shop.accept(instance, {"id": 1})).id
    await shop.drain()

    by_hand = await shop.accept(instance, {"id": 1}, hold_s=60.0)
    replayed = await shop.platform.operations.replay(first)

    assert not by_hand.duplicate
    assert len({first, by_hand.id, replayed}) == 3
