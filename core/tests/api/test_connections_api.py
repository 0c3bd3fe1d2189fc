"""Connections over HTTP: kept, changed, tried, removed; secrets go in and never come out, those of the organisation least of all."""

from __future__ import annotations

from typing import Any

import pytest

from core.tests.api.town import Town

ERP = "/customers/acme/connections/erp"


@pytest.fixture(autouse=True)
def known_to_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ERP_TOKEN", "organisations-own-secret")


async def test_a_connection_shows_what_is_no_secret_and_whether_the_others_are_set(town: Town) -> None:
    made = await town.connect("acme")
    shown = await town.ask("GET", ERP, "acme/read")
    listed = await town.ask("GET", "/customers/acme/connections", "acme/read")

    assert (made.status_code, made.headers["location"]) == (201, f"/api/v1{ERP}")
    assert made.json() == shown.json()
    assert shown.json()["fields"] == {"url": "https://acme.example", "user": "acme"}
    assert shown.json()["secrets"] == {"password": True}
    assert [one["name"] for one in listed.json()["items"]] == ["erp"]
    assert "hunter2" not in made.text + shown.text + listed.text


async def test_a_url_with_a_password_in_it_is_a_secret(town: Town) -> None:
    made = await town.connect("acme", url="https://me:hunter2@erp.example")

    assert (made.json()["secrets"], "hunter2" in made.text) == ({"password": True, "url": True}, False)


async def test_an_account_that_is_to_be_connected_says_what_it_lacks(town: Town) -> None:
    body = {"name": "mail", "connector": "mail", "fields": {"client_id": "us"}}
    made = await town.ask("POST", "/customers/acme/connections", "acme/admin", json=body)
    changed = await town.ask(
        "PATCH", "/customers/acme/connections/mail", "acme/admin", json={"fields": {"client_secret": "s3cret"}}
    )

    assert (made.json()["state"], made.json()["secrets"]) == ("pending", {"client_secret": False})
    assert (changed.json()["fields"], changed.json()["secrets"]) == ({"client_id": "us"}, {"client_secret": True})


async def test_somebody_of_the_customer_is_invited_to_connect(town: Town) -> None:
    fields = {"client_id": "us", "client_secret": "s3cret"}
    body = {"name": "mail", "connector": "mail", "fields": fields}
    await town.ask("POST", "/customers/acme/connections", "acme/admin", json=body)
    await town.connect("acme")
    invitations = "/customers/acme/connections/mail/invitations"

    made = await town.ask("POST", invitations, "acme/admin", json={"valid_s": 60})
    strange = await town.ask("POST", invitations, "acme/admin", json={"return_to": "https://attacker.example"})
    other = await town.ask("POST", f"{ERP}/invitations", "acme/admin")
    nothing = await town.ask("POST", "/customers/acme/connections/none/invitations", "acme/admin")

    assert made.status_code == 201
    assert made.json()["link"].startswith("http://127.0.0.1:8400/connect/")
    assert "s3cret" not in made.text
    assert (strange.status_code, "`return_to`" in strange.json()["detail"]) == (400, True)
    assert (other.status_code, nothing.status_code) == (409, 404)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "a b"}, "$.name"),
        ({"connector": "epr"}, "there is no connector 'epr'"),
        ({"type": "basci"}, "no type 'basci'"),
        ({"fields": {"url": "u", "user": "me"}}, "password"),
        ({"fields": {"url": "u", "user": "me", "password": "hunter2", "colour": "red"}}, "colour"),
        ({"fields": {"url": "u", "user": ["hunter2"], "password": "hunter2"}}, "user"),
        ({"fields": []}, "$.fields"),
        ({"fields": {"url": "u" * 140_000, "user": "me", "password": "hunter2"}}, "larger"),
    ],
)
async def test_what_cannot_be_a_connection_is_refused_by_its_field(
    town: Town, body: dict[str, Any], field: str
) -> None:
    right = {"name": "erp", "connector": "erp", "type": "basic", "fields": {"url": "u", "user": "me"}}

    answer = await town.ask("POST", "/customers/acme/connections", "acme/admin", json={**right, **body})

    assert (answer.status_code, field in answer.json()["detail"]) == (400, True), answer.text
    assert "hunter2" not in answer.text
    assert (await town.ask("GET", ERP)).status_code == 404


