"""Definitions in Python: functions that make the same model as YAML does.

    from turnout import Integration, action, code, connection, expr, flow, variable, webhook

    integration = Integration(
        name="orders",
        connections=[connection("files", "dropbox")],
        flows=[
            flow(
                "sync",
                webhook(),
                steps=[
                    action("fetch", "dropbox.download", connection="files", path="/orders.xml"),
                    code("parse", file="parse.js", xml=expr("steps.fetch.text")),
                ],
            )
        ],
    )

Every step takes `when`, `retry`, `timeout`, `on_error`, `on_crash` and `description`; durations are `5m`, seconds, or a
`timedelta`. What is wrong is a `DefinitionError` that names the line of the call.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, TypedDict, Unpack, cast

from turnout.definition.construct import config_variable, connection_slot, hook_of, limits_of, retry_of, step_of
from turnout.definition.grammar import CONNECTOR_TRIGGER, LIMITS
from turnout.definition.nearest import hint_for
from turnout.definition.nodes import node_of
from turnout.definition.reading import Reading
from turnout.definition.shapes import Shape
from turnout.definition.webhook_grammar import WEBHOOK
from turnout.errors import DefinitionError, Problem
from turnout.model.definition import (
    BranchArm,
    ConfigVariable,
    ConnectionSlot,
    Flow,
    Position,
    Retry,
    Step,
    Trigger,
)
from turnout.model.duration import parse_duration
from turnout.model.limits import FlowLimits

__all__ = [
    "action",
    "branch",
    "call",
    "code",
    "connection",
    "expr",
    "flow",
    "limits",
    "loop",
    "on",
    "on_delete",
    "on_deploy",
    "otherwise",
    "parallel",
    "retry",
    "schedule",
    "stop",
    "variable",
    "wait",
    "webhook",
    "when",
]

Duration = str | int | float | timedelta


class Options(TypedDict, total=False):
    """What every step takes."""

    when: str | bool
    retry: Retry | int | Mapping[str, Any]
    timeout: Duration
    on_error: str | Sequence[Step]
    on_crash: str
    description: str


_OPTIONS: Final = tuple(Options.__annotations__)


def expr(text: str) -> str:
    """An expression: `expr("steps.fetch.text")` is `${{ steps.fetch.text }}`."""
    return f"${{{{ {text.strip()} }}}}"


def action(
    id: str, action: str, *, connection: str = "", inputs: Mapping[str, Any] | None = None, **named: Any
) -> Step:
    """A step that runs an action, `connector.action`. Inputs go by name; those whose name is taken, into `inputs`."""
    return _step("action", id, {"action": action, "connection": connection, **_with(inputs, named)}, named)


def code(
    id: str,
    source: str = "",
    *,
    file: str = "",
    language: str = "",
    connections: str | Sequence[str] = (),
    inputs: Mapping[str, Any] | None = None,
    **named: Any,
) -> Step:
    """A step that runs customer code: a `file`, whose suffix says the language, or the text of a module, in JavaScript unless
    `language` says otherwise. It may use the credentials of `connections`. Inputs as for `action`."""
    written: dict[str, Any] = {"file": file} if file else {}
    written |= {"connections": (connections,) if isinstance(connections, str) else connections}
    written |= {"language": language} if language else {}
    if source:
        written |= {"source": source, "source_position": _position()}
    return _step("code", id, {**written, **_with(inputs, named)}, named)


def call(id: str, flow: str, *, inputs: Any = None, **named: Any) -> Step:
    """A step that runs another flow of the integration; what is given by name, or `inputs`, is its `trigger.body`."""
    given = _with(inputs, named) if inputs is None or isinstance(inputs, Mapping) else {"with": inputs}
    return _step("call", id, {"flow": flow, **(given if given["with"] or inputs is not None else {})}, named)


def when(condition: str | bool, steps: Sequence[Step]) -> BranchArm:
    """An arm of a branch."""
    return BranchArm(when=_condition(condition), steps=_steps(steps, "an arm of a branch"))


def otherwise(steps: Sequence[Step]) -> BranchArm:
    """The last arm of a branch: what to do where no other holds."""
    return BranchArm(steps=_steps(steps, "an arm of a branch"))


def branch(id: str, *arms: BranchArm, **options: Unpack[Options]) -> Step:
    """The first arm that holds runs: `branch("size", when("…", [...]), otherwise([...]))`."""
    return _step("branch", id, {"arms": arms}, options)


def loop(
    id: str,
    over: Any = None,
    *,
    steps: Sequence[Step],
    as_: str = "item",
    while_: str | bool = "",
    limit: int = 0,
    concurrency: int = 1,
    collect: Any = None,
    **options: Unpack[Options],
) -> Step:
    """The steps for each item of `over`, or as long as `while_` holds, `limit` times at most."""
    values = {
        "over": over,
        "as": as_,
        "while": _condition(while_),
        "limit": limit,
        "concurrency": concurrency,
        "collect": collect,
        "steps": _steps(steps, f"step {id!r}"),
    }
    return _step("loop", id, values, options)


def parallel(id: str, arms: Mapping[str, Sequence[Step]], **options: Unpack[Options]) -> Step:
    """Named arms that run at the same time."""
    return _step(
        "parallel", id, {"arms": {name: _steps(steps, f"step {id!r}") for name, steps in arms.items()}}, options
    )


def wait(
    id: str,
    for_: Duration | None = None,
    *,
    until: str | datetime | None = None,
    callback: bool = False,
    **options: Unpack[Options],
) -> Step:
    """Leave the worker for a time, until a time, or until something is posted to the step's callback URL."""
    values = {
        "for": for_.total_seconds() if isinstance(for_, timedelta) else for_,
        "until": until.isoformat() if isinstance(until, datetime) else until,
        "callback": callback,
    }
    return _step("wait", id, values, options)


