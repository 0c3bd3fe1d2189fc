"""Two customers who ask at random for what is theirs, what is the other's and what nobody has: neither sees or changes anything of
the other's.

Everything of a customer has that customer's name in it. So what an answer may not have is known without a model, and an answer
about what is the other's has to be, but for the name, the answer about what nobody has.
"""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from core.tests.api.town import CUSTOMERS, ORDERS, Town, town_in

__all__ = ["TwoCustomers"]

NOBODY = "nope"
NO_EXECUTION = "0" * 26
NO_KEY = "0" * 16
CUSTOMER, CONNECTION, INSTANCE = "/customers/{customer}", "/connections/{connection}", "/instances/{instance}"
CHANGES: dict[str, Any] = {"config": {"greeting": "by {me}"}, "connections": {"erp": "{connection}"}}
OPERATIONS: tuple[tuple[str, str, dict[str, Any] | None], ...] = (
    ("GET", "/customers", None),
    ("GET", CUSTOMER, None),
    ("PATCH", CUSTOMER, {"title": "by {me}"}),
    ("DELETE", CUSTOMER, None),
    ("GET", f"{CUSTOMER}/connections", None),
    ("GET", CUSTOMER + CONNECTION, None),
    ("PATCH", CUSTOMER + CONNECTION, {"fields": {"user": "by {me}"}}),
    ("DELETE", CUSTOMER + CONNECTION, None),
    ("POST", f"{CUSTOMER}{CONNECTION}/test", None),
    ("POST", f"{CUSTOMER}{CONNECTION}/invitations", {}),
    (
        "POST",
        f"{CUSTOMER}/connections",
        {"name": "erp", "connector": "erp", "fields": {"url": "{me}", "user": "{me}", "password": "of {me}"}},
    ),
    ("GET", "/instances", None),
    ("GET", "/instances?customer={customer}", None),
    ("GET", "/instances?integration={integration}", None),
    ("GET", f"{CUSTOMER}/instances", None),
    ("GET", CUSTOMER + INSTANCE, None),
    ("PATCH", CUSTOMER + INSTANCE, CHANGES),
    ("POST", f"{CUSTOMER}{INSTANCE}/check", CHANGES),
    ("POST", f"{CUSTOMER}{INSTANCE}/pause", None),
    ("POST", f"{CUSTOMER}{INSTANCE}/resume", None),
    ("POST", f"{CUSTOMER}{INSTANCE}/rollback", None),
    ("DELETE", f"{CUSTOMER}{INSTANCE}?force=true", None),
    (
        "POST",
        f"{CUSTOMER}/instances",
        {"integration": "{integration}", "name": "{me}-new", "config": {"greeting": "{me}"}},
    ),
    ("GET", "/integrations", None),
    ("GET", "/integrations/{integration}", None),
    ("GET", "/integrations/{integration}/versions/1.0.0", None),
    ("GET", "/integrations/{integration}/differences?before=1.0.0&after=1.0.0", None),
    ("GET", "/executions", None),
    ("GET", "/executions?customer={customer}", None),
    ("GET", "/executions?instance=shop-{customer}", None),
    ("GET", "/executions/{execution}", None),
    ("GET", "/executions/{execution}/logs", None),
    ("POST", "/executions/{execution}/cancel", {"reason": "by {me}"}),
    ("POST", "/executions/{execution}/resume", None),
    ("POST", "/executions/{execution}/replay", None),
    ("GET", "/dead-letters", None),
    ("POST", "/dead-letters/{letter}/retry", None),
    ("DELETE", "/dead-letters/{letter}", None),
    ("GET", "/api-keys", None),
    ("GET", "/api-keys/{key}", None),
    ("POST", "/api-keys", {"name": "of {me}", "customer": "{customer}"}),
)


@dataclass
class Asked:
    """A request. `foreign` are the texts in it that are the other's, each with one of the same kind that nobody has."""

    method: str
    path: str
    body: str | None
    foreign: dict[str, str]

    def of_nobody(self) -> Asked:
        return Asked(self.method, self.plain(self.path), None if self.body is None else self.plain(self.body), {})

    def plain(self, text: str) -> str:
        for theirs, nobodys in self.foreign.items():
            text = text.replace(theirs, nobodys)
        return text


