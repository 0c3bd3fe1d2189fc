"""Executions: looked up, followed, stopped, resumed, run anew."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

import msgspec

from turnout.errors import NotFound, UserError
from turnout.interfaces.records import ExecutionQuery
from turnout.model.execution import ExecutionRecord, Status
from turnout.services.api.endpoint import PREFIX, Answer, Call, Endpoint, Nothing
from turnout.services.api.execution_views import Execution, ExecutionPage, LogPage
from turnout.services.api.paging import Cursor, Limit, page, position, wrong_cursor
from turnout.services.api.parts import Parts
from turnout.services.api.problems import ProblemError
from turnout.services.api_keys import Role
from turnout.services.record_json import record_json, time_text
from turnout.values import Value

__all__ = ["ENDPOINTS"]

Filter = Annotated[str, msgspec.Meta(max_length=500)]
Moment = Annotated[
    str,
    msgspec.Meta(
        description="ISO 8601 with an offset.",
        extra_json_schema={"format": "date-time", "example": "2026-12-01T08:00:00Z"},
    ),
]
Text = Annotated[str, msgspec.Meta(max_length=2000, pattern=r"^[^\x00]*$")]


class Search(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All filters must hold. Times are of the creation, `since` inclusive, `until` exclusive."""

    customer: Filter = ""
    instance: Filter = ""
    integration: Filter = ""
    flow: Filter = ""
    status: Annotated[str, msgspec.Meta(description="One or several of them, with commas between.")] = ""
    since: Moment | msgspec.UnsetType = msgspec.UNSET
    until: Moment | msgspec.UnsetType = msgspec.UNSET
    text: Annotated[str, msgspec.Meta(max_length=500, description="What the error's message contains.")] = ""
    limit: Limit = 50
    cursor: Cursor = ""


