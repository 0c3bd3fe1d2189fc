"""Targets that each break a promise, and the tests of the contract that must notice it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest
from turnout.interfaces.service import Request, Response, Route, Service
from turnout.local.target import LocalTarget
from turnout.testing.target import TargetContract

from .contract_runs import run_contract


class Around(Service):
    """A service whose routes are changed, and that is told of nothing else."""

    def __init__(self, inner: Service) -> None:
        self.name = inner.name
        self.inner = inner

    def routes(self) -> Sequence[Route]:
        return [self.changed(route) for route in self.inner.routes()]

    def changed(self, route: Route) -> Route:
        return route

    async def start(self) -> None:
        await self.inner.start()

    async def stop(self) -> None:
        await self.inner.stop()


async def gathered(stream: AsyncIterator[bytes]) -> bytes:
    """Gives up soon: what the suite holds back does not come."""
    try:
        async with asyncio.timeout(0.2):
            return b"".join([chunk async for chunk in stream])
    except TimeoutError:
        return b""


class Gathering(Around):
    def changed(self, route: Route) -> Route:
        async def handle(request: Request) -> Response:
            body = await gathered(request.body)

            async def once() -> AsyncIterator[bytes]:
                yield body

            answer = await route.handle(replace(request, body=once()))
            if not isinstance(answer.body, bytes):
                answer = replace(answer, body=await gathered(answer.body))
            return answer

        return replace(route, handle=handle)


class Answers(Around):
    def changed(self, route: Route) -> Route:
        async def handle(request: Request) -> Response:
            return Response(body=b"hello")

        return replace(route, handle=handle)


class Careless(Around):
    async def stop(self) -> None:
        return


class Shrugging(Around):
    async def stop(self) -> None:
        try:
            await self.inner.stop()
        except RuntimeError:
            return


class Wrapping(LocalTarget):
    around: type[Around]

    async def serve(self, services: Sequence[Service], *, host: str, port: int) -> None:  # type: ignore[override]
        await super().serve([self.around(service) for service in services], host=host, port=port)


class Gathers(Wrapping):
    around = Gathering


class AnswersAlike(Wrapping):
    around = Answers


class StopsNothing(Wrapping):
    around = Careless


class HidesFailures(Wrapping):
    around = Shrugging


class StartsBackwards(LocalTarget):
    async def serve(self, services: Sequence[Service], *, host: str, port: int) -> None:  # type: ignore[override]
        await super().serve(services[::-1], host=host, port=port)


class GoesElsewhere(LocalTarget):
    async def serve(self, services: Sequence[Service], *, host: str, port: int) -> None:  # type: ignore[override]
        with socket.socket() as probe:
            if probe.connect_ex((host, port)) == 0:
                return
        await super().serve(services, host=host, port=port)


class LingersOn(LocalTarget):
    async def serve(self, services: Sequence[Service], *, host: str, port: int) -> None:  # type: ignore[override]
        await super().serve(services, host=host, port=port)
        self.listener = socket.create_server((host, port))


CAUGHT: dict[type[LocalTarget], str] = {
    Gathers: "an_answer_arrives_while_it_is_made",
    AnswersAlike: "routes_of_all_services_are_answered",
    StopsNothing: "services_start_in_their_order_and_stop_the_last_first",
    HidesFailures: "a_service_that_does_not_stop_cleanly_keeps_no_other_from_stopping",
    StartsBackwards: "services_start_in_their_order_and_stop_the_last_first",
    GoesElsewhere: "an_address_that_is_taken_is_a_backend_error_and_leaves_nothing_running",
    LingersOn: "a_signal_stops_it_and_frees_the_address",
}


@pytest.mark.parametrize("broken", CAUGHT)
async def test_a_broken_promise_is_noticed(broken: type[LocalTarget], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("turnout.testing.target._PATIENCE_S", 0.5)
    target = broken()

    with pytest.raises((AssertionError, EOFError, OSError, pytest.fail.Exception)):
        await run_contract(TargetContract, CAUGHT[broken], lambda: {"target": target})

    if isinstance(target, LingersOn):
        target.listener.close()
    await asyncio.sleep(0)


async def test_gathering_what_is_sent_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("turnout.testing.target._PATIENCE_S", 0.5)

    with pytest.raises((AssertionError, TimeoutError)):
        await run_contract(TargetContract, "a_request_arrives_while_it_is_sent", lambda: {"target": Gathers()})
