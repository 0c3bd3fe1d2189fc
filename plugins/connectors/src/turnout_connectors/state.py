"""The `state` connector: small durable values that executions of an instance share, each change made exactly once."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import Field, StrictFloat, StrictInt
from turnout.connectors import ActionContext, AfterCrash, Connector, Effect, Inputs, StepError, Value
from typing_extensions import TypedDict

__all__ = ["connector"]

connector = Connector(
    "state",
    title="State",
    description="Durable values of an instance or of one of its flows: counters, cursors, marks of what was seen.",
    connection_required=False,
)

Scope = Literal["instance", "flow"]
_ScopeField = Annotated[
    Scope, Field(description="`instance`: shared by all flows of the instance; `flow`: by this flow's executions alone")
]
_KeyField = Annotated[str, Field(min_length=1, max_length=512, description="Name of the value")]


class Get(Inputs):
    key: _KeyField
    scope: _ScopeField = "instance"
    default: Value | None = Field(default=None, description="What `value` is where the key is not there")


class Set(Inputs):
    key: _KeyField
    scope: _ScopeField = "instance"
    value: Any = Field(description="Any JSON value")


class Increment(Inputs):
    key: _KeyField
    scope: _ScopeField = "instance"
    by: StrictInt | StrictFloat = Field(default=1, description="What to add; negative to subtract")


class Delete(Inputs):
    key: _KeyField
    scope: _ScopeField = "instance"


class Found(TypedDict):
    value: Annotated[Any, Field(description="The value, or the default")]
    found: Annotated[bool, Field(description="Whether the key was there")]


class Stored(TypedDict):
    value: Annotated[Any, Field(description="The value as it is stored now")]


class Sum(TypedDict):
    value: Annotated[int | float, Field(description="The number after the addition")]


class Deleted(TypedDict):
    found: Annotated[bool, Field(description="Whether the key was there")]


@connector.action(effect=Effect.READ)
async def get(context: ActionContext, inputs: Get) -> Found:
    """Read a value."""
    value = await context.state.get(inputs.key, flow=inputs.scope == "flow")
    return {"value": inputs.default if value is None else value, "found": value is not None}


@connector.action(effect=Effect.EFFECT, after_crash=AfterCrash.NATIVE, name="set")
async def set_value(context: ActionContext, inputs: Set) -> Stored:
    """Store or replace a value."""
    value = Value(inputs.value)
    if value.files:
        pointer = value.files[0][0] or "the top"
        raise StepError(
            f"state.set keeps JSON, and there is a file at {pointer}: keep its text or its location instead",
            kind="input",
            retryable=False,
        )
    await context.state.set(inputs.key, value, flow=inputs.scope == "flow")
    return {"value": value}


@connector.action(effect=Effect.EFFECT, after_crash=AfterCrash.NATIVE)
async def increment(context: ActionContext, inputs: Increment) -> Sum:
    """Add to a number.

    A key that is not there counts from 0. The addition is atomic among all executions, and exact: whole numbers stay
    whole numbers, of any size.
    """
    total = await context.state.increment(inputs.key, Decimal(str(inputs.by)), flow=inputs.scope == "flow")
    return {"value": int(total) if total == total.to_integral_value() else float(total)}


@connector.action(effect=Effect.EFFECT, after_crash=AfterCrash.NATIVE)
async def delete(context: ActionContext, inputs: Delete) -> Deleted:
    """Remove a value."""
    return {"found": await context.state.delete(inputs.key, flow=inputs.scope == "flow")}