def stop(id: str, *, output: Any = None, error: str = "", **options: Unpack[Options]) -> Step:
    """End the flow with `output`, or fail it with `error`."""
    return _step("stop", id, {"output": output, "error": error}, options)


def retry(
    attempts: int = 3,
    *,
    delay: Duration | None = None,
    backoff: str = "",
    max_delay: Duration | None = None,
    jitter: float | None = None,
    errors: Sequence[str] = (),
) -> Retry:
    """Try again: `attempts` in all, the first one included. What is left out is as in YAML."""
    values: dict[str, Any] = {"attempts": attempts, "errors": errors}
    values |= {} if delay is None else {"delay": _seconds(delay, "delay")}
    values |= {} if max_delay is None else {"max_delay": _seconds(max_delay, "max_delay")}
    values |= {} if jitter is None else {"jitter": jitter}
    try:
        return retry_of({**values, "backoff": backoff} if backoff else values)
    except ValueError as error:
        raise _refused(f"retry: {error}") from error


def webhook(
    *,
    verify: str | Mapping[str, Any] | None = None,
    respond: Mapping[str, Any] | None = None,
    cors: str | Sequence[str] = (),
    methods: str | Sequence[str] = (),
) -> Trigger:
    """Started by a request to the flow's address, verified and answered as in YAML: `webhook(verify={"scheme": "github",
    "connection": "hook"})`."""
    written = {"verify": verify, "respond": respond, "cors": cors, "methods": methods}
    hook, connection = hook_of(_read(WEBHOOK, written, "webhook"))
    return Trigger(type="webhook", hook=hook, connection=connection)


def schedule(
    cron: str = "",
    *,
    every: Duration | None = None,
    at: str = "",
    timezone: str = "",
    missed: str = "",
    overlap: str = "",
    jitter: Duration | None = None,
) -> Trigger:
    """Started by the clock: five fields of cron, `every` so often, or once, `at` a moment. The rest is as in YAML."""
    given = {"cron": cron, "at": at, "timezone": timezone, "missed": missed, "overlap": overlap}
    options: dict[str, Any] = {key: value for key, value in given.items() if value}
    options |= {} if every is None else {"every": _interval(every)}
    options |= {} if jitter is None else {"jitter": _seconds(jitter, "jitter")}
    return Trigger(type="schedule", options=options)


