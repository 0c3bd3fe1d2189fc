"""Model values out of what was written, whether in YAML or in Python: both hand over the same keys."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from turnout.model.definition import (
    ActionStep,
    Backoff,
    BranchStep,
    CallStep,
    CodeStep,
    ConfigType,
    ConfigVariable,
    ConnectionSlot,
    LoopStep,
    OnCrash,
    ParallelStep,
    Position,
    Retry,
    Step,
    StopStep,
    WaitStep,
)
from turnout.model.limits import (
    ConcurrencyLimit,
    DebounceLimit,
    Deduplication,
    FlowLimits,
    OrderLimit,
    Per,
    RateLimit,
)
from turnout.model.webhook import Answer, Hook, Respond, Verify

__all__ = ["config_variable", "connection_slot", "hook_of", "limits_of", "retry_of", "step_of"]

Values = Mapping[str, Any]


def step_of(kind: str, values: Values, position: Position | None) -> Step:
    """The step of this kind, of values by the keys of `turnout.definition.grammar`: durations in seconds, steps as
    tuples, `retry` a `Retry`, `arms` of branches and parallels as the model has them."""
    common: dict[str, Any] = {
        "id": values.get("id", ""),
        "when": values.get("when", ""),
        "retry": values.get("retry"),
        "timeout_s": values.get("timeout"),
        "on_error": values.get("on_error", "fail"),
        "on_crash": OnCrash(values.get("on_crash", OnCrash.DEFAULT)),
        "description": values.get("description", ""),
        "position": position,
    }
    match kind:
        case "action":
            inputs = _inputs(values)
            return ActionStep(
                **common, action=values.get("action", ""), connection=values.get("connection", ""), inputs=inputs
            )
        case "code":
            return _code(common, values)
        case "branch":
            return BranchStep(**common, arms=tuple(values.get("arms", ())))
        case "loop":
            return _loop(common, values)
        case "parallel":
            return ParallelStep(**common, arms=dict(values.get("arms", {})))
        case "call":
            return CallStep(**common, flow=values.get("flow", ""), inputs=values.get("with"))
        case "wait":
            return _wait(common, values)
        case _:
            return StopStep(**common, output=values.get("output"), error=values.get("error", ""))


def _inputs(values: Values) -> Any:
    inputs = values.get("with")
    return {} if inputs is None else inputs


def _code(common: dict[str, Any], values: Values) -> Step:
    return CodeStep(
        **common,
        file=values.get("file", ""),
        source=values.get("source", ""),
        language=values.get("language", ""),
        connections=tuple(values.get("connections", ())),
        source_position=values.get("source_position"),
        inputs=_inputs(values),
    )


def _loop(common: dict[str, Any], values: Values) -> Step:
    return LoopStep(
        **common,
        over=values.get("over"),
        condition=values.get("while", ""),
        limit=values.get("limit", 0),
        item_name=values.get("as", "item"),
        concurrency=values.get("concurrency", 1),
        collect=values.get("collect"),
        steps=tuple(values.get("steps", ())),
    )


def _wait(common: dict[str, Any], values: Values) -> Step:
    callback = values.get("callback", False)
    if isinstance(callback, Mapping):
        common = {**common, "timeout_s": callback.get("timeout", common["timeout_s"])}
    return WaitStep(
        **common,
        duration=values.get("for"),
        until=values.get("until"),
        callback=isinstance(callback, Mapping) or callback,
    )


def retry_of(values: Values) -> Retry:
    """What is not written has the model's default; `jitter` true stands for that too, false for none."""
    names = {"attempts": "attempts", "delay": "delay_s", "max_delay": "max_delay_s", "jitter": "jitter"}
    fields: dict[str, Any] = {names[key]: item for key, item in values.items() if key in names}
    match fields.get("jitter"):
        case True:
            del fields["jitter"]
        case False:
            fields["jitter"] = 0.0
    if "backoff" in values:
        fields["backoff"] = Backoff(values["backoff"])
    return Retry(**fields, errors=tuple(_error_kind(str(item)) for item in values.get("errors", ())))


def _error_kind(written: str) -> str:
    """A bare status (`503`, `5xx`) stands for the kind that `http` gives its errors."""
    return f"http_{written.lower()}" if re.fullmatch(r"[1-5](?:[0-9]{2}|[xX]{2})", written) else written


def limits_of(values: Values) -> FlowLimits:
    """The limits of a flow; what is not written has the model's default."""
    order, debounce, deduplicate = values.get("order"), values.get("debounce"), values.get("deduplicate")
    return FlowLimits(
        concurrency=tuple(
            ConcurrencyLimit(**_counted(item), most=item.get("most", 1)) for item in values.get("concurrency", ())
        ),
        rate=tuple(
            RateLimit(**_counted(item), most=item.get("most", 1), window_s=item.get("window", 0.0))
            for item in values.get("rate", ())
        ),
        order=None if order is None else OrderLimit(**_counted(order)),
        debounce=None
        if debounce is None
        else DebounceLimit(**_counted(debounce), wait_s=debounce.get("wait", 0.0), longest_s=debounce.get("longest")),
        deduplicate=None
        if deduplicate is None
        else Deduplication(key=deduplicate.get("key"), window_s=deduplicate.get("window", 86400.0)),
        priority=values.get("priority", 0),
    )


def _counted(values: Values) -> dict[str, Any]:
    """Which executions count together."""
    return {"per": Per(values.get("per", Per.FLOW)), "key": values.get("key")}


_SIGNATURE_KEYS = ("header", "algorithm", "encoding", "prefix", "separator", "signed", "timestamp", "id", "delivery")
_VERIFY_KEYS = (*_SIGNATURE_KEYS, "scheme", "timestamp_prefix", "timestamp_unit")


def hook_of(values: Values) -> tuple[Hook, str]:
    """How requests are verified and answered, and the connection whose secrets verify them."""
    verify, respond = values.get("verify"), values.get("respond")
    hook = Hook(
        verify=None if verify is None else _verify(verify),
        respond=None if respond is None else _respond(respond),
        cors=tuple(values.get("cors", ())),
        methods=tuple(values.get("methods", ())),
    )
    return hook, "" if verify is None else verify.get("connection", "")


def _verify(values: Values) -> Verify:
    written = {key: values[key] for key in _VERIFY_KEYS if key in values}
    return Verify(
        **{"scheme": "", **written}, fields=tuple(values.get("fields", ())), tolerance_s=values.get("tolerance")
    )


def _respond(values: Values) -> Respond:
    return Respond(
        wait_s=values.get("wait"),
        answer=_answer(values),
        failed=_answer(values["failed"]) if "failed" in values else None,
        late=_answer(values["late"]) if "late" in values else None,
    )


def _answer(values: Values) -> Answer:
    headers = {name.lower(): text for name, text in values.get("headers", {}).items()}
    return Answer(status=values.get("status"), headers=headers, body=values.get("body"))


def config_variable(name: str, values: Values) -> ConfigVariable:
    """Required where it has no default, unless `required` says otherwise."""
    default = values.get("default")
    return ConfigVariable(
        name=name,
        type=ConfigType(values.get("type", ConfigType.STRING)),
        description=values.get("description", ""),
        default=default,
        required=bool(values.get("required", default is None)),
        choices=tuple(values.get("choices", ())),
    )


def connection_slot(name: str, values: Values) -> ConnectionSlot:
    return ConnectionSlot(
        name=name,
        connector=values.get("connector", ""),
        type=values.get("type", ""),
        description=values.get("description", ""),
    )
