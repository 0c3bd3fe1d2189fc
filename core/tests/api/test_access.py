"""Who comes in: by key and role, and without a key only programs on this machine."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from turnout.config import ApiSettings, Authentication, ProjectSettings
from turnout.services.api.service import ENDPOINTS
from turnout.services.api_keys import ApiKeys

from core.tests.api.town import Town, town_in

HERE = "http://127.0.0.1:8400"


@pytest.fixture
async def open_town(tmp_path: Path) -> AsyncIterator[Town]:
    api = ApiSettings(authentication=Authentication.NONE, hosts=("Turnout.Internal",))
    async with town_in(tmp_path, api, project=ProjectSettings(url="https://hooks.example.com")) as made:
        yield made


async def test_without_a_key_nothing_is_answered(town: Town) -> None:
    answer = await town.ask("GET", "/executions", None)

    assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")
    assert answer.headers["www-authenticate"] == 'Bearer realm="turnout"'
    assert answer.json()["type"] == "urn:turnout:problem:unauthenticated"
    assert "Authorization: Bearer" in answer.json()["detail"]


@pytest.mark.parametrize(
    "authorization", ["Bearer", "Bearer nonsense", "Basic dXNlcjpwYXNz", "bearer turnout_0000000000000000_" + "0" * 64]
)
async def test_what_is_no_good_key_is_401(town: Town, authorization: str) -> None:
    answer = await town.ask("GET", "/executions", None, headers={"authorization": authorization})

    assert answer.status_code == 401
    assert authorization.partition(" ")[2] not in answer.text or " " not in authorization


async def test_a_revoked_key_is_refused_from_the_next_request_on(town: Town) -> None:
    id = town.keys["acme/read"].split("_")[1]
    before = await town.ask("GET", "/executions", "acme/read")

    await ApiKeys(town.platform.stores.catalog, town.clock).revoke(id)

    assert (before.status_code, (await town.ask("GET", "/executions", "acme/read")).status_code) == (200, 401)


WHO = """
GET /executions: read
GET /executions/{id}: read
GET /executions/{id}/logs: read
POST /executions/{id}/cancel: operate
POST /executions/{id}/resume: operate
POST /executions/{id}/replay: operate
GET /queue: read, organisation
GET /dead-letters: read
GET /dead-letters/{id}: read
POST /dead-letters/{id}/retry: operate
DELETE /dead-letters/{id}: operate
GET /api-keys: admin
POST /api-keys: admin
GET /api-keys/{id}: admin
DELETE /api-keys/{id}: admin
GET /customers: read
POST /customers: admin, organisation
GET /customers/{customer}: read
PATCH /customers/{customer}: admin, organisation
POST /customers/{customer}/suspend: operate, organisation
POST /customers/{customer}/resume: operate, organisation
DELETE /customers/{customer}: admin, organisation
GET /customers/{customer}/connections: read
POST /customers/{customer}/connections: admin
GET /customers/{customer}/connections/{connection}: read
PATCH /customers/{customer}/connections/{connection}: admin
DELETE /customers/{customer}/connections/{connection}: admin
POST /customers/{customer}/connections/{connection}/test: operate
POST /customers/{customer}/connections/{connection}/invitations: admin
GET /instances: read
GET /customers/{customer}/instances: read
POST /customers/{customer}/instances: admin
GET /customers/{customer}/instances/{instance}: read
PATCH /customers/{customer}/instances/{instance}: admin
DELETE /customers/{customer}/instances/{instance}: admin
POST /customers/{customer}/instances/{instance}/check: read
POST /customers/{customer}/instances/{instance}/rollback: admin
POST /customers/{customer}/instances/{instance}/pause: operate
POST /customers/{customer}/instances/{instance}/resume: operate
GET /integrations: read
POST /integrations: admin, organisation
GET /integrations/{integration}: read
GET /integrations/{integration}/versions: read
GET /integrations/{integration}/versions/{version}: read
GET /integrations/{integration}/differences: read
"""
RIGHTS = {one.partition(": ")[0]: one.partition(": ")[2].split(", ") for one in WHO.strip().splitlines()}


def test_the_table_has_every_endpoint() -> None:
    assert set(RIGHTS) == {f"{one.method} {one.path}" for one in ENDPOINTS if not one.public}


@pytest.mark.parametrize("whose", ["acme", ""])
async def test_a_role_does_what_it_may_and_no_more(town: Town, whose: str) -> None:
    """Each endpoint by each role: nothing is found, or the request is not understood, but only who may not is told so."""
    roles = ["read", "operate", "admin"]
    wrong = []
    for endpoint, (needed, *more) in RIGHTS.items():
        method, _, template = endpoint.partition(" ")
        path = re.sub(r"\{\w+\}", "unknown", template)
        statuses = [(await town.ask(method, path, f"{whose}/{role}", json={})).status_code for role in roles]
        refused = roles if more and whose else roles[: roles.index(needed)]
        if [role for role, status in zip(roles, statuses, strict=True) if status == 403] != refused:
            wrong.append((endpoint, statuses))
        assert max(statuses) < 500

    assert not wrong


async def test_every_path_without_a_key_is_401(town: Town) -> None:
    for endpoint in RIGHTS:
        method, _, template = endpoint.partition(" ")
        answer = await town.ask(method, re.sub(r"\{\w+\}", "acme", template), None, json={})
        assert answer.status_code == 401, endpoint


async def test_a_customers_key_finds_another_customer_as_little_as_nobody(town: Town) -> None:
    """Whatever it asks of it: word for word the same."""
    await town.publish()
    await town.connect("bolt")
    await town.deploy("bolt")
    names = {"connection": "erp", "instance": "orders"}
    bodies = {"POST /customers/{customer}/connections": {"name": "erp", "connector": "erp"}}
    bodies["POST /customers/{customer}/instances"] = {"integration": "orders"}
    for endpoint in (one for one in RIGHTS if "{customer}" in one):
        method, _, template = endpoint.partition(" ")
        answers = []
        for customer in ("bolt", "nope"):
            path = template.format(customer=customer, **names)
            answer = await town.ask(method, path, "acme/admin", json=bodies.get(endpoint, {}))
            answers.append((answer.status_code, answer.text.replace(customer, "X")))
        assert answers[0] == answers[1], endpoint
        assert answers[0][0] == (403 if "organisation" in RIGHTS[endpoint] else 404), endpoint


async def test_what_is_the_organisations_is_not_for_a_customers_key(town: Town) -> None:
    answers = [await town.ask("GET", "/queue", key) for key in ("acme/admin", "/read")]

    assert [answer.status_code for answer in answers] == [403, 200]


async def test_many_wrong_keys_from_an_address_are_slowed_down_and_good_ones_still_open(town: Town) -> None:
    wrong = {"authorization": "Bearer turnout_" + "0" * 16 + "_" + "0" * 64}

    statuses = [(await town.ask("GET", "/executions", None, headers=wrong)).status_code for _ in range(22)]
    last = await town.ask("GET", "/executions", None, headers=wrong)
    good = await town.ask("GET", "/executions", "acme/read")
    town.clock.at += 61.0
    later = await town.ask("GET", "/executions", None, headers=wrong)

    assert statuses == [401] * 20 + [429] * 2
    assert 0 < int(last.headers["retry-after"]) <= 60
    assert (good.status_code, later.status_code) == (200, 401)


async def test_a_key_is_in_no_log(town: Town, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secrets = [key.rpartition("_")[2] for key in town.keys.values()]

    await town.ask("GET", "/executions", "acme/read")
    await town.ask("GET", "/executions", None, headers={"authorization": f"Bearer {town.keys['acme/read']}0"})
    await town.ask("GET", f"/api-keys/{town.keys['bolt/read']}", "/admin")

    # The test's own client logs what it sends.
    told = " ".join(one.getMessage() for one in caplog.records if not one.name.startswith("http"))
    assert not [secret for secret in secrets if secret in told]


async def test_where_no_key_is_needed_programs_here_are_answered(open_town: Town) -> None:
    hosts = ["127.0.0.1:8400", "localhost:8400", "[::1]:8400", "turnout.internal", "hooks.example.com"]

    statuses = [(await open_town.ask("GET", "/executions", None, headers={"host": host})).status_code for host in hosts]

    assert statuses == [200] * 5


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "attacker.example:8400"},  # DNS rebinding: the attacker's name, this machine's address
        {"host": "127.0.0.1.attacker.example"},
        {"host": ""},
        {"origin": "https://attacker.example"},
        {"origin": "http://localhost:3000"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
async def test_where_no_key_is_needed_pages_of_browsers_are_refused(open_town: Town, headers: dict[str, str]) -> None:
    execution = await open_town.run("acme", "wait")
    sent = {"host": "127.0.0.1:8400", **headers}

    for method, path in (("GET", "/executions"), ("POST", f"/executions/{execution}/cancel")):
        answer = await open_town.ask(method, path, None, headers=sent)
        assert answer.status_code == 403, answer.text
    record = await open_town.platform.record(execution)
    assert record is not None
    assert record.status.value == "waiting"


async def test_a_page_that_is_served_here_is_answered(open_town: Town) -> None:
    sent = {"host": "127.0.0.1:8400", "origin": HERE, "sec-fetch-site": "same-origin"}

    assert (await open_town.ask("GET", "/executions", None, headers=sent)).status_code == 200


async def test_a_wrong_key_is_refused_where_none_is_needed(open_town: Town) -> None:
    answer = await open_town.ask("GET", "/executions", None, headers={"authorization": "Bearer nonsense"})

    assert answer.status_code == 401


async def test_a_form_of_a_page_changes_nothing(open_town: Town) -> None:
    execution = await open_town.run("acme", "wait")

    answer = await open_town.ask(
        "POST", f"/executions/{execution}/cancel", None, content=b"reason=x", headers={"content-type": "text/plain"}
    )

    assert answer.status_code == 415
