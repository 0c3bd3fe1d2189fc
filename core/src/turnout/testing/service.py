"""The promises of `turnout.interfaces.service`, one test each. Subclass `ServiceContract`; give the fixture `service`."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from turnout.errors import Unsupported
from turnout.interfaces.service import Invocation, Request, Response, Route, Service
from turnout.testing.service_events import ConsumerContract

__all__ = ["ServiceContract"]

_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
_PATH = re.compile(r"(/([a-z0-9_.-]+|\{[a-z_]+\}))+\Z")
_NONSENSE = ("unknown", "../../etc/passwd", "a\0b", "ü🚂", "'; --", "9" * 30, "%2e%2e", "x" * 5000)
_BODIES = (b"", b"\xff\xfe\x00", b"{" * 5000)


class ServiceContract(ConsumerContract):
    """Each test is one sentence of the interface."""

    @pytest.fixture
    def service(self) -> Any:
        raise NotImplementedError("override the fixture `service`")

    def test_it_has_a_name(self, service: Service) -> None:
        assert re.fullmatch(r"[a-z][a-z0-9_-]*", service.name)

    def test_its_routes_are_methods_and_paths_with_handlers(self, service: Service) -> None:
        for route in service.routes():
            assert route.method in _METHODS
            assert _PATH.match(route.path), route.path
            assert inspect.iscoroutinefunction(route.handle), route

    def test_no_two_routes_have_the_same_method_and_path(self, service: Service) -> None:
        routes = [(route.method, re.sub(r"\{\w+\}", "{}", route.path)) for route in service.routes()]

        assert len(set(routes)) == len(routes)

    async def test_its_routes_are_the_same_before_and_after_it_started(self, service: Service) -> None:
        before = _addresses(service)
        await service.start()
        during = _addresses(service)
        await service.stop()

        assert before == during == _addresses(service)

    async def test_stopping_again_changes_nothing(self, service: Service) -> None:
        await service.start()
        await service.stop()

        await service.stop()

    async def test_stopping_what_was_not_started_changes_nothing(self, service: Service) -> None:
        await service.stop()

    async def test_start_returns_although_its_work_goes_on(self, service: Service) -> None:
        async with asyncio.timeout(10):
            await service.start()
        await service.stop()

    async def test_no_task_goes_on_after_it_stopped(self, service: Service) -> None:
        before = asyncio.all_tasks()
        await service.start()
        await asyncio.sleep(0)

        await service.stop()

        assert asyncio.all_tasks() - before == set()

    async def test_in_calls_it_ends_where_there_is_nothing_to_do_and_leaves_no_task(self, service: Service) -> None:
        before = asyncio.all_tasks()

        if not service.needs.in_calls:
            unsupported = False
            try:
                await service.work(Invocation())
            except Unsupported:
                unsupported = True
            assert unsupported, "what does not say that it works in calls does not"
        for left_s in (600.0, 0.0) if service.needs.in_calls else ():
            async with asyncio.timeout(30):
                await service.work(Invocation(remaining_s=lambda left_s=left_s: left_s))  # type: ignore[misc]

        assert asyncio.all_tasks() - before == set()

    @pytest.mark.parametrize("nonsense", _NONSENSE)
    async def test_a_handler_refuses_a_path_that_it_does_not_know(self, service: Service, nonsense: str) -> None:
        await service.start()
        answers = [
            (route, await route.handle(_request(route, nonsense, b"{}")))
            for route in service.routes()
            if "{" in route.path
        ]
        await service.stop()

        assert [(route.path, answer.status) for route, answer in answers if not 400 <= answer.status < 500] == []

    @pytest.mark.parametrize("body", _BODIES)
    async def test_a_handler_does_not_raise_for_what_it_cannot_read(self, service: Service, body: bytes) -> None:
        await service.start()
        answers = [await route.handle(_request(route, "unknown", body)) for route in service.routes()]
        await service.stop()

        assert all(isinstance(answer, Response) and answer.status < 500 for answer in answers), answers

    @pytest.mark.parametrize("text", _NONSENSE)
    async def test_a_handler_does_not_raise_for_a_query_that_it_cannot_read(self, service: Service, text: str) -> None:
        query = dict.fromkeys(("after", "before", "cursor", "limit", "status", "text", "wait"), text)
        one_by_one = [query, *({name: text} for name in query)]
        await service.start()
        answers = [
            await route.handle(_request(route, "unknown", b"{}", asked))
            for route in service.routes()
            for asked in one_by_one
        ]
        await service.stop()

        assert all(isinstance(answer, Response) and answer.status < 500 for answer in answers), answers


def _addresses(service: Service) -> list[tuple[str, str]]:
    return [(route.method, route.path) for route in service.routes()]


def _request(route: Route, parameter: str, body: bytes, query: dict[str, str] | None = None) -> Request:
    async def stream() -> AsyncIterator[bytes]:
        yield body

    names = re.findall(r"\{(\w+)\}", route.path)
    return Request(
        method=route.method,
        path=re.sub(r"\{\w+\}", lambda _: parameter, route.path),
        headers={"content-type": "application/json"},
        query=query or {},
        parameters=dict.fromkeys(names, parameter),
        body=stream(),
    )
