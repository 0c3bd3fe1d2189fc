"""Flows that verify their requests, and requests to them: what the tests of webhooks' doors work with."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr
from turnout.connectors import ConnectionType, Connector, Inputs, Request, Response, TriggerEvent, Value
from turnout.services.ingress import Ingress
from turnout.services.ingress.gate import KeyCheck
from turnout.services.ingress.sns import Fetch, fetch

from core.tests.services.test_service_contracts import make_ingress
from core.tests.services.yard import Yard

SECRET = "It's a Secret to Everybody"


class Secrets(ConnectionType):
    secret: SecretStr | None = None
    previous: SecretStr | None = None
    verify_token: SecretStr | None = None
    topic_arn: str = ""
    username: str = ""
    password: SecretStr | None = None
    signing_secret: SecretStr | None = None


def hooks() -> Connector:
    """A connector whose connections hold secrets, and whose trigger says by itself how it is verified."""
    connector = Connector("hooks")
    connector.connection("secrets", Secrets)

    @connector.trigger(scheme="slack", secrets=["signing_secret"])
    async def event(request: Request, connection: Any, inputs: Inputs) -> TriggerEvent | Response:
        """An event."""
        body = b"".join([chunk async for chunk in request.body])
        return TriggerEvent(value=Value({"body": json.loads(body), "seen": True}))

    return connector


@dataclass
class Door:
    """A deployed flow and the service in front of it."""

    yard: Yard
    ingress: Ingress

    async def send(
        self,
        body: bytes | Sequence[bytes] = b"{}",
        headers: Mapping[str, str] | None = None,
        *,
        method: str = "POST",
        query: Mapping[str, str] | None = None,
        url: str = "http://x/hooks/i/main",
    ) -> Response:
        async def stream() -> AsyncIterator[bytes]:
            for chunk in [body] if isinstance(body, bytes) else body:
                yield chunk

        request = Request(
            method=method,
            path="/hooks/i/main",
            headers={"content-type": "application/json", **(headers or {})},
            query=query or {},
            parameters={"instance": "i", "flow": "main"},
            body=stream(),
            url=url,
        )
        return await self.ingress.hook(request)

    async def executions(self) -> list[str]:
        return list(await self.yard.stores.journal.unfinished())

    async def trigger(self, answer: Response) -> Any:
        """What the flow saw."""
        id = content(answer)["execution"]
        await self.yard.run(id)
        record = await self.yard.record(id)
        assert record.output is not None
        return json.loads(record.output.json)


def content(answer: Response) -> Any:
    assert isinstance(answer.body, bytes)
    return json.loads(answer.body)


async def door(
    yard: Yard,
    trigger: str,
    connection: Mapping[str, Any] | None = None,
    *,
    steps: str = '- {id: done, stop: {output: "${{ trigger }}"}}',
    extra: str = "",
    keys: KeyCheck | None = None,
    fetch: Fetch = fetch,
) -> Door:
    """A flow `main` of an instance `i` with this trigger (in YAML's flow style), whose connection `hook` has these values."""
    yard.lab.connectors["hooks"] = hooks()
    yard.lab.connections["hook"] = {"secret": SECRET} if connection is None else connection
    text = (
        "integration: i\nversion: 1.0.0\nconnections: {hook: {connector: hooks}}\nflows:\n  main:\n"
        f"    trigger: {trigger}\n{extra}    steps:\n      {steps}\n"
    )
    return Door(yard, make_ingress(yard, await yard.lab.deploy(text), keys=keys, fetch=fetch))
