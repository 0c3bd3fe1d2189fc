"""What expressions may refer to at each place of a flow, and what they refer to wrongly.

A step's output is visible to all later steps, out of branches and parallel arms too; of a loop only what it collects.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Union, get_args, get_origin

from turnout.definition.expressions_in import Written, inner_expressions, lookalikes, outer_expressions
from turnout.definition.nearest import hint_for
from turnout.definition.places import Places
from turnout.errors import ExpressionError, Problem
from turnout.expressions import compile_condition, compile_template
from turnout.expressions.files import FILE_FIELDS
from turnout.interfaces.connector import Connector
from turnout.model.definition import (
    ActionStep,
    BranchStep,
    Flow,
    Integration,
    LoopStep,
    ParallelStep,
    Step,
    walk,
)
from turnout.model.payload import File

__all__ = ["References"]

_ROOTS: Final = ("trigger", "steps", "config", "execution")
_ERROR_FIELDS: Final = ("kind", "message", "step", "details")
Reference = tuple[str, ...]


@dataclass(slots=True)
class _Scope:
    """What is visible at a place: steps by id, and the names that loops and error handlers add."""

    steps: dict[str, Step] = field(default_factory=dict)
    names: frozenset[str] = frozenset()

    def inner(self, *names: str) -> _Scope:
        return _Scope(dict(self.steps), self.names | set(names))


class References:
    """Checks the expressions of one integration; `config_used` gathers the config variables that they name."""

    def __init__(self, integration: Integration, connectors: Mapping[str, Connector], places: Places) -> None:
        self.config_used: set[str] = set()
        self._integration = integration
        self._connectors = connectors
        self._places = places
        self._all: dict[str, Step] = {}
        self._in_loops: dict[str, LoopStep] = {}

    def check(self, flow: Flow) -> Iterator[Problem]:
        """The problems of a flow's expressions, in the order of its text."""
        self._all = {step.id: step for step in walk(flow.steps)}
        self._in_loops = {
            inner.id: step for step in walk(flow.steps) if isinstance(step, LoopStep) for inner in walk(step.steps)
        }
        yield from self._steps(flow.steps, _Scope())

    def _steps(self, steps: tuple[Step, ...], scope: _Scope) -> Iterator[Problem]:
        for step in steps:
            yield from self._step(step, scope)

    def _step(self, step: Step, scope: _Scope) -> Iterator[Problem]:
        for written in outer_expressions(step):
            yield from self._expression(step, written, scope)
        for written, found in lookalikes(step):
            yield self._places.problem(
                f"step {step.id!r}: {found!r} is plain text here",
                below=step.position,
                ways=written.ways,
                find=found,
                hint=f"an expression is written ${{{{ {found.strip('${} ')} }}}}",
                severity="warning",
            )
        after: dict[str, Step] = {}
        for arm in _arms(step):
            inner = scope.inner()
            yield from self._steps(arm, inner)
            after.update(inner.steps)
        if isinstance(step, LoopStep):
            inner = scope.inner(step.item_name, "index")
            if step.condition:
                # Rounds build on each other: each sees what the round before gave, and null in the first one.
                inner.steps.update(_visible(step.steps))
            yield from self._steps(step.steps, inner)
            for written in inner_expressions(step):
                yield from self._expression(step, written, inner)
        scope.steps.update(after)
        if isinstance(step.on_error, tuple):
            inner = scope.inner("error")
            yield from self._steps(step.on_error, inner)
            scope.steps.update(inner.steps)
        scope.steps[step.id] = step

    def _expression(self, step: Step, written: Written, scope: _Scope) -> Iterator[Problem]:
        try:
            compiled = compile_condition(written.text) if written.condition else compile_template(written.text)
        except ExpressionError as error:
            message = f"step {step.id!r}: {error.reason or error.message}"
            yield self._places.problem(
                message, below=step.position, ways=written.ways, offset=error.offset, hint=error.hint
            )
            return
        for reference in sorted(compiled.references):
            fault = self._fault(reference, step, scope)
            if fault is not None:
                message, hint, bad = fault
                if f'"{reference[0]}"' in written.text:
                    hint = f"double quotes are for names, text stands in single ones: '{reference[0]}'"
                yield self._places.problem(
                    f"step {step.id!r}: {message}", below=step.position, ways=written.ways, find=bad, hint=hint
                )

        for path in sorted(compiled.of_elements):
            if self._is_shadowed(path):
                name = ".".join(path[:2])
                message = f"step {step.id!r}: in a filter, {name} is the field {path[0]!r} of each element"
                hint = f"the filter does not see the flow's {path[0]}: give both to a code step and filter there"
                yield self._places.problem(
                    message, below=step.position, ways=written.ways, find=name, hint=hint, severity="warning"
                )

    def _is_shadowed(self, path: Reference) -> bool:
        """Whether a path in a filter was probably meant to begin from the flow."""
        if len(path) < 2:
            return False
        root, name, *_ = path
        known = {"config": self._integration.config, "steps": self._all, "trigger": ("body", "headers", "query")}
        return name in known.get(root, ())

    def _fault(self, reference: Reference, step: Step, scope: _Scope) -> tuple[str, str, str] | None:
        """What is wrong with a reference: a message, a hint, and the text to look for."""
        root, *rest = reference
        if root == "steps":
            return self._step_fault(rest, step, scope) if rest else None
        if root == "config":
            return self.config_fault(rest)
        if root == "error" and root in scope.names and rest and rest[0] not in _ERROR_FIELDS:
            return f"an error has no field {rest[0]!r}", hint_for(rest[0], _ERROR_FIELDS), f"error.{rest[0]}"
        if root in _ROOTS or root in scope.names:
            return None
        return self._root_fault(root, scope)

    def config_fault(self, rest: list[str]) -> tuple[str, str, str] | None:
        """What is wrong with a reference below `config`, if anything is: a message, a hint, and the text to look for."""
        if not rest:
            self.config_used.update(self._integration.config)
            return None
        self.config_used.add(rest[0])
        if rest[0] in self._integration.config:
            return None
        hint = hint_for(rest[0], self._integration.config) or "the integration has no `config`"
        return f"there is no config variable {rest[0]!r}", hint, f"config.{rest[0]}"

    def _root_fault(self, root: str, scope: _Scope) -> tuple[str, str, str]:
        message = f"nothing is called {root!r} here"
        if root in self._all:
            return message, f"write steps.{root}", root
        if root in self._integration.config:
            return message, f"write config.{root}", root
        match root:
            case "error":
                hint = "only the steps of `on_error` see `error`"
            case "item" | "index":
                hint = "only the steps of a loop see it"
            case "connections" | "secrets" | "env":
                hint = "connections are given to steps by name and cannot be read"
            case _:
                hint = hint_for(root, [*_ROOTS, *sorted(scope.names)])
        return message, hint, root

    def _step_fault(self, rest: list[str], step: Step, scope: _Scope) -> tuple[str, str, str] | None:
        name, *fields = rest
        found = scope.steps.get(name)
        if found is not None:
            return self._field_fault(found, fields) if fields else None
        text = f"steps.{name}"
        if name == step.id:
            return f"it refers to its own output, steps.{name}", "it is known only afterwards", text
        if name in self._in_loops:
            loop = self._in_loops[name]
            hint = f"give the loop `collect: ${{{{ steps.{name} }}}}` and read steps.{loop.id}"
            return f"step {name!r} is inside the loop {loop.id!r} and cannot be seen from here", hint, text
        if name in self._all:
            return f"step {name!r} has not run when this is evaluated", "only earlier steps can be referred to", text
        return f"there is no step {name!r}", hint_for(name, scope.steps), text

    def _field_fault(self, found: Step, fields: list[str]) -> tuple[str, str, str] | None:
        """An unknown first field of an action's output, where its type says all of them."""
        if not isinstance(found, ActionStep):
            return None
        connector = self._connectors.get(found.connector)
        action = connector.actions.get(found.action.partition(".")[2]) if connector else None
        known = _fields_of(action.output) if action else None
        if known is None or fields[0] in known:
            return None
        text = f"steps.{found.id}.{fields[0]}"
        return f"the output of {found.action} has no field {fields[0]!r}", hint_for(fields[0], known), text


def _arms(step: Step) -> list[tuple[Step, ...]]:
    match step:
        case BranchStep():
            return [arm.steps for arm in step.arms]
        case ParallelStep():
            return list(step.arms.values())
        case _:
            return []


def _visible(steps: tuple[Step, ...]) -> dict[str, Step]:
    """The steps whose outputs are seen beside and after these: in branches, arms and handlers, but not in loops."""
    found: dict[str, Step] = {}
    for step in steps:
        found[step.id] = step
        for arm in _arms(step):
            found |= _visible(arm)
        if isinstance(step.on_error, tuple):
            found |= _visible(step.on_error)
    return found


def _fields_of(output: Any) -> tuple[str, ...] | None:
    """The fields of an output's type; None where it may have any."""
    if get_origin(output) in (Union, types.UnionType):
        parts = [_fields_of(part) for part in get_args(output) if part is not type(None)]
        return None if None in parts else tuple(name for part in parts if part for name in part)
    if output is File:
        return FILE_FIELDS
    if not hasattr(output, "model_fields") or output.model_config.get("extra") == "allow":
        return None
    return tuple(item.alias or name for name, item in output.model_fields.items())