def _interval(every: Duration) -> float | str:
    """Seconds, or an expression over the config as it stands."""
    return every if isinstance(every, str) and "${{" in every else _seconds(every, "every")


def on_deploy() -> Trigger:
    """Started when an instance was deployed, upgraded or rolled back: `trigger.body` says which in `event`."""
    return Trigger(type="on_deploy")


def on_delete() -> Trigger:
    """Started before an instance is deleted, which waits for it."""
    return Trigger(type="on_delete")


def on(
    trigger: str,
    *,
    connection: str = "",
    inputs: Mapping[str, Any] | None = None,
    respond: Mapping[str, Any] | None = None,
    cors: str | Sequence[str] = (),
    every: Duration | None = None,
    **named: Any,
) -> Trigger:
    """Started by a connector's trigger, `connector.trigger`; inputs as for `action`, answered as `webhook` is. A polling trigger
    looks `every` so often."""
    options = _data({**(inputs or {}), **named}, trigger)
    hook, _ = hook_of(_read(CONNECTOR_TRIGGER, {"respond": respond, "cors": cors}, trigger))
    every_s = None if every is None else _seconds(every, "every")
    return Trigger(type=trigger, connection=connection, options=options, hook=hook, every_s=every_s)


def limits(
    *,
    concurrency: int | str | Mapping[str, Any] | Sequence[Any] | None = None,
    rate: Mapping[str, Any] | Sequence[Any] | None = None,
    order: Any = None,
    debounce: Duration | Mapping[str, Any] | None = None,
    deduplicate: Any = None,
    priority: int | str = 0,
) -> FlowLimits:
    """How fast a flow may run, each limit as in YAML: `limits(concurrency=5, rate={"most": 10, "window": "1m"})`."""
    written = {"concurrency": concurrency, "rate": rate, "order": order, "debounce": debounce}
    written |= {"deduplicate": deduplicate, "priority": priority}
    return _limits({name: item for name, item in written.items() if item is not None})


def flow(
    name: str,
    trigger: Trigger | None = None,
    *,
    steps: Sequence[Step],
    timeout: Duration | None = None,
    limits: FlowLimits | Mapping[str, Any] | None = None,
    description: str = "",
) -> Flow:
    """A flow; without a trigger it is called by other flows, or by hand."""
    return Flow(
        name=name,
        trigger=trigger or Trigger(),
        steps=_steps(steps, f"flow {name!r}"),
        timeout_s=None if timeout is None else _seconds(timeout, "timeout"),
        description=description,
        limits=limits if isinstance(limits, FlowLimits) else _limits(limits or {}),
        position=_position(),
    )


def variable(
    name: str,
    type: str = "string",
    *,
    description: str = "",
    default: Any = None,
    required: bool | None = None,
    choices: Sequence[Any] = (),
) -> ConfigVariable:
    """A config variable: a value that each instance sets, required unless it has a default."""
    values = {"type": type, "description": description, "default": default, "choices": choices}
    try:
        return config_variable(name, values if required is None else {**values, "required": required})
    except ValueError as error:
        raise _refused(f"config variable {name!r}: {error}") from error


def connection(name: str, connector: str, type: str = "", *, description: str = "") -> ConnectionSlot:
    """A connection that each instance fills."""
    return connection_slot(name, {"connector": connector, "type": type, "description": description})


def _with(inputs: Mapping[str, Any] | None, named: Mapping[str, Any]) -> dict[str, Any]:
    own = {name: value for name, value in named.items() if name not in _OPTIONS}
    return {"with": {**(inputs or {}), **own}}


