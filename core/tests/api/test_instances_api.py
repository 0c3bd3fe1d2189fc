"""Integrations and instances over HTTP: what is published is seen, deployed, changed, taken back, paused and deleted."""

from __future__ import annotations

from typing import Any

import pytest

from core.tests.api.town import ORDERS, Town

ONE = "/customers/acme/instances/orders"
SECOND = ORDERS.replace("1.0.0", "2.0.0").replace("default: 10", "default: 20")


@pytest.fixture
async def deployed(town: Town) -> Town:
    await town.publish()
    await town.connect("acme")
    await town.connect("bolt")
    await town.deploy("acme")
    return town


async def test_what_is_published_is_described(town: Town) -> None:
    await town.publish()
    await town.publish(SECOND)

    [listed] = (await town.ask("GET", "/integrations", "/read")).json()["items"]
    versions = (await town.ask("GET", "/integrations/orders/versions", "/read", params={"limit": 1})).json()
    rest = await town.ask("GET", "/integrations/orders/versions", "/read", params={"cursor": versions["next"]})
    shown = (await town.ask("GET", "/integrations/orders/versions/1.0.0", "/read")).json()
    differences = await town.ask("GET", "/integrations/orders/differences?before=1.0.0&after=2.0.0", "/read")
    nothing = await town.ask("GET", "/integrations/orders/differences?before=1.0.0&after=2.0.1", "/read")

    assert (listed["name"], listed["newest"]["version"], listed["versions"]) == ("orders", "2.0.0", 2)
    assert [one["version"] for one in [*versions["items"], *rest.json()["items"]]] == ["2.0.0", "1.0.0"]
    assert {one["name"]: one["default"] for one in shown["config"]} == {"greeting": None, "size": 10}
    assert (shown["connections"][0]["connector"], shown["flows"][0]["trigger"]) == ("erp", "webhook")
    assert differences.json() == {"config": ["~ size"], "connections": [], "flows": []}
    assert (nothing.status_code, "1.0.0" in nothing.text) == (404, False)


async def test_an_instance_is_deployed_changed_and_taken_back(deployed: Town) -> None:
    await deployed.publish(SECOND)
    changed = await deployed.ask("PATCH", ONE, "acme/admin", json={"version": "2.0.0", "config": {"size": 3}})
    same = await deployed.ask("PATCH", ONE, "acme/admin", json={"version": "2.0.0"})
    unset = await deployed.ask("PATCH", ONE, "acme/admin", json={"unset": ["size"]})
    back = await deployed.ask("POST", f"{ONE}/rollback", "acme/admin")

    assert (changed.json()["version"], changed.json()["version_before"]) == ("2.0.0", "1.0.0")
    assert changed.json()["config"] == {"greeting": "hello", "size": 3}
    assert (same.json()["notes"], same.headers["etag"]) == (["there is nothing to change"], changed.headers["etag"])
    assert (unset.json()["config"], back.json()["config"]) == ({"greeting": "hello"}, {"greeting": "hello", "size": 3})


async def test_all_that_is_missing_is_told_by_field_and_nothing_is_deployed(town: Town) -> None:
    await town.publish()
    body = {"integration": "orders", "config": {"size": "many", "greting": "x"}, "connections": {"epr": "erp"}}

    answer = await town.ask("POST", "/customers/acme/instances", json=body)

    faults = " ".join(fault["detail"] for fault in answer.json()["faults"])
    assert answer.status_code == 400
    for field in ("'greeting' is not set", "'size' must be a whole number", "'greting'", "'epr'", "connection 'erp'"):
        assert field in faults
    assert "turnout " not in answer.text
    assert (await town.ask("GET", ONE)).status_code == 404


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"integration": "oders"}, "no published integration 'oders'"),
        ({"integration": "orders", "version": "9"}, "'9'"),
        ({"integration": "orders", "name": "a b"}, "$.name"),
        ({"integration": "orders", "config": []}, "$.config"),
        ({"integration": "orders", "colour": "red"}, "colour"),
    ],
)
async def test_what_cannot_be_deployed_is_400(deployed: Town, body: dict[str, Any], said: str) -> None:
    answer = await deployed.ask("POST", "/customers/acme/instances", "acme/admin", json=body)

    assert (answer.status_code, said in answer.json()["detail"]) == (400, True), answer.text
    assert "did you mean" not in answer.text


async def test_a_name_that_is_taken_is_409(deployed: Town) -> None:
    again = await deployed.deploy("acme")

    assert (again.status_code, "already" in again.json()["detail"], "`" in again.text) == (409, True, False)


