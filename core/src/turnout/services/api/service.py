"""The service `api`: routes of the table, its own description, and what has to be swept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from turnout.interfaces.service import Invocation, Route, Service, Timer
from turnout.services.api import connections, customers, executions, instances, integrations, keys, publishing, queues
from turnout.services.api.access import Access, Failures
from turnout.services.api.endpoint import Answer, Call, Endpoint, Nothing
from turnout.services.api.openapi import document
from turnout.services.api.parts import Parts
from turnout.services.api.serving import route_of

__all__ = ["ENDPOINTS", "Api", "openapi"]

_SWEEP_S: Final = 3600.0


async def _describe(_: Parts, __: Call[Nothing, Nothing]) -> Answer:
    return Answer(body=openapi())


ENDPOINTS: Final[tuple[Endpoint[Any, Any], ...]] = (
    *executions.ENDPOINTS,
    *queues.ENDPOINTS,
    *customers.ENDPOINTS,
    *integrations.ENDPOINTS,
    *publishing.ENDPOINTS,
    *connections.ENDPOINTS,
    *instances.ENDPOINTS,
    *keys.ENDPOINTS,
    Endpoint(
        method="GET",
        path="/openapi.json",
        name="describe",
        summary="This document",
        handle=_describe,
        answer=dict,
        public=True,
        tag="about",
    ),
)


def openapi() -> dict[str, Any]:
    """The API's OpenAPI document."""
    return document(ENDPOINTS)


class Api(Service):
    """`/api/v1/…`. Answers are as of the moment."""

    name = "api"

    def __init__(self, parts: Parts, access: Access, failures: Failures) -> None:
        self._parts = parts
        self._access = access
        self._failures = failures

    def routes(self) -> Sequence[Route]:
        return [route_of(endpoint, self._parts, self._access) for endpoint in ENDPOINTS]

    def timers(self) -> Sequence[Timer]:
        return [Timer(name="api-sweep", every_s=_SWEEP_S, handle=self._sweep)]

    async def start(self) -> None:
        """Nothing runs on its own."""

    async def stop(self) -> None:
        """Nothing to stop."""

    async def _sweep(self, _: Invocation) -> None:
        await self._parts.keys.sweep()
        await self._failures.sweep()
