"""Requests that Schemathesis makes up from the OpenAPI document, right ones and wrong ones: every answer is as the document says, and
none is a failure of ours."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from turnout.services.api.service import openapi

from core.tests.api.described import require_described
from core.tests.api.town import ORDERS, Town, town_in

SCHEMA = schemathesis.openapi.from_dict(openapi())
MADE: list[Any] = [one.ok() for one in list[Any](SCHEMA.get_all_operations())]
OPERATIONS = {f"{one.method.upper()} {one.path.removeprefix('/api/v1')}": one for one in MADE}
KNOWN = {
    "{customer}": "acme",
    "{connection}": "erp",
    "{instance}": "orders",
    "{integration}": "orders",
    "{version}": "1.0.0",
}


class Fuzzed:
    """A town and its event loop, for all operations together: what one has broken another meets."""

    def __init__(self, folder: Path) -> None:
        self.runner, self.stack = asyncio.Runner(), AsyncExitStack()
        self.town: Town = self.runner.run(self._settled(folder))

    async def _settled(self, folder: Path) -> Town:
        town = await self.stack.enter_async_context(town_in(folder))
        await town.publish()
        await town.publish(ORDERS.replace("1.0.0", "2.0.0"))
        return town

    async def furnish(self) -> None:
        """What earlier requests may have deleted is there again."""
        await self.town.ask("POST", "/customers", json={"name": "acme"})
        await self.town.connect("acme")
        await self.town.deploy("acme")

    def close(self) -> None:
        self.runner.run(self.stack.aclose())
        self.runner.close()


@pytest.fixture(scope="module")
def fuzzed() -> Iterator[Fuzzed]:
    with tempfile.TemporaryDirectory() as folder:
        made = Fuzzed(Path(folder))
        yield made
        made.close()


@pytest.mark.parametrize("operation", [one for one in OPERATIONS if one != "GET /openapi.json"])
def test_whatever_is_asked_is_answered_as_described(fuzzed: Fuzzed, operation: str) -> None:
    method, _, template = operation.partition(" ")
    path = template
    for name, known in KNOWN.items():
        path = path.replace(name, known)
    fuzzed.runner.run(fuzzed.furnish())

    @given(case=OPERATIONS[operation].as_strategy())
    @settings(max_examples=20, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    def ask(case: Any) -> None:
        sent = case.as_transport_kwargs(base_url="http://127.0.0.1:8400")
        options = {name: sent[name] for name in ("params", "json", "data") if sent.get(name) is not None}
        # What is made up in place of a name is nearly always nothing's: so each is asked of what there is, too.
        for url in (sent["url"], f"http://127.0.0.1:8400/api/v1{path}"):
            headers = {"authorization": f"Bearer {fuzzed.town.keys['/admin']}"}
            answer = fuzzed.runner.run(fuzzed.town.client.request(method, url, headers=headers, **options))
            assert answer.status_code < 500, answer.text
            if answer.url.path.count("/") == template.count("/") + 2:  # a slash in a name makes it another path
                require_described(answer)

    ask()