class TwoCustomers(RuleBasedStateMachine):
    """`seen` is all that a customer's key can be shown, as it was when something of the customer last changed."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.folder = self.stack.enter_context(tempfile.TemporaryDirectory())
        self.seen: dict[str, dict[str, str]] = {}
        self.executions: dict[str, list[str]] = {customer: [] for customer in CUSTOMERS}
        self.letters: dict[str, str] = {}
        self.town: Town = self.runner.run(self._settled())

    async def _settled(self) -> Town:
        town = await self.stack.enter_async_context(town_in(Path(self.folder)))
        await town.publish()
        for customer in CUSTOMERS:
            await town.publish(ORDERS.replace("integration: orders", f"integration: {customer}-only"))
            await town.connect(customer)
            await town.connect(customer, f"{customer}-erp")
            await town.deploy(customer)
            body = {"integration": f"{customer}-only", "config": {"greeting": customer}}
            assert (await town.ask("POST", f"/customers/{customer}/instances", json=body)).status_code == 201
            for flow in ("main", "fail", "wait"):
                self.executions[customer].append(await town.run(customer, flow, customer))
            self.letters[customer] = await town.bury(customer)
        await town.ask("GET", "/dead-letters")  # from here on their records say that they were given up
        return town

    def teardown(self) -> None:
        self.runner.run(self.stack.aclose())
        self.runner.close()

    @rule(
        me=st.sampled_from(CUSTOMERS),
        role=st.sampled_from(["admin", "admin", "admin", "operate", "read"]),
        operation=st.sampled_from(OPERATIONS),
        where=st.booleans(),
        what=st.booleans(),
        shared=st.booleans(),
    )
    def ask(self, me: str, role: str, operation: tuple[str, str, Any], where: bool, what: bool, shared: bool) -> None:
        """`where` says whether the customer is the one who asks, `what` whether names and ids are; `shared` names are of both."""
        other = _other(me)
        asked = self._request(operation, me, me if where else other, me if what else other, shared)
        before = self._seen(other)

        answer = self._send(asked, f"{me}/{role}")
        self.seen.pop(me, None)

        assert answer.status_code < 500, answer.text
        self._require_own(asked, answer, other)
        if asked.foreign:
            nothing = self._send(asked.of_nobody(), f"{me}/{role}")
            told = asked.plain(answer.text), nothing.text
            assert answer.status_code == nothing.status_code, told
            assert answer.status_code in (400, 403, 409) or told[0] == told[1]
        self.seen.pop(other)
        assert self._seen(other) == before

    @rule(me=st.sampled_from(CUSTOMERS), flow=st.sampled_from(["main", "wait"]))
    def run(self, me: str, flow: str) -> None:
        """What a flow counts is the customer's own."""
        self.executions[me].append(self.runner.run(self.town.run(me, flow, me)))
        self.seen.clear()
        for customer in CUSTOMERS:
            query = f"/executions?limit=500&instance=shop-{customer}&flow=main&status=succeeded"
            found = self._get(query, f"{customer}/read").json()["items"]
            assert sorted(one["output"]["runs"] for one in found) == list(range(1, len(found) + 1))
            assert {one["customer"] for one in found} == {customer}

    @rule(whom=st.sampled_from(CUSTOMERS), what=st.sampled_from(["suspend", "resume"]))
    def put_on_hold(self, whom: str, what: str) -> None:
        """What the organisation does with one is none of the other's."""
        before = self._seen(_other(whom))
        asked = Asked("POST", f"/customers/{whom}/{what}", None, {})
        assert self._send(asked, "/admin").status_code == 200
        self.seen.clear()
        assert self._seen(_other(whom)) == before

    def _request(self, operation: tuple[str, str, Any], me: str, where: str, what: str, shared: bool) -> Asked:
        method, path, body = operation
        mine = {
            "me": me,
            "customer": where,
            "connection": "erp" if shared else f"{what}-erp",
            "instance": "orders" if shared else f"{what}-only",
            "integration": "orders" if shared else f"{what}-only",
            "execution": self.executions[what][-1 if shared else 0],
            "letter": self.letters[what],
            "key": self.town.keys[f"{what}/{'admin' if shared else 'read'}"].split("_")[1],
        }
        other, text = _other(me), None if body is None else _filled(json.dumps(body), mine)
        path = _filled(path, mine)
        theirs = {
            other: NOBODY,
            **dict.fromkeys([*self.executions[other], self.letters[other]], NO_EXECUTION),
            **{key.split("_")[1]: NO_KEY for name, key in self.town.keys.items() if name.startswith(other)},
        }
        sent = path + (text or "")
        return Asked(method, path, text, {one: nobodys for one, nobodys in theirs.items() if one in sent})

    def _require_own(self, asked: Asked, answer: httpx.Response, other: str) -> None:
        """Nothing of the other's, but for what was asked with."""
        text = answer.text + json.dumps(dict(answer.headers))
        for sent in asked.foreign:
            text = text.replace(sent, "")
        assert not re.search(rf"(?<![0-9a-z]){other}(?![0-9a-z])", text), text
        ids = [*self.executions[other], self.letters[other]]
        assert not [id for id in ids if id in text], text

    def _seen(self, customer: str) -> dict[str, str]:
        if customer not in self.seen:
            self.seen[customer] = self._all_of(customer)
        return self.seen[customer]

    def _all_of(self, customer: str) -> dict[str, str]:
        own = f"/customers/{customer}"
        paths = [own, "/customers", "/integrations", "/instances", "/executions", "/dead-letters", "/api-keys"]
        paths += [f"{own}/connections/{name}" for name in ("erp", f"{customer}-erp")]
        paths += [f"{own}/instances/{name}" for name in ("orders", f"{customer}-only")]
        paths += [f"/executions/{id}" for id in self.executions[customer][-2:]]
        return {path: self._get(path, f"{customer}/admin").text for path in paths}

    def _get(self, path: str, key: str) -> httpx.Response:
        return self._send(Asked("GET", path, None, {}), key)

    def _send(self, asked: Asked, key: str) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.town.keys[key]}", "content-type": "application/json"}
        path = f"/api/v1{asked.path}"
        return self.runner.run(
            self.town.client.request(asked.method, path, headers=headers, content=(asked.body or "").encode())
        )


def _other(customer: str) -> str:
    return next(one for one in CUSTOMERS if one != customer)


def _filled(text: str, values: dict[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: values[found[1]], text)
