"""Connections of customers: what is kept of them, who sees what, and how a step gets them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from turnout.engine.connections import resolved_connection
from turnout.errors import NotFound, SettingsError, StepError, UserError
from turnout.services.connections import ConnectionState, NewConnection

from core.tests.services.customers_yard import KNOWN, CustomersYard, Renewing, Token, looked_up

PASSWORD = "hunter2-of-acme"
BASIC = {"url": "https://erp.example", "user": "turnout", "password": PASSWORD}


@pytest.fixture
def yard(tmp_path: Path) -> CustomersYard:
    return CustomersYard(tmp_path)


def basic(**changes: Any) -> NewConnection:
    return NewConnection(connector="erp", fields={**BASIC, **changes})


async def test_every_process_gets_the_fields_and_nobody_reads_them_in_the_catalog(yard: CustomersYard) -> None:
    made = await yard.connections.create("acme", "erp", basic())

    assert await yard.another().fields("acme", "erp") == BASIC
    assert made.type == "basic"
    for kind in ("connection", "settings"):
        for entry in await yard.catalog.entries(kind):
            assert PASSWORD.encode() not in entry.body


async def test_what_is_shown_has_no_secret(yard: CustomersYard) -> None:
    await yard.connections.create("acme", "erp", basic())
    await yard.connections.create("acme", "proxy", basic(url=f"https://u:{PASSWORD}@erp.example"))
    await yard.connections.create("acme", "token", NewConnection(connector="erp", fields={"token": "env:ERP_TOKEN"}))

    shown = (await yard.connections.view("acme", "erp")).shown
    assert shown == {"url": "https://erp.example", "user": "turnout", "password": "***"}
    assert (await yard.connections.view("acme", "proxy")).shown["url"] == "***"
    assert (await yard.connections.view("acme", "token")).shown == {"token": "env:ERP_TOKEN"}
    assert PASSWORD not in repr(await yard.connections.view("acme", "erp"))


@pytest.mark.parametrize(
    ("new", "said"),
    [
        (NewConnection(connector="epr"), "did you mean 'erp'"),
        (NewConnection(connector="erp", type="tokne"), "did you mean 'token'"),
        (NewConnection(connector="erp"), "say its type, one of basic, token"),
        (NewConnection(connector="erp", type="basic", fields={"user": "u", "pasword": PASSWORD}), "needs 'url'"),
        (
            NewConnection(connector="erp", type="basic", fields={"user": "u", "pasword": PASSWORD}),
            "did you mean 'password'",
        ),
        (NewConnection(connector="erp", type="token", fields={"token": "t", "size": PASSWORD}), "size: "),
        (NewConnection(connector="erp", type="token", fields={"token": "env:X"}, references=False), "organisation"),
        (NewConnection(connector="erp", type="token", fields={"token": "t" * 200_000}), "larger than"),
    ],
    ids=["connector", "type", "no type", "missing", "unknown", "form", "reference", "large"],
)
async def test_all_that_is_wrong_is_said_and_nothing_is_kept(
    yard: CustomersYard, new: NewConnection, said: str
) -> None:
    with pytest.raises(SettingsError) as raised:
        await yard.connections.create("acme", "erp", new)

    assert said in str(raised.value)
    assert PASSWORD not in str(raised.value)
    assert [name async for name, _ in yard.connections.all("acme")] == []


async def test_a_name_is_taken_once_for_each_customer(yard: CustomersYard) -> None:
    await yard.connections.create("acme", "erp", basic())
    await yard.connections.create("globex", "erp", basic(user="globex"))

    with pytest.raises(UserError, match="already"):
        await yard.connections.create("acme", "erp", basic())
    assert (await yard.connections.fields("globex", "erp"))["user"] == "globex"
    assert (await yard.connections.fields("acme", "erp"))["user"] == "turnout"


async def test_a_connection_of_another_customer_is_none(yard: CustomersYard) -> None:
    await yard.connections.create("acme", "erp", basic())

    with pytest.raises(NotFound, match="has none"):
        await yard.connections.get("globex", "erp")
    with pytest.raises(StepError, match="has no connection"):
        await yard.connections.fields("globex", "erp")


async def test_a_row_that_is_moved_to_another_customer_does_not_open(yard: CustomersYard) -> None:
    await yard.connections.create("acme", "erp", basic())
    await yard.connections.create("globex", "erp", basic())
    stolen = await yard.connections.get("acme", "erp")
    await yard.connections.documents.put("erp", stolen, tenant="globex")

    with pytest.raises(StepError, match="another customer's") as raised:
        await yard.another().fields("globex", "erp")
    assert PASSWORD not in str(raised.value)


async def test_another_process_sees_a_change_within_a_second_and_the_same_object_until_then(
    yard: CustomersYard,
) -> None:
    await yard.connections.create("acme", "erp", basic())
    other = yard.another()
    before = await other.fields("acme", "erp")

    assert await other.fields("acme", "erp") is before
    yard.clock.advance(2)
    assert await other.fields("acme", "erp") is before

    await yard.connections.update("acme", "erp", {"password": "new"})
    yard.clock.advance(1)
    assert (await other.fields("acme", "erp"))["password"] == "new"


async def test_an_update_keeps_the_other_fields_and_refuses_what_does_not_fit(yard: CustomersYard) -> None:
    await yard.connections.create("acme", "erp", basic())

    await yard.connections.update("acme", "erp", {"user": "other"})
    assert await yard.connections.fields("acme", "erp") == {**BASIC, "user": "other"}
    with pytest.raises(SettingsError, match="needs 'user'"):
        await yard.connections.update("acme", "erp", {}, unset=["user"])
    with pytest.raises(SettingsError, match="did you mean 'user'"):
        await yard.connections.update("acme", "erp", {}, unset=["usr"])
    with pytest.raises(SettingsError, match="organisation"):
        await yard.connections.update("acme", "erp", {"user": "secret:other"}, references=False)


async def test_a_removed_connection_made_again_is_another_one(yard: CustomersYard) -> None:
    first = await yard.connections.create("acme", "erp", basic())
    await yard.connections.remove("acme", "erp")

    with pytest.raises(StepError, match="has no connection"):
        await yard.connections.fields("acme", "erp")
    again = await yard.connections.create("acme", "erp", basic())
    assert again.id != first.id


async def test_a_test_looks_references_up_and_says_in_the_state_how_it_went(yard: CustomersYard) -> None:
    await yard.connections.create("acme", "good", NewConnection(connector="erp", fields={"token": "env:ERP_TOKEN"}))
    await yard.connections.create(
        "acme", "bad", NewConnection(connector="erp", type="token", fields={"token": "t", "size": "env:NOT_A_NUMBER"})
    )

    assert (await yard.connections.test("acme", "good")).state is ConnectionState.OK
    broken = await yard.connections.test("acme", "bad")
    assert broken.state is ConnectionState.BROKEN
    assert "size" in broken.reason
    assert (await yard.connections.update("acme", "bad", {"size": 2})).state is ConnectionState.OK


async def test_a_token_source_is_asked_for_its_own_types_and_what_it_brings_is_no_reference(
    yard: CustomersYard,
) -> None:
    source = Renewing()
    connections = yard.another(source)
    await connections.create("acme", "basic", basic())
    made = await connections.create("acme", "oauth", NewConnection(connector="erp", fields={"token": "t"}))
    assert made.state is ConnectionState.PENDING

    await connections.fields("acme", "basic")
    fields = await connections.fields("acme", "oauth")

    assert source.asked == [("acme", "oauth")]
    token = await resolved_connection("oauth", Token, looked_up, fields)
    assert token.secrets() == ("env:ERP_TOKEN",)
    assert KNOWN["env:ERP_TOKEN"] not in token.secrets()


async def test_a_token_source_hears_of_a_connection_that_is_gone(yard: CustomersYard) -> None:
    source = Renewing()
    connections = yard.another(source)
    await connections.create("acme", "oauth", NewConnection(connector="erp", fields={"token": "t"}))

    await connections.remove("acme", "oauth")

    assert source.forgotten == [("acme", "oauth", "erp", Token, {"token": "t"})]


async def test_marking_says_how_a_connection_is_and_a_missing_one_is_nobodys(yard: CustomersYard) -> None:
    await yard.connections.create("acme", "erp", basic())

    await yard.connections.mark("acme", "erp", ConnectionState.BROKEN, "reconnect it")
    await yard.connections.mark("acme", "none", ConnectionState.BROKEN, "reconnect it")

    found = await yard.connections.get("acme", "erp")
    assert (found.state, found.reason) == (ConnectionState.BROKEN, "reconnect it")
    assert await yard.connections.fields("acme", "erp") == BASIC