def _step(kind: str, id: str, values: Mapping[str, Any], given: Mapping[str, Any] | Options) -> Step:
    options = cast("Mapping[str, Any]", given)
    if "with" not in values:
        for name in options:
            if name not in _OPTIONS:
                hint = hint_for(name, _OPTIONS)
                raise _refused(f"step {id!r}: a {kind} step takes no {name!r}" + (f" ({hint})" if hint else ""))
    common: dict[str, Any] = {"id": id, **{name: options[name] for name in _OPTIONS if name in options}}
    if "when" in common:
        common["when"] = _condition(common["when"])
    if common.get("retry") is not None:
        common["retry"] = _retry(common["retry"], id)
    if common.get("timeout") is not None:
        common["timeout"] = _seconds(common["timeout"], "timeout")
    if not isinstance(common.get("on_error", ""), str):
        common["on_error"] = _steps(common["on_error"], f"step {id!r}: `on_error`")
    plain = {name: _data(item, f"step {id!r}") if name in _DATA else item for name, item in values.items()}
    try:
        return step_of(kind, {**common, **plain}, _position())
    except ValueError as error:
        raise _refused(f"step {id!r}: {error}") from error


_DATA: Final = frozenset({"with", "over", "collect", "output"})


def _retry(written: Any, id: str) -> Retry:
    """A `Retry`, a number of attempts, or what `retry` takes as a mapping."""
    match written:
        case Retry():
            return written
        case int() if not isinstance(written, bool):
            return Retry(attempts=written)
        case Mapping() if written.keys() <= {"attempts", "delay", "backoff", "max_delay", "jitter", "errors"}:
            errors = written.get("errors", ())
            return retry(**{**written, "errors": [errors] if isinstance(errors, str) else errors})
        case _:
            raise _refused(
                f"step {id!r}: `retry` is retry(…), a number of attempts, or a mapping of what retry(…) takes"
            )


def _limits(written: Mapping[str, Any]) -> FlowLimits:
    """Read by the grammar, as YAML is, so that both say the same."""
    return limits_of(_read(LIMITS, written, "limits"))


def _read(shape: Shape, written: Mapping[str, Any], who: str) -> Any:
    """The values by key of what was given; nothing and None stand for what was left out."""
    given = {key: item for key, item in written.items() if item not in (None, ())}
    reading = Reading()
    values = reading.shape(node_of(_data(_timed(given), who), _position()), shape)
    if reading.problems:
        raise DefinitionError(reading.problems)
    return values


def _timed(written: Any) -> Any:
    """The same with seconds for each `timedelta`."""
    match written:
        case timedelta():
            return written.total_seconds()
        case Mapping():
            return {key: _timed(item) for key, item in written.items()}
        case list() | tuple():
            return [_timed(item) for item in written]
        case _:
            return written


def _steps(written: Any, who: str) -> tuple[Step, ...]:
    steps = tuple(written) if isinstance(written, Iterable) and not isinstance(written, str | Mapping) else (written,)
    for item in steps:
        if not isinstance(item, Step):
            raise _refused(
                f"{who}: a {type(item).__name__} is not a step; action(…), code(…), stop(…) and so on make one"
            )
    return steps


def _condition(condition: str | bool) -> str:
    return str(condition).lower() if isinstance(condition, bool) else condition


def _seconds(duration: Duration, what: str) -> float:
    try:
        return parse_duration(duration.total_seconds() if isinstance(duration, timedelta) else duration)
    except ValueError as error:
        raise _refused(f"`{what}`: {error}") from error


def _data(value: Any, who: str) -> Any:
    """JSON-like data: tuples become lists; what JSON does not have is refused here, where the line is known."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Mapping():
            if wrong := [key for key in value if not isinstance(key, str)]:
                raise _refused(f"{who}: the key {wrong[0]!r} is not text")
            return {key: _data(item, who) for key, item in value.items()}
        case list() | tuple():
            return [_data(item, who) for item in value]
        case _:
            hint = " (write it as ISO 8601 text)" if isinstance(value, datetime) else ""
            raise _refused(f"{who}: a {type(value).__name__} is not JSON-like data{hint}")


def _position() -> Position:
    """The line of the author's call: the nearest one outside this module."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename == __file__:
        frame = frame.f_back
    return Position(file=frame.f_code.co_filename, line=frame.f_lineno, column=1)


def _refused(message: str) -> DefinitionError:
    at = _position()
    return DefinitionError([Problem(message=message, file=at.file, line=at.line, column=at.column)])
