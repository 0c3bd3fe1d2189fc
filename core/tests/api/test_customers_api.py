"""Customers over HTTP: the organisation makes, changes and deletes them; a customer's key sees its own, and no sign of others."""

from __future__ import annotations

import pytest

from core.tests.api.town import Town


async def test_a_customer_is_made_changed_and_shown(town: Town) -> None:
    made = await town.ask("POST", "/customers", json={"name": "crab", "title": "Crab Ltd", "metadata": {"crm": "17"}})
    again = await town.ask("POST", "/customers", json={"name": "crab"})
    change = {"title": "Crab AG", "metadata": {"crm": None, "tier": "gold"}}
    changed = await town.ask("PATCH", "/customers/crab", json=change)
    shown = await town.ask("GET", made.headers["location"].removeprefix("/api/v1"), "/read")

    assert (made.status_code, made.json()["metadata"], made.json()["state"]) == (201, {"crm": "17"}, "active")
    assert (again.status_code, again.json()["detail"]) == (409, "there is a customer 'crab' already")
    assert changed.json() == shown.json()
    assert (shown.json()["title"], shown.json()["metadata"]) == ("Crab AG", {"tier": "gold"})


async def test_a_change_is_made_to_what_was_read_or_not_at_all(town: Town) -> None:
    tag = (await town.ask("GET", "/customers/acme")).headers["etag"]
    known = await town.ask("GET", "/customers/acme", headers={"if-none-match": tag})

    first = await town.ask("PATCH", "/customers/acme", json={"title": "One"}, headers={"if-match": tag})
    second = await town.ask("PATCH", "/customers/acme", json={"title": "Two"}, headers={"if-match": tag})
    nonsense = await town.ask("PATCH", "/customers/acme", json={"title": "Two"}, headers={"if-match": '"x"'})

    assert (known.status_code, known.content) == (304, b"")
    assert (first.status_code, second.status_code, nonsense.status_code) == (200, 412, 412)
    shown = await town.ask("GET", "/customers/acme", headers={"if-none-match": tag})
    assert (shown.status_code, shown.json()["title"]) == (200, "One")
    assert shown.headers["etag"] == first.headers["etag"] != tag


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "no name"}, "$.name"),
        ({"name": "crab\n"}, "$.name"),
        ({"name": ""}, "$.name"),
        ({"name": "x" * 101}, "$.name"),
        ({"title": "without"}, "name"),
        ({"name": "crab", "title": "two\nlines"}, "title"),
        ({"name": "crab", "metadata": {"a b": "x"}}, "metadata key"),
        ({"name": "crab", "metadata": {"a": "x" * 1001}}, "$.metadata"),
        ({"name": "crab", "metadata": {f"k{n}": "" for n in range(51)}}, "metadata"),
        ({"name": "crab", "colour": "red"}, "colour"),
    ],
)
async def test_what_cannot_be_a_customer_is_refused_by_its_field(
    town: Town, body: dict[str, object], field: str
) -> None:
    answer = await town.ask("POST", "/customers", json=body)

    assert answer.status_code == 400
    assert field in answer.json()["detail"]
    assert (await town.ask("GET", "/customers/crab")).status_code == 404


async def test_customers_are_listed_by_name_in_pages(town: Town) -> None:
    await town.ask("POST", "/customers", json={"name": "aardvark"})

    first = (await town.ask("GET", "/customers", params={"limit": 2})).json()
    rest = (await town.ask("GET", "/customers", params={"limit": 2, "cursor": first["next"]})).json()

    assert [one["name"] for one in [*first["items"], *rest["items"]]] == ["aardvark", "acme", "bolt"]
    assert rest["next"] is None


async def test_a_customers_key_sees_its_own_and_no_sign_of_others(town: Town) -> None:
    listed = (await town.ask("GET", "/customers", "acme/admin")).json()
    paged = (await town.ask("GET", "/customers", "acme/admin", params={"limit": 1})).json()
    rest = (await town.ask("GET", "/customers", "acme/admin", params={"limit": 1, "cursor": paged["next"]})).json()
    other = await town.ask("GET", "/customers/bolt", "acme/admin")
    nobody = await town.ask("GET", "/customers/nope", "acme/admin")

    assert [one["name"] for one in listed["items"]] == ["acme"]
    assert rest == {"items": [], "next": None}
    assert (other.status_code, other.text.replace("bolt", "X")) == (404, nobody.text.replace("nope", "X"))


async def test_a_missing_customer_names_no_other(town: Town) -> None:
    answer = await town.ask("GET", "/customers/acmee")

    assert (answer.status_code, answer.json()["detail"]) == (404, "no customer 'acmee'")


async def test_a_suspended_customer_is_resumed(town: Town) -> None:
    suspended = await town.ask("POST", "/customers/acme/suspend", "/operate")
    resumed = await town.ask("POST", "/customers/acme/resume", "/operate")

    assert (suspended.json()["state"], resumed.json()["state"]) == ("suspended", "active")


async def test_a_deleted_customer_is_gone_with_its_keys(town: Town) -> None:
    first = await town.ask("DELETE", "/customers/acme")
    for _ in range(5):  # nobody takes in anything any more that was read before, and then step by step
        town.clock.at += 61.0
        deleted = await town.ask("DELETE", "/customers/acme", params={"force": True})
        if deleted.status_code == 200:
            break
    again = await town.ask("DELETE", "/customers/acme")

    assert (first.status_code, first.json()["deleted"], bool(first.json()["waiting_for"])) == (202, False, True)
    assert (deleted.status_code, deleted.json()) == (200, {"deleted": True, "waiting_for": None})
    assert again.status_code == 404
    assert (await town.ask("GET", "/executions", "acme/read")).status_code == 401
    assert [one["name"] for one in (await town.ask("GET", "/customers")).json()["items"]] == ["bolt"]