async def test_a_connection_is_changed_as_it_was_read_or_not_at_all(town: Town) -> None:
    tag = (await town.connect("acme")).headers["etag"]

    first = await town.ask("PATCH", ERP, "acme/admin", json={"fields": {"user": "one"}}, headers={"if-match": tag})
    second = await town.ask("PATCH", ERP, "acme/admin", json={"fields": {"user": "two"}}, headers={"if-match": tag})
    unset = await town.ask("PATCH", ERP, "acme/admin", json={"unset": ["password"]})
    unknown = await town.ask("PATCH", ERP, "acme/admin", json={"unset": ["passwrod"]})

    assert (first.status_code, second.status_code) == (200, 412)
    assert (unset.status_code, unknown.status_code) == (400, 400)
    assert (await town.ask("GET", ERP)).json()["fields"]["user"] == "one"


async def test_a_tag_knows_who_uses_the_connection(town: Town) -> None:
    before = (await town.connect("acme")).headers["etag"]
    await town.publish()
    await town.deploy("acme")

    shown = await town.ask("GET", ERP, headers={"if-none-match": before})
    changed = await town.ask("PATCH", ERP, json={"fields": {"user": "x"}}, headers={"if-match": before})

    assert (shown.status_code, shown.json()["used_by"], changed.status_code) == (200, ["orders"], 200)


async def test_what_is_used_is_not_removed(town: Town) -> None:
    await town.publish()
    await town.connect("acme")
    await town.connect("acme", "other")
    await town.deploy("acme")

    used = await town.ask("DELETE", ERP, "acme/admin")
    removed = await town.ask("DELETE", "/customers/acme/connections/other", "acme/admin")
    again = await town.ask("DELETE", "/customers/acme/connections/other", "acme/admin")

    assert (used.status_code, "orders" in used.json()["detail"]) == (409, True)
    assert (removed.status_code, removed.content, again.status_code) == (204, b"", 404)


async def test_trying_a_connection_says_how_it_went(town: Town) -> None:
    await town.connect("acme", password="env:NOT_THERE")

    tried = await town.ask("POST", f"{ERP}/test", "acme/operate")
    told = await town.ask("GET", ERP, "/read")

    assert (tried.json()["state"], told.json()["state"]) == ("broken", "broken")
    assert "NOT_THERE" in told.json()["reason"]
    assert "NOT_THERE" not in tried.text  # what the organisation calls its secrets is nobody else's business


@pytest.mark.parametrize("written", ["env:ERP_TOKEN", "secret:erp", "env:"])
async def test_a_customers_key_refers_to_no_secret_of_the_organisation(town: Town, written: str) -> None:
    made = await town.connect("acme", key="acme/admin", password=written)
    await town.connect("acme", "own", "acme/admin")
    changed = await town.ask(
        "PATCH", "/customers/acme/connections/own", "acme/admin", json={"fields": {"user": written}}
    )

    assert (made.status_code, changed.status_code) == (400, 400)
    assert "password" in made.json()["detail"]
    assert (await town.ask("GET", ERP)).status_code == 404


async def test_a_customer_cannot_have_the_organisations_secret_sent_elsewhere(town: Town) -> None:
    made = await town.connect("acme", password="env:ERP_TOKEN")

    seen = await town.ask("GET", ERP, "acme/admin")
    led_away = await town.ask("PATCH", ERP, "acme/admin", json={"fields": {"url": "https://attacker.example"}})
    own = {"url": "https://elsewhere.example", "password": "my own"}
    own_secret = await town.ask("PATCH", ERP, "acme/admin", json={"fields": own})

    assert made.json()["fields"]["password"] == "env:ERP_TOKEN"
    assert (seen.json()["secrets"], "ERP_TOKEN" in seen.text) == ({"password": True}, False)
    assert (led_away.status_code, "env:" in led_away.text) == (409, False)
    assert (own_secret.status_code, own_secret.json()["fields"]["url"]) == (200, "https://elsewhere.example")


async def test_nothing_is_kept_for_a_customer_that_there_is_not(town: Town) -> None:
    nobody = await town.connect("nobody")
    local = await town.connect("local")

    assert (nobody.status_code, nobody.json()["detail"]) == (404, "no customer 'nobody'")
    assert local.status_code == 404
