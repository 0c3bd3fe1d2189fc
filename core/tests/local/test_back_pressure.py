"""A customer whose queue is full: programs are told before anything is written, webhooks are taken all the same."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from turnout.errors import Overloaded
from turnout.values import Value

from core.tests.local.shop import Shop, said, shop_in


@pytest.fixture(params=["in-memory", "sqlite"])
async def shop(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Shop]:
    async with shop_in(tmp_path, queue=request.param, capacity=2) as opened:
        yield opened


async def fill(shop: Shop) -> list[str]:
    await shop.deploy("{}")
    return [said(await shop.post(number))["execution"] for number in range(2)]


async def test_a_program_is_told_and_nothing_is_written(shop: Shop) -> None:
    instance = await shop.deploy("{}")
    full = await fill(shop)

    with pytest.raises(Overloaded, match="'local' has as many executions waiting as its `capacity` allows") as refusal:
        await shop.accept(instance, capped=True)

    assert refusal.value.retry_after_s > 0
    assert list(await shop.platform.stores.journal.unfinished()) == full
    with pytest.raises(Overloaded):
        await shop.platform.run(instance, "main", Value(None))
    assert list(await shop.platform.stores.journal.unfinished()) == full


async def test_webhooks_are_taken_whatever_waits(shop: Shop) -> None:
    full = await fill(shop)

    answers = [await shop.post(number) for number in range(3)]

    assert [answer.status for answer in answers] == [202, 202, 202]
    assert await shop.drain() == [*full, *(said(answer)["execution"] for answer in answers)]


async def test_there_is_room_again_once_something_has_begun(shop: Shop) -> None:
    instance = await shop.deploy("{}")
    await fill(shop)
    await shop.run_next()

    accepted = await shop.accept(instance, capped=True)

    assert accepted.id in await shop.drain()


async def test_a_replay_is_held_to_it_here_and_over_http(shop: Shop) -> None:
    instance = await shop.deploy("{}")
    ended = (await shop.accept(instance)).id
    await shop.drain()
    full = await fill(shop)

    with pytest.raises(Overloaded):
        await shop.platform.operations.replay(ended)
    async with shop.client() as client:
        answer = await client.post(f"/api/v1/executions/{ended}/replay")

    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0
    assert "nothing was accepted" in answer.json()["detail"]
    assert list(await shop.platform.stores.journal.unfinished()) == full


async def test_a_replay_over_http_is_accepted_where_there_is_room(shop: Shop) -> None:
    instance = await shop.deploy("{}")
    ended = (await shop.accept(instance, {"n": 1})).id
    await shop.drain()

    async with shop.client() as client:
        answer = await client.post(f"/api/v1/executions/{ended}/replay")
        unknown = await client.post("/api/v1/executions/x/replay")

    assert (answer.status_code, unknown.status_code) == (202, 404)
    id = answer.json()["execution"]
    assert answer.headers["location"] == f"/api/v1/executions/{id}"
    await shop.drain()
    again = await shop.record(id)
    assert again.info.replay_of == ended
    assert again.output == (await shop.record(ended)).output
