"""Executions over HTTP: found, paged through, followed, stopped, run anew; another customer's are not there."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from core.tests.api.town import Town


async def found(town: Town, key: str = "/read", **query: Any) -> list[str]:
    answer = await town.ask("GET", "/executions", key, params=query)
    assert answer.status_code == 200, answer.text
    return [one["id"] for one in answer.json()["items"]]


async def test_filters_find_what_they_name(town: Town) -> None:
    first = await town.run("acme", body="one")
    between = datetime.fromtimestamp(town.clock.now() + 1, UTC).isoformat()
    town.clock.at += 2.0
    failed = await town.run("acme", "fail", body="the moon")
    other = await town.run("bolt")

    assert await found(town) == [other, failed, first]
    assert await found(town, customer="acme") == [failed, first]
    assert await found(town, instance="shop-bolt") == [other]
    assert await found(town, flow="main", customer="acme") == [first]
    assert await found(town, status="failed") == [failed]
    assert await found(town, status="failed,succeeded", customer="acme") == [failed, first]
    assert await found(town, until=between) == [first]
    assert await found(town, since=between) == [other, failed]
    assert await found(town, text="THE MOON") == [failed]


async def test_pages_follow_each_other_to_the_end(town: Town) -> None:
    made = [await town.run("acme", body=n) for n in range(5)]
    await town.run("bolt")

    seen, cursor = [], ""
    while True:
        answer = (await town.ask("GET", "/executions", "acme/read", params={"limit": 2, "cursor": cursor})).json()
        seen += [one["id"] for one in answer["items"]]
        if answer["next"] is None:
            break
        cursor = answer["next"]

    assert seen == made[::-1]


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=x",
        "limit=501",
        "status=nonsense",
        "since=yesterday",
        "cursor=%%%",
        "cursor=AAAA",
        "flwo=main",
        "flow=%00",
        "until=null",
    ],
)
async def test_a_query_that_cannot_be_read_says_what_is_wrong(town: Town, query: str) -> None:
    answer = await town.ask("GET", f"/executions?{query}", "/read")

    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert query.partition("=")[0] in answer.json()["detail"] or "NUL" in answer.json()["detail"]


async def test_another_customers_execution_is_not_there(town: Town) -> None:
    theirs = await town.run("bolt", "wait", body="private")
    unknown = theirs[:-4] + "0000"

    for method, path in (
        ("GET", ""),
        ("GET", "/logs"),
        ("POST", "/cancel"),
        ("POST", "/resume"),
        ("POST", "/replay"),
    ):
        answer = await town.ask(method, f"/executions/{theirs}{path}", "acme/admin")
        nothing = await town.ask(method, f"/executions/{unknown}{path}", "acme/admin")
        assert answer.status_code == 404, path
        # Word for word what is said of an execution that never was.
        assert answer.text.replace(theirs, "ID") == nothing.text.replace(unknown, "ID")
    assert await found(town, "bolt/read") == [theirs]
    assert (await town.ask("GET", f"/executions/{theirs}", "bolt/read")).json()["status"] == "waiting"


async def test_no_filter_and_no_cursor_shows_another_customers(town: Town) -> None:
    mine, theirs = await town.run("acme"), await town.run("bolt")
    cursor = (await town.ask("GET", "/executions", "/read", params={"limit": 1})).json()["next"]

    assert await found(town, "acme/read") == [mine]
    assert await found(town, "acme/read", customer="bolt") == []
    assert await found(town, "acme/read", instance="shop-bolt") == []
    assert (await town.ask("GET", "/executions", "acme/read", params={"cursor": cursor})).status_code == 400
    assert theirs


async def test_an_execution_is_stopped_and_says_why(town: Town) -> None:
    id = await town.run("acme", "wait")

    stopped = await town.ask("POST", f"/executions/{id}/cancel", "acme/operate", json={"reason": "wrong order"})
    await town.drain()
    again = await town.ask("POST", f"/executions/{id}/cancel", "acme/operate")

    assert (stopped.status_code, stopped.json()) == (202, {"cancelled": True})
    assert (again.status_code, again.json()) == (200, {"cancelled": False})
    assert "wrong order" in (await town.ask("GET", f"/executions/{id}", "acme/read")).text


async def test_a_failed_execution_is_resumed_and_others_are_not(town: Town) -> None:
    failed, done = await town.run("acme", "fail"), await town.run("acme")

    resumed = await town.ask("POST", f"/executions/{failed}/resume", "acme/operate")
    refused = await town.ask("POST", f"/executions/{done}/resume", "acme/operate")
    both = await town.ask("POST", f"/executions/{failed}/resume", "acme/operate", json={"repeat": True, "output": 1})

    assert (resumed.status_code, resumed.json()["execution"]) == (202, failed)
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:turnout:problem:conflict")
    assert both.status_code == 400


async def test_a_replay_may_have_another_input(town: Town) -> None:
    id = await town.run("acme", body="old")

    same = await town.ask("POST", f"/executions/{id}/replay", "acme/operate")
    other = await town.ask("POST", f"/executions/{id}/replay", "acme/operate", json={"trigger": {"body": "new"}})
    wrong = await town.ask("POST", f"/executions/{id}/replay", "acme/operate", json={"step": "none"})
    await town.drain()

    outputs = [
        (await town.ask("GET", answer.json()["follow"].removeprefix("/api/v1"), "acme/read")).json()["output"]["said"]
        for answer in (same, other)
    ]
    assert outputs == ["old", "new"]
    assert same.headers["location"] == same.json()["follow"]
    assert wrong.status_code == 409


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b'{"raeson": "x"}', "application/json", 400),
        (b'{"reason": 5}', "application/json", 400),
        (b'{"reason": "a\\u0000b"}', "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b"{}", "application/x-www-form-urlencoded", 415),
        (json.dumps({"reason": "x" * 1_100_000}).encode(), "application/json", 413),
    ],
)
async def test_a_body_that_cannot_be_read_is_refused(town: Town, content: bytes, kind: str, status: int) -> None:
    id = await town.run("acme", "wait")

    answer = await town.ask(
        "POST", f"/executions/{id}/cancel", "acme/operate", content=content, headers={"content-type": kind}
    )

    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


async def test_what_a_key_is_shown_is_kept_by_nothing_in_between(town: Town) -> None:
    assert (await town.ask("GET", "/executions", "acme/read")).headers["cache-control"] == "no-store"


async def test_dead_letters_are_seen_retried_and_dropped_by_whose_they_are(town: Town) -> None:
    mine, theirs = await town.bury("acme"), await town.bury("bolt")
    second = await town.bury("acme")

    listed = (await town.ask("GET", "/dead-letters", "acme/read")).json()["items"]
    first = (await town.ask("GET", "/dead-letters", "acme/read", params={"limit": 1})).json()
    rest = (await town.ask("GET", "/dead-letters", "acme/read", params={"cursor": first["next"]})).json()
    for method, path in (("GET", ""), ("POST", "/retry"), ("DELETE", "")):
        assert (await town.ask(method, f"/dead-letters/{theirs}{path}", "acme/admin")).status_code == 404
    retried = await town.ask("POST", f"/dead-letters/{mine}/retry", "acme/operate")
    dropped = await town.ask("DELETE", f"/dead-letters/{second}", "acme/operate")
    left = (await town.ask("GET", "/dead-letters", "/read")).json()["items"]

    assert {one["execution"] for one in listed} == {mine, second}
    assert all(one["customer"] == "acme" for one in listed)
    assert [one["execution"] for one in [*first["items"], *rest["items"]]] == [one["execution"] for one in listed]
    assert (retried.status_code, dropped.status_code) == (202, 200)
    assert [one["execution"] for one in left] == [theirs]


async def test_a_customers_admin_makes_and_revokes_keys_of_its_customer_alone(town: Town) -> None:
    made = await town.ask("POST", "/api-keys", "acme/admin", json={"name": "new", "role": "operate"})
    other = await town.ask("POST", "/api-keys", "acme/admin", json={"name": "new", "customer": "bolt"})
    theirs = town.keys["bolt/read"].split("_")[1]
    revoked = await town.ask("DELETE", f"/api-keys/{theirs}", "acme/admin")
    whole = town.keys["/read"].split("_")[1]
    listed = (await town.ask("GET", "/api-keys", "acme/admin")).json()["items"]

    assert (made.status_code, made.json()["customer"]) == (201, "acme")
    assert (other.status_code, revoked.status_code) == (404, 404)
    assert (await town.ask("GET", f"/api-keys/{whole}", "acme/admin")).status_code == 404
    assert {one["customer"] for one in listed} == {"acme"}
    assert not [one for one in listed if "key" in one]
    town.keys["new"] = made.json()["key"]
    assert (await town.ask("GET", "/executions", "new")).status_code == 200
    gone = await town.ask("DELETE", f"/api-keys/{made.json()['id']}", "acme/admin")
    assert (gone.json()["state"], (await town.ask("GET", "/executions", "new")).status_code) == ("revoked", 401)
