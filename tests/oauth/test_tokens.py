"""Tokens that are valid when they are used: renewed in time, once, and kept before anybody has them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from turnout.errors import BackendError, StepError
from turnout.interfaces.catalog import CatalogChange
from turnout.interfaces.secrets import Secret
from turnout.local.memory_catalog import MemoryCatalog
from turnout.services.oauth.renewal import LEASE_S
from turnout.services.oauth.tokens import TokenSet

from tests.oauth.bench import Bench, registration
from tests.oauth.server import Provider


async def test_a_connected_account_has_a_token_that_its_provider_takes(bench: Bench) -> None:
    await bench.connected()

    assert bench.provider.api(await bench.token()) == 200
    assert bench.book.marks == [("acme", "erp", "ok", "")]
    assert bench.provider.counts["authorization_code"] == 1


async def test_a_token_that_lasts_is_given_without_asking_the_provider(bench: Bench) -> None:
    await bench.connected()

    fields = {"base_url": "https://erp.example", "client_secret": "of the client"}
    first = await bench.renewals.fresh("acme", "erp", fields)
    second = await bench.renewals.fresh("acme", "erp", dict(fields))

    assert first is second
    assert set(first) == {"base_url", "access_token"}
    assert bench.provider.counts["refresh_token"] == 0


async def test_a_hundred_who_need_the_same_expired_token_at_once_cause_one_renewal(bench: Bench) -> None:
    await bench.connected()
    old = await bench.token()
    bench.clock.advance(601)

    tokens = set(await asyncio.gather(*(bench.token() for _ in range(100))))

    assert len(tokens) == 1
    assert tokens != {old}
    assert bench.provider.counts["refresh_token"] == 1
    assert bench.provider.api(tokens.pop()) == 200


async def test_processes_that_need_it_at_once_cause_one_renewal(bench: Bench) -> None:
    await bench.connected()
    bench.clock.advance(601)
    processes = [bench.other() for _ in range(5)]

    asked = asyncio.gather(*(process.token() for process in processes for _ in range(20)))
    while not asked.done():
        await bench.clock.run(0.2)
        await asyncio.sleep(0)
    tokens = set(await asked)

    assert len(tokens) == 1
    assert bench.provider.counts["refresh_token"] == 1
    for process in processes:
        await process.close()


async def test_refresh_tokens_rotate_through_many_renewals(bench: Bench) -> None:
    await bench.connected()

    for _ in range(5):
        bench.clock.advance(601)
        assert bench.provider.api(await bench.token()) == 200

    assert bench.provider.counts["refresh_token"] == 5


@pytest.mark.parametrize("client", ["poster", "public"])
async def test_clients_prove_who_they_are_as_their_provider_wants(bench: Bench, client: str) -> None:
    bench.book.connections["acme", "erp"] = registration(bench.provider, client)
    await bench.connected()
    bench.clock.advance(601)

    assert bench.provider.api(await bench.token()) == 200


async def test_a_client_that_stands_for_itself_needs_nobody_to_connect(bench: Bench) -> None:
    bench.book.connections["acme", "robot"] = registration(bench.provider, "robot")

    first = await bench.token("robot")
    bench.clock.advance(601)
    second = await bench.token("robot")

    assert first != second
    assert bench.provider.api(second) == 200
    assert bench.provider.counts["client_credentials"] == 2


async def test_the_timer_renews_what_is_used_before_it_expires(bench: Bench) -> None:
    await bench.connected()
    old = await bench.token()

    bench.clock.advance(200)
    await bench.tick()
    assert bench.provider.counts["refresh_token"] == 0

    bench.clock.advance(330)
    await bench.tick()

    assert bench.provider.counts["refresh_token"] == 1
    assert await bench.token() != old


async def test_the_timer_leaves_alone_what_nobody_uses_but_lets_it_not_lapse(bench: Bench) -> None:
    await bench.connected()

    bench.clock.advance(6 * 86400)
    await bench.tick()
    assert bench.provider.counts["refresh_token"] == 0

    bench.clock.advance(86401)
    await bench.tick()
    assert bench.provider.counts["refresh_token"] == 1


async def test_timers_of_several_processes_renew_once(bench: Bench) -> None:
    await bench.connected()
    await bench.token()
    bench.clock.advance(590)
    processes = [bench.other() for _ in range(4)]

    ticks = asyncio.gather(*(process.tick() for process in processes))
    while not ticks.done():
        await bench.clock.run(0.2)
        await asyncio.sleep(0)
    await ticks

    assert bench.provider.counts["refresh_token"] == 1
    for process in processes:
        await process.close()


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 500, "headers": {}},
        {"status": 429, "headers": {"retry-after": "120"}},
        {"status": 302, "headers": {"location": "/"}},
    ],
)
async def test_while_the_provider_has_trouble_a_token_that_is_valid_is_used(
    bench: Bench, fault: dict[str, Any]
) -> None:
    await bench.connected()
    old = await bench.token()
    bench.clock.advance(580)
    bench.provider.fail(fault)

    assert await bench.token() == old
    assert await bench.token() == old
    assert bench.provider.counts["refresh_token"] == 0


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[]",
        "not JSON",
        '{"access_token": ""}',
        '{"access_token": "a\\r\\nb"}',
        '{"access_token": 7}',
        "{" + " " * 300_000 + "}",
    ],
    ids=["nothing", "a list", "text", "an empty token", "a token of two lines", "a number", "too much"],
)
async def test_an_answer_that_is_none_is_asked_for_again(bench: Bench, body: str) -> None:
    await bench.connected()
    bench.clock.advance(601)
    bench.provider.fail({"status": 200, "headers": {"content-type": "application/json"}, "body": body})

    with pytest.raises(StepError, match=r"no OAuth 2\.0 answer") as error:
        await bench.token()
    assert error.value.retryable

    bench.clock.advance(5)
    assert bench.provider.api(await bench.token()) == 200


async def test_a_provider_that_asks_for_fewer_requests_gets_none_for_so_long(bench: Bench) -> None:
    bench.book.connections["acme", "shop"] = registration(bench.provider)
    await bench.connected()
    await bench.connected("shop")
    bench.clock.advance(601)
    bench.provider.fail({"status": 429, "headers": {"retry-after": "120"}})

    with pytest.raises(StepError) as limited:
        await bench.token()
    with pytest.raises(StepError) as another:  # the same client, another connection
        await bench.token("shop")
    assert limited.value.kind == another.value.kind == "connection"
    assert another.value.retry_after_s == pytest.approx(120)
    assert another.value.retryable
    assert bench.provider.counts["refresh_token"] == 0

    bench.clock.advance(121)
    assert bench.provider.api(await bench.token("shop")) == 200
    assert bench.provider.api(await bench.token()) == 200


async def test_what_the_provider_refuses_for_good_breaks_the_connection_until_somebody_connects_again(
    bench: Bench,
) -> None:
    await bench.connected()
    await bench.revoke()
    bench.clock.advance(601)

    for _ in range(2):
        with pytest.raises(
            StepError, match="the customer must connect it again; `turnout connections connect acme erp`"
        ) as error:
            await bench.token()
        assert (error.value.kind, error.value.retryable) == ("connection", False)

    assert bench.provider.counts["refused"] == 1, "what was refused is not asked again"
    [_, (*whose, state, reason)] = bench.book.marks
    assert (whose, state) == (["acme", "erp"], "broken")
    assert "invalid_grant" in reason

    await bench.connected()
    assert bench.provider.api(await bench.token()) == 200
    assert bench.book.marks[-1] == ("acme", "erp", "ok", "")


async def test_a_client_that_is_refused_is_tried_again_once_it_may_be_right(bench: Bench) -> None:
    await bench.connected()
    right = bench.book.connections["acme", "erp"]
    bench.book.connections["acme", "erp"] = replace(right, secret=Secret("of yesterday"))
    bench.clock.advance(601)

    with pytest.raises(StepError, match="invalid_"):
        await bench.token()
    assert bench.book.marks[-1][2] == "broken"

    bench.book.connections["acme", "erp"] = right
    bench.clock.advance(61)
    assert bench.provider.api(await bench.token()) == 200
    assert bench.book.marks[-1][2] == "ok"


async def test_a_refresh_token_goes_to_nobody_but_the_provider_that_gave_it(bench: Bench) -> None:
    await bench.connected()
    bench.book.connections["acme", "erp"] = registration(bench.provider, token_url="https://mallory.example/token")
    bench.clock.advance(601)

    with pytest.raises(StepError, match="its provider or client was changed: the customer must connect it again"):
        await bench.token()


async def test_what_a_connection_had_is_revoked_when_it_is_gone(bench: Bench) -> None:
    await bench.connected()
    token = await bench.token()

    await bench.renewals.forget("acme", "erp", bench.book.connections["acme", "erp"])

    assert bench.provider.api(token) == 401
    assert await bench.tokens.get("acme", "erp") is None


async def test_what_nobody_has_connected_says_so(bench: Bench) -> None:
    with pytest.raises(StepError, match="nobody has connected it yet") as error:
        await bench.token()
    assert error.value.kind == "connection"


async def test_somebody_who_stops_waiting_does_not_stop_the_renewal(bench: Bench) -> None:
    await bench.connected()
    bench.clock.advance(601)
    bench.provider.control("hold", when="after")

    waiting = asyncio.create_task(bench.token())
    await bench.provider.held()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    bench.provider.control("release")

    assert bench.provider.api(await bench.token()) == 200
    assert bench.provider.counts == {**bench.provider.counts, "refresh_token": 1, "refused": 0}


async def test_a_process_that_is_slow_does_not_undo_what_another_has_renewed(bench: Bench) -> None:
    """Given a renewal whose answer comes after its lease, it is kept: the other's use of the refresh token is what is refused."""
    await bench.connected()
    bench.clock.advance(601)
    bench.provider.control("hold", when="after")
    slow = asyncio.create_task(bench.token())
    await bench.provider.held()
    bench.clock.advance(LEASE_S + 1)
    bench.provider.control("release")

    assert await slow
    assert await bench.other().token() == await bench.token()
    assert bench.provider.counts["refused"] == 0


