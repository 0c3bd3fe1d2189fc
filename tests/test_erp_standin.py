"""The ERP of the demo, on which the demo's claims rest."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from turnout_connectors.standins.serving import serving

from examples.orders.erp import ErpStandIn

TOKEN = {"authorization": "Bearer secret"}


@pytest.fixture
def erp() -> ErpStandIn:
    return ErpStandIn(token="secret")


@pytest.fixture
async def client(erp: ErpStandIn) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(erp.app) as url, httpx.AsyncClient(base_url=url) as client:
        yield client


async def test_it_keeps_what_it_accepts_and_gives_a_receipt(erp: ErpStandIn, client: httpx.AsyncClient) -> None:
    answer = await client.post("/orders", json={"batch": 1}, headers=TOKEN)

    assert (answer.status_code, answer.json()) == (201, {"receipt": "R-00001"})
    assert [order.body for order in erp.accepted] == [{"batch": 1}]


async def test_it_answers_a_repeated_key_with_the_first_receipt_and_accepts_nothing_more(
    erp: ErpStandIn, client: httpx.AsyncClient
) -> None:
    headers = {**TOKEN, "idempotency-key": "k1"}
    first = await client.post("/orders", json={"batch": 1}, headers=headers)

    again = await client.post("/orders", json={"batch": 1}, headers=headers)

    assert again.json() == first.json()
    assert [(order.key, order.times_sent) for order in erp.accepted] == [("k1", 2)]


@pytest.mark.parametrize("authorization", ["Bearer other", "secret", ""])
async def test_it_refuses_whoever_has_no_token(erp: ErpStandIn, client: httpx.AsyncClient, authorization: str) -> None:
    answer = await client.post("/orders", json={}, headers={"authorization": authorization})

    assert answer.status_code == 401
    assert not erp.accepted


async def test_it_refuses_what_is_not_json(erp: ErpStandIn, client: httpx.AsyncClient) -> None:
    answer = await client.post("/orders", content=b"{", headers=TOKEN)

    assert answer.status_code == 400
    assert not erp.accepted


async def test_it_fails_as_often_as_it_is_told_to_and_then_works() -> None:
    erp = ErpStandIn(token="secret", fail_first=2)

    async with serving(erp.app) as url, httpx.AsyncClient(base_url=url) as client:
        answers = [(await client.post("/orders", json={}, headers=TOKEN)).status_code for _ in range(3)]
        listed = (await client.get("/orders", headers=TOKEN)).json()

    assert answers == [503, 503, 201]
    assert [order["receipt"] for order in listed] == ["R-00001"]
