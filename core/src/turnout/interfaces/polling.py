"""Polling triggers: a connector looks what is new, and each new thing starts a flow."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

__all__ = ["Found", "Poll", "PollingTrigger"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Something new. `value` becomes the flow's `trigger`: JSON-like data, a file, a `Value`. `id` is the same whenever the same
    thing is found, and another's never: found twice within a day it starts one execution."""

    id: str
    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Poll:
    """What a look brought: `items` in the order in which flows are to be started, and the `cursor`, JSON-like data, that the
    next look gets. `more` asks for that at once."""

    items: Sequence[Found] = ()
    cursor: Any = None
    more: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PollingTrigger:
    """A polling trigger: `poll` gets a context, the trigger's inputs and the last cursor, None at the first look.

    The context is an action's, without state, for the cursor is what is kept. A cursor is kept once every item has
    become an execution; a new version of the integration goes on with it. A `StepError` is tried again, ever later.
    """

    name: str
    title: str
    description: str
    poll: Callable[..., Awaitable[Poll]]
    inputs: type[BaseModel]
    timeout_s: float = 60.0