class FailingCatalog(MemoryCatalog):
    """Cannot write for a while."""

    failures = 0

    async def write(self, *changes: CatalogChange) -> bool:
        if self.failures and any(b'"generation":2' in (change.body or b"") for change in changes):
            self.failures -= 1
            raise BackendError("the disk is full")
        return await super().write(*changes)


async def test_a_new_token_that_cannot_be_written_is_held_on_to_and_given_to_nobody_before(provider: Provider) -> None:
    catalog = FailingCatalog()
    bench = Bench(provider, catalog=catalog)
    await bench.connected()
    bench.clock.advance(601)
    catalog.failures = 5

    asked = asyncio.create_task(bench.token())
    while not asked.done():
        await bench.clock.run(0.5)
        await asyncio.sleep(0.001)
    token = await asked

    assert catalog.failures == 0
    assert await bench.other().token() == token
    assert provider.counts["refresh_token"] == 1
    await bench.close()


async def test_what_cannot_be_renewed_now_is_not_in_the_way_of_others(bench: Bench) -> None:
    bench.book.connections["acme", "shop"] = registration(bench.provider)
    await bench.connected()
    await bench.connected("shop")
    await bench.token()
    bench.clock.advance(601)
    bench.provider.fail({"status": 429, "headers": {"retry-after": "120"}})
    with pytest.raises(StepError):
        await bench.token("shop")

    await bench.tick()

    assert await bench.tokens.documents.due(bench.clock.now() + 100) == []
    bench.clock.advance(121)
    await bench.tick()
    assert bench.provider.counts["refresh_token"] == 2


