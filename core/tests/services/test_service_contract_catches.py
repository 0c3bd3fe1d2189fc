"""Services that each break a promise, and the tests of the contract that must notice it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from turnout.errors import NotFound
from turnout.interfaces.service import Consumer, Delivery, Invocation, Needs, Request, Response, Route, Service, Timer
from turnout.testing.records import execution
from turnout.testing.service import ServiceContract
from turnout.testing.service_events import Effects

from core.tests.local.contract_runs import run_contract


class Door(Service):
    """A whole one, for the broken ones to break."""

    name = "door"

    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None
        self.seen: dict[str, str] = {}

    def timers(self) -> Sequence[Timer]:
        return [Timer(name="look", every_s=5.0, handle=self.look)]

    def consumers(self) -> Sequence[Consumer]:
        return [Consumer(name="door", events=frozenset({"log", "ended"}), handle=self.read)]

    async def look(self, call: Invocation) -> None:
        pass

    async def read(self, deliveries: Sequence[Delivery], call: Invocation) -> Sequence[str]:
        if call.remaining_s() <= 0:
            return [delivery.id for delivery in deliveries]
        self.seen |= {delivery.id: delivery.info.id for delivery in deliveries}
        return []

    def routes(self) -> Sequence[Route]:
        return [Route(method="GET", path="/doors/{door}", handle=self.open)]

    async def start(self) -> None:
        self.task = asyncio.ensure_future(asyncio.sleep(3600))

    async def stop(self) -> None:
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
            self.task = None

    async def open(self, request: Request) -> Response:
        return Response(status=404)


class Nameless(Door):
    name = ""


class OddMethod(Door):
    def routes(self) -> Sequence[Route]:
        return [Route(method="open", path="/doors", handle=self.open)]


class OddPath(Door):
    def routes(self) -> Sequence[Route]:
        return [Route(method="GET", path="doors", handle=self.open)]


class AnswersTwice(Door):
    def routes(self) -> Sequence[Route]:
        return [*super().routes(), Route(method="GET", path="/doors/{other}", handle=self.open)]


class AnswersOnceItRuns(Door):
    def routes(self) -> Sequence[Route]:
        return super().routes() if self.task is not None else ()


class StopsOnce(Door):
    async def stop(self) -> None:
        assert self.task is not None
        await super().stop()


class NeverReturns(Door):
    async def start(self) -> None:
        raise TimeoutError  # as a start that waits for ever ends in the suite


class LeavesItsTask(Door):
    async def stop(self) -> None:
        self.task = None


class Raises(Door):
    async def open(self, request: Request) -> Response:
        raise NotFound("door", request.parameters["door"])


class OpensAnything(Door):
    async def open(self, request: Request) -> Response:
        return Response(status=200)


class RaisesForABody(Door):
    async def open(self, request: Request) -> Response:
        async for chunk in request.body:
            chunk.decode()
        return Response(status=404)


class RaisesForAQuery(Door):
    async def open(self, request: Request) -> Response:
        int(request.query.get("after", "0"))
        return Response(status=404)


class WorksOn(Door):
    needs = Needs(long_lived=True, in_calls=True)

    async def work(self, call: Invocation) -> None:
        self.task = asyncio.ensure_future(asyncio.sleep(3600))


class WorksUnasked(Door):
    async def work(self, call: Invocation) -> None:
        pass


class TwoOfAName(Door):
    def timers(self) -> Sequence[Timer]:
        return [*super().timers(), *super().timers()]


class ReadsOnceItRuns(Door):
    def consumers(self) -> Sequence[Consumer]:
        return super().consumers() if self.task is not None else ()


class WantsWhatIsNot(Door):
    def consumers(self) -> Sequence[Consumer]:
        return [Consumer(name="door", events=frozenset({"opened"}), handle=self.read)]


class NeverCalled(Door):
    def timers(self) -> Sequence[Timer]:
        return [Timer(name="look", every_s=0.0, handle=self.look)]


class LooksOnce(Door):
    looked = False

    async def look(self, call: Invocation) -> None:
        if self.looked:
            raise ValueError("already")
        self.looked = True


class Counts(Door):
    async def read(self, deliveries: Sequence[Delivery], call: Invocation) -> Sequence[str]:
        self.seen[str(len(self.seen))] = "again"
        return []


class FailsOthers(Door):
    async def read(self, deliveries: Sequence[Delivery], call: Invocation) -> Sequence[str]:
        return ["none of these"]


class LosesWithoutTime(Door):
    async def read(self, deliveries: Sequence[Delivery], call: Invocation) -> Sequence[str]:
        return await super().read(deliveries, call) if call.remaining_s() > 0 else []


class NeedsDeliveries(Door):
    async def read(self, deliveries: Sequence[Delivery], call: Invocation) -> Sequence[str]:
        return [] if deliveries[0].id else ["none"]


CAUGHT: dict[type[Door], str] = {
    Nameless: "it_has_a_name",
    OddMethod: "its_routes_are_methods_and_paths_with_handlers",
    OddPath: "its_routes_are_methods_and_paths_with_handlers",
    AnswersTwice: "no_two_routes_have_the_same_method_and_path",
    AnswersOnceItRuns: "its_routes_are_the_same_before_and_after_it_started",
    StopsOnce: "stopping_again_changes_nothing",
    NeverReturns: "start_returns_although_its_work_goes_on",
    LeavesItsTask: "no_task_goes_on_after_it_stopped",
    Raises: "a_handler_refuses_a_path_that_it_does_not_know",
    OpensAnything: "a_handler_refuses_a_path_that_it_does_not_know",
    RaisesForABody: "a_handler_does_not_raise_for_what_it_cannot_read",
    RaisesForAQuery: "a_handler_does_not_raise_for_a_query_that_it_cannot_read",
    WorksOn: "in_calls_it_ends_where_there_is_nothing_to_do_and_leaves_no_task",
    WorksUnasked: "in_calls_it_ends_where_there_is_nothing_to_do_and_leaves_no_task",
    TwoOfAName: "no_two_timers_or_consumers_have_the_same_name",
    ReadsOnceItRuns: "its_timers_and_consumers_are_the_same_before_and_after_it_started",
    WantsWhatIsNot: "its_consumers_want_events_that_there_are",
    NeverCalled: "its_timers_have_an_interval_and_its_handlers_are_coroutines",
    LooksOnce: "its_timers_may_be_called_again_and_at_once",
    Counts: "events_that_come_again_change_nothing",
    FailsOthers: "what_failed_is_among_what_was_given",
    LosesWithoutTime: "without_time_left_it_returns_soon_and_nothing_is_lost",
    NeedsDeliveries: "a_call_that_only_tells_of_dropped_events_is_answered",
}


class TestDoor(ServiceContract):
    @pytest.fixture
    def service(self) -> Door:
        return Door()

    @pytest.fixture
    def effects(self, service: Door) -> Effects:
        async def effects() -> object:
            return dict(service.seen)

        return effects


@pytest.mark.parametrize("broken", CAUGHT)
async def test_a_broken_promise_is_noticed(broken: type[Door]) -> None:
    made: list[Service] = []

    def fixtures() -> dict[str, Any]:
        door = broken()
        made.append(door)

        async def effects() -> object:
            return dict(door.seen)

        return {"service": door, "effects": effects, "told": [execution("e1")]}

    with pytest.raises((AssertionError, IndexError, NotFound, TimeoutError, ValueError)):
        await run_contract(ServiceContract, CAUGHT[broken], fixtures)

    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()


async def test_stopping_what_never_started_must_be_harmless() -> None:
    with pytest.raises(AssertionError):
        await run_contract(
            ServiceContract, "stopping_what_was_not_started_changes_nothing", lambda: {"service": StopsOnce()}
        )
