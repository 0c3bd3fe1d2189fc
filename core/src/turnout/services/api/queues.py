"""The queue, and what it gave up: dead letters, let go on or dropped."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec

from turnout.errors import NotFound
from turnout.services.api.endpoint import Answer, Call, Endpoint, Nothing
from turnout.services.api.execution_views import Time
from turnout.services.api.paging import Cursor, Limit, page, position, wrong_cursor
from turnout.services.api.parts import DeadLetter, Parts
from turnout.services.api.problems import ProblemError
from turnout.services.api_keys import Role
from turnout.services.record_json import time_text

__all__ = ["ENDPOINTS"]


class QueueView(msgspec.Struct, frozen=True, kw_only=True):
    """How many executions are due, held back by a limit, not yet due, running and given up. `customers` has how many of each
    customer wait, where the queue knows."""

    ready: int
    held: int
    delayed: int
    leased: int
    dead: int
    oldest_ready_s: float
    workers: list[str]
    customers: dict[str, int]


class Letters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which dead letters."""

    customer: Annotated[str, msgspec.Meta(max_length=500)] = ""
    limit: Limit = 50
    cursor: Cursor = ""


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """An execution that used up its attempts. `instance` and `flow` are null where retention has removed its record."""

    execution: str
    customer: str
    instance: str | None
    flow: str | None
    step: str | None
    attempts: int
    reason: str
    died_at: Time


class LetterPage(msgspec.Struct, frozen=True, kw_only=True):
    """Dead letters, the newest first; `next` is the `cursor` of the following page, null at the end."""

    items: list[Letter]
    next: str | None


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What was done with it: `queued again` or `dropped`."""

    execution: str
    outcome: str


async def status(parts: Parts, _: Call[Nothing, Nothing]) -> Answer:
    stats = await parts.queue.stats()
    return Answer(
        body=QueueView(
            ready=stats.ready,
            held=stats.held,
            delayed=stats.delayed,
            leased=stats.leased,
            dead=stats.dead,
            oldest_ready_s=round(stats.oldest_ready_s, 3),
            workers=list(await parts.queue.workers()),
            customers=dict(stats.tenants),
        )
    )


async def search(parts: Parts, call: Call[Letters, Nothing]) -> Answer:
    query, after = call.query, position(call.query.cursor)
    customer = call.only(query.customer) or None
    if query.customer not in ("", customer):
        return Answer(body=page([], query.limit, ""))
    found = [one for one in await parts.dead_letters.list() if customer in (None, one.message.message.tenant)]
    if after:
        ids = [one.id for one in found]
        if after not in ids:  # it was retried or dropped meanwhile
            raise wrong_cursor()
        found = found[ids.index(after) + 1 :]
    shown = found[: query.limit]
    return Answer(body=page([_view(one) for one in shown], query.limit, shown[-1].id if shown else ""))


async def show(parts: Parts, call: Call[Nothing, Nothing]) -> Answer:
    return Answer(body=_view(await _letter(parts, call)))


async def retry(parts: Parts, call: Call[Nothing, Nothing]) -> Answer:
    letter = await _letter(parts, call)
    await parts.dead_letters.retry(letter)
    return Answer(body=Outcome(execution=letter.id, outcome="queued again"), status=202)


async def drop(parts: Parts, call: Call[Nothing, Nothing]) -> Answer:
    letter = await _letter(parts, call)
    await parts.dead_letters.drop(letter)
    return Answer(body=Outcome(execution=letter.id, outcome="dropped"))


async def _letter(parts: Parts, call: Call[Any, Any]) -> DeadLetter:
    """The one that the path names: another customer's is not there."""
    unknown = ProblemError(404, f"no dead letter {call.path['id']!r}")
    try:
        letter = await parts.dead_letters.get(call.path["id"])
    except NotFound:
        raise unknown from None
    if not call.principal.sees(letter.message.message.tenant):
        raise unknown
    return letter


def _view(letter: DeadLetter) -> Letter:
    dead, record = letter.message, letter.record
    return Letter(
        execution=letter.id,
        customer=dead.message.tenant,
        instance=None if record is None else record.info.instance,
        flow=None if record is None else record.info.flow,
        step=letter.step or None,
        attempts=dead.attempts,
        reason=dead.reason,
        died_at=time_text(dead.died_at) or "",
    )


ENDPOINTS: Final[tuple[Endpoint[Any, Any], ...]] = (
    Endpoint(
        method="GET",
        path="/queue",
        name="showQueue",
        summary="How the queue stands",
        handle=status,
        answer=QueueView,
        organisation=True,
        tag="queue",
    ),
    Endpoint(
        method="GET",
        path="/dead-letters",
        name="listDeadLetters",
        summary="Executions that used up their attempts, the newest first",
        handle=search,
        query=Letters,
        answer=LetterPage,
        tag="queue",
    ),
    Endpoint(
        method="GET",
        path="/dead-letters/{id}",
        name="showDeadLetter",
        summary="A dead letter",
        handle=show,
        answer=Letter,
        refusals=(404,),
        tag="queue",
    ),
    Endpoint(
        method="POST",
        path="/dead-letters/{id}/retry",
        name="retryDeadLetter",
        summary="Let it go on from where it stopped, its attempts starting over",
        handle=retry,
        answer=Outcome,
        statuses=(202,),
        refusals=(404, 409),
        role=Role.OPERATE,
        tag="queue",
    ),
    Endpoint(
        method="DELETE",
        path="/dead-letters/{id}",
        name="dropDeadLetter",
        summary="Remove it; the record stays, failed",
        handle=drop,
        answer=Outcome,
        refusals=(404,),
        role=Role.OPERATE,
        tag="queue",
    ),
)