async def test_that_a_connection_is_broken_is_said_by_the_timer_where_it_could_not_be_written(bench: Bench) -> None:
    await bench.connected()
    await bench.revoke()
    bench.clock.advance(601)
    bench.book.failing = True
    with pytest.raises(StepError):
        await bench.token()

    bench.book.failing = False
    await bench.tick()
    await bench.tick()

    assert [state for *_, state, _ in bench.book.marks] == ["ok", "broken"]


async def test_a_token_that_nothing_can_renew_is_used_until_it_expires_and_then_said_to_be_over(bench: Bench) -> None:
    now = bench.clock.now()
    tokens = TokenSet(access_token="lone", obtained_at=now, expires_at=now + 600)
    await bench.renewals.stored("acme", "erp", bench.book.connections["acme", "erp"], tokens)

    bench.clock.advance(599)
    assert await bench.token() == "lone"
    bench.clock.advance(2)
    await bench.tick()

    assert bench.book.marks[-1][2] == "broken"
    with pytest.raises(StepError, match="the provider gave no refresh token: the customer must connect it again"):
        await bench.token()
    assert bench.provider.counts["refresh_token"] == bench.provider.counts["refused"] == 0


async def test_a_token_without_an_end_is_never_renewed(bench: Bench) -> None:
    tokens = TokenSet(access_token="eternal", obtained_at=bench.clock.now())
    await bench.renewals.stored("acme", "erp", bench.book.connections["acme", "erp"], tokens)

    bench.clock.advance(10 * 365 * 86400)
    await bench.tick()

    assert await bench.token() == "eternal"