class After(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which lines of a log."""

    after: Annotated[int, msgspec.Meta(ge=0, le=2**53, description="The number of the last line seen.")] = 0
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1000


class Cancel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why it is stopped: its record says so."""

    reason: Text = ""


class Resume(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was found out about the effect of a parked execution: `repeat` runs the step again, `output` takes it to have
    happened with that output. Others need neither."""

    repeat: bool = False
    output: Any | msgspec.UnsetType = msgspec.UNSET


class Replay(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`step` begins there, with the recorded outputs of those before it; `trigger` is another input than the recorded."""

    step: Text = ""
    trigger: Any | msgspec.UnsetType = msgspec.UNSET


class Cancelled(msgspec.Struct, frozen=True, kw_only=True):
    """`cancelled` is false where it had ended already."""

    cancelled: bool


class Started(msgspec.Struct, frozen=True, kw_only=True):
    """The execution that runs now, and where its record is."""

    execution: str
    follow: str


async def search(parts: Parts, call: Call[Search, Nothing]) -> Answer:
    await parts.metadata.catch_up()
    query = call.query
    tenant = call.only(query.customer)
    if query.customer not in ("", tenant):
        return Answer(body=page([], query.limit, ""))
    found = await parts.records.search(
        ExecutionQuery(
            tenant=tenant or "",
            instance=query.instance,
            integration=query.integration,
            flow=query.flow,
            text=query.text,
            statuses=_statuses(query.status),
            since=_seconds("since", query.since),
            until=_seconds("until", query.until),
            before=await _before(parts, call, query.cursor),
            limit=query.limit,
        )
    )
    unknown = ("steps", "sandboxes")  # a search does not look them up
    listed = [await record_json(record, parts.payloads) for record in found]
    shown = [{key: value for key, value in one.items() if key not in unknown} for one in listed]
    return Answer(body=page(shown, query.limit, found[-1].info.id if found else ""))


async def _before(parts: Parts, call: Call[Search, Nothing], cursor: str) -> str:
    """The id that the cursor stands for: one that this key may see, so that no answer depends on another's."""
    id = position(cursor)
    if id and await _found(parts, call, id) is None:
        raise wrong_cursor()
    return id


def _seconds(name: str, written: str | msgspec.UnsetType) -> float | None:
    if isinstance(written, msgspec.UnsetType):
        return None
    try:
        moment: datetime = msgspec.convert(written, Annotated[datetime, msgspec.Meta(tz=True)])
    except msgspec.ValidationError:
        raise ProblemError(400, f"query: `{name}` is a time such as 2026-12-01T08:00:00Z") from None
    return moment.timestamp()


def _statuses(written: str) -> tuple[Status, ...]:
    try:
        return tuple(Status(status) for status in written.split(",") if status)
    except ValueError:
        raise ProblemError(400, f"query: `status` is of {', '.join(Status)}, several with commas") from None


async def _found(parts: Parts, call: Call[Any, Any], id: str) -> ExecutionRecord | None:
    record = await parts.records.get(id)
    return record if record is not None and call.principal.sees(record.info.tenant) else None


async def _record(parts: Parts, call: Call[Any, Any]) -> ExecutionRecord:
    """The execution that the path names: another customer's is not there."""
    await parts.metadata.catch_up()
    record = await _found(parts, call, call.path["id"])
    if record is None:
        raise ProblemError(404, f"no execution {call.path['id']!r}")
    return record


async def show(parts: Parts, call: Call[Nothing, Nothing]) -> Answer:
    return Answer(body=await record_json(await _record(parts, call), parts.payloads))


async def logs(parts: Parts, call: Call[After, Nothing]) -> Answer:
    record, query = await _record(parts, call), call.query
    lines = await parts.records.logs(record.info.id, after=query.after, limit=query.limit)
    shown = [
        {"number": number, "at": time_text(line.at), "level": line.level, "step": line.path, "message": line.message}
        for number, line in lines
    ]
    return Answer(body={"items": shown, "next": lines[-1][0] if len(lines) == query.limit else None})


async def cancel(parts: Parts, call: Call[Nothing, Cancel]) -> Answer:
    record = await _record(parts, call)
    stopped = await parts.executions.cancel(record.info.id, call.body.reason)
    return Answer(body=Cancelled(cancelled=stopped), status=202 if stopped else 200)


async def resume(parts: Parts, call: Call[Nothing, Resume]) -> Answer:
    record, output = await _record(parts, call), call.body.output
    value = None if isinstance(output, msgspec.UnsetType) else Value(output)
    if call.body.repeat and value is not None:
        raise ProblemError(400, "body: `repeat` and `output` exclude each other: it happened, or it runs again")
    return _started(await parts.executions.resume(record.info.id, repeat=call.body.repeat, output=value))


async def replay(parts: Parts, call: Call[Nothing, Replay]) -> Answer:
    """Whoever asks for it can wait, so it is held to the customer's capacity."""
    record, trigger = await _record(parts, call), call.body.trigger
    value = None if isinstance(trigger, msgspec.UnsetType) else Value(trigger)
    try:
        return _started(await parts.executions.replay(record.info.id, step=call.body.step, trigger=value))
    except NotFound as error:  # of the step: the execution is there
        raise UserError(str(error)) from error


def _started(id: str) -> Answer:
    where = f"{PREFIX}/executions/{id}"
    return Answer(body=Started(execution=id, follow=where), status=202, headers={"location": where})


ENDPOINTS: Final[tuple[Endpoint[Any, Any], ...]] = (
    Endpoint(
        method="GET",
        path="/executions",
        name="searchExecutions",
        summary="Executions, newest first",
        handle=search,
        query=Search,
        answer=ExecutionPage,
        tag="executions",
    ),
    Endpoint(
        method="GET",
        path="/executions/{id}",
        name="showExecution",
        summary="An execution with its steps",
        handle=show,
        answer=Execution,
        refusals=(404,),
        tag="executions",
    ),
    Endpoint(
        method="GET",
        path="/executions/{id}/logs",
        name="readLogs",
        summary="What an execution logged",
        handle=logs,
        query=After,
        answer=LogPage,
        refusals=(404,),
        tag="executions",
    ),
    Endpoint(
        method="POST",
        path="/executions/{id}/cancel",
        name="cancelExecution",
        summary="Stop an execution, wherever it runs",
        description="202 where it is asked to stop, 200 where it had ended.",
        handle=cancel,
        body=Cancel,
        answer=Cancelled,
        statuses=(200, 202),
        refusals=(404, 409),
        role=Role.OPERATE,
        tag="executions",
    ),
    Endpoint(
        method="POST",
        path="/executions/{id}/resume",
        name="resumeExecution",
        summary="Let a failed, cancelled or parked execution go on from where it stopped",
        handle=resume,
        body=Resume,
        answer=Started,
        statuses=(202,),
        refusals=(404, 409),
        role=Role.OPERATE,
        tag="executions",
    ),
    Endpoint(
        method="POST",
        path="/executions/{id}/replay",
        name="replayExecution",
        summary="Run an execution anew, under a new id",
        description="429 where the customer has as many executions waiting as it may.",
        handle=replay,
        body=Replay,
        answer=Started,
        statuses=(202,),
        refusals=(404, 409),
        role=Role.OPERATE,
        tag="executions",
    ),
)