async def test_a_check_changes_nothing(deployed: Town) -> None:
    tag = (await deployed.ask("GET", ONE)).headers["etag"]

    wrong = await deployed.ask("POST", f"{ONE}/check", "acme/read", json={"unset": ["greeting"]})
    right = await deployed.ask("POST", f"{ONE}/check", "acme/read", json={"config": {"size": 5}})

    assert (wrong.json()["fits"], "'greeting'" in wrong.json()["problems"][0]) == (False, True)
    assert right.json() == {"fits": True, "problems": [], "notes": []}
    assert (await deployed.ask("GET", ONE)).headers["etag"] == tag


async def test_a_change_is_made_to_what_was_read_or_not_at_all(deployed: Town) -> None:
    tag = (await deployed.ask("GET", ONE)).headers["etag"]

    first = await deployed.ask("PATCH", ONE, json={"config": {"size": 1}}, headers={"if-match": tag})
    second = await deployed.ask("PATCH", ONE, json={"config": {"size": 2}}, headers={"if-match": tag})

    assert (first.status_code, second.status_code) == (200, 412)
    assert (await deployed.ask("GET", ONE)).json()["config"]["size"] == 1


async def test_what_cannot_be_taken_back_is_409(deployed: Town) -> None:
    answer = await deployed.ask("POST", f"{ONE}/rollback", "acme/admin")

    assert (answer.status_code, "nothing to go back to" in answer.json()["detail"]) == (409, True)


async def test_an_instance_is_paused_resumed_and_deleted(deployed: Town) -> None:
    paused = await deployed.ask("POST", f"{ONE}/pause", "acme/operate")
    resumed = await deployed.ask("POST", f"{ONE}/resume", "acme/operate")
    first = await deployed.ask("DELETE", ONE, "acme/admin")
    between = await deployed.ask("POST", f"{ONE}/pause", "acme/operate")
    deployed.clock.at += 10
    second = await deployed.ask("DELETE", ONE, "acme/admin")

    assert (paused.json()["state"], resumed.json()["state"]) == ("paused", "active")
    assert (first.status_code, first.json()["deleted"], bool(first.json()["waiting_for"])) == (202, False, True)
    assert between.status_code == 409
    assert (second.status_code, second.json()) == (200, {"deleted": True, "waiting_for": None})
    assert (await deployed.ask("GET", ONE)).status_code == 404


async def test_instances_of_all_are_paged_through_and_filtered(deployed: Town) -> None:
    for customer, name in (("acme", "a"), ("acme", "z"), ("bolt", "orders"), ("bolt", "b")):
        assert (await deployed.deploy(customer, name)).status_code == 201

    async def names(key: str, path: str = "/instances", **query: Any) -> list[str]:
        found, cursor = [], ""
        while True:
            answer = (await deployed.ask("GET", path, key, params={"limit": 2, "cursor": cursor, **query})).json()
            found += [f"{one['customer']}/{one['name']}" for one in answer["items"]]
            if answer["next"] is None:
                return found
            cursor = answer["next"]

    acme, bolt = ["acme/a", "acme/orders", "acme/z"], ["bolt/b", "bolt/orders"]
    assert await names("/read") == [*acme, *bolt]
    assert await names("/read", customer="bolt") == bolt
    assert await names("/read", integration="nothing") == []
    assert await names("/read", "/customers/acme/instances") == acme
    assert await names("acme/read") == acme
    assert await names("acme/read", customer="bolt") == []


async def test_a_customers_key_knows_the_integrations_that_it_has_and_of_no_others(deployed: Town) -> None:
    await deployed.publish(ORDERS.replace("integration: orders", "integration: made-for-bolt"))
    body = {"integration": "made-for-bolt", "config": {"greeting": "x"}}

    listed = (await deployed.ask("GET", "/integrations", "acme/admin")).json()["items"]
    hidden = await deployed.ask("GET", "/integrations/made-for-bolt", "acme/admin")
    unknown = await deployed.ask("GET", "/integrations/made-for-nobo", "acme/admin")
    tried = await deployed.ask("POST", "/customers/acme/instances", "acme/admin", json=body)
    body["integration"] = "made-for-nobo"
    wrong = await deployed.ask("POST", "/customers/acme/instances", "acme/admin", json=body)
    second = await deployed.ask(
        "POST", "/customers/acme/instances", "acme/admin", json={**body, "integration": "orders", "name": "second"}
    )

    assert [one["name"] for one in listed] == ["orders"]
    assert hidden.text.replace("-bolt", "-nobo") == unknown.text
    assert (hidden.status_code, tried.status_code, second.status_code) == (404, 400, 201)
    assert tried.text.replace("-bolt", "-nobo") == wrong.text