async def test_what_a_provider_gave_is_no_reference_whatever_it_looks_like(bench: Bench) -> None:
    tokens = TokenSet(access_token="env:ERP_TOKEN", obtained_at=bench.clock.now())
    await bench.renewals.stored("acme", "erp", bench.book.connections["acme", "erp"], tokens)

    given = await bench.renewals.fresh("acme", "erp", {})

    assert not isinstance(given["access_token"], str)


async def test_that_a_connection_works_is_said_again_where_it_could_not_be_written(bench: Bench) -> None:
    bench.book.failing = True
    await bench.connected()
    assert bench.book.marks == []

    bench.book.failing = False
    await bench.token()
    await bench.token()

    assert bench.book.marks == [("acme", "erp", "ok", "")]


async def test_a_connection_that_is_made_again_has_nothing_of_the_one_before(bench: Bench) -> None:
    await bench.connected()
    before = await bench.token()
    other = bench.other()
    assert await other.token() == before

    await bench.renewals.forget("acme", "erp", bench.book.connections["acme", "erp"])
    await bench.connected()

    assert await other.token() == await bench.token() != before
    await other.close()


async def test_tokens_are_kept_encrypted_and_open_for_their_connection_alone(bench: Bench) -> None:
    await bench.connected()
    token = await bench.token()
    [entry] = await bench.catalog.entries("oauth-token", tenant="acme")

    assert token.encode() not in entry.body
    found = await bench.tokens.get("acme", "erp")
    assert found is not None
    await bench.tokens.documents.put("erp", found.value, tenant="mallory")
    with pytest.raises(BackendError):
        await bench.renewals.fresh("mallory", "erp", {})


def test_nothing_printed_has_a_token(provider: Provider) -> None:
    tokens = TokenSet(access_token="very-hidden", refresh_token="more-hidden", obtained_at=0.0)
    shown = f"{tokens} {tokens!r} {registration(provider)!r}"

    assert "hidden" not in shown
    assert "shop-secret-of-the-client" not in shown
