"""Every expression of a step, with the place it is written at."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from turnout.model.definition import (
    ActionStep,
    BranchStep,
    CallStep,
    CodeStep,
    LoopStep,
    Step,
    StopStep,
    WaitStep,
)

__all__ = ["Written", "inner_expressions", "lookalikes", "outer_expressions", "texts"]

Way = tuple[str | int, ...]

_LOOKALIKE: Final = re.compile(
    r"(?<![${])(?:\$\{(?!\{)|\{\{)\s*(?:trigger|steps|config|execution|item)\b[^{}]{0,80}\}\}?"
)
"""`${ steps.x }` and `{{ steps.x }}`."""


@dataclass(frozen=True, slots=True)
class Written:
    """An expression or text with expressions; `ways` are the places in the definition's file where it may stand."""

    text: str
    ways: tuple[Way, ...]
    condition: bool = False


def outer_expressions(step: Step) -> Iterator[Written]:
    """What is evaluated before the step's own steps run, if it has any."""
    if step.when:
        yield Written(step.when, (("when",),), condition=True)
    match step:
        case ActionStep() | CodeStep():
            yield from texts(step.inputs, (("with",),))
        case CallStep():
            yield from texts(step.inputs, (("with",), ("call", "with")))
        case BranchStep():
            for number, arm in enumerate(step.arms):
                if arm.when:
                    ways: tuple[Way, ...] = (("branch", number, "when"), ("branch", "when"))
                    yield Written(arm.when, ways, condition=True)
        case LoopStep():
            yield from texts(step.over, (("loop", "over"), ("over",), ("loop",)))
        case WaitStep():
            yield from texts(step.duration, (("wait", "for"), ("for",), ("wait",)))
            yield from texts(step.until, (("wait", "until"), ("until",)))
        case StopStep():
            yield from texts(step.output, (("stop", "output"), ("output",)))
            yield from texts(step.error, (("stop", "error"), ("error",)))
        case _:
            pass


def inner_expressions(step: Step) -> Iterator[Written]:
    """What is evaluated for each item of a loop, where its steps' outputs are known."""
    if isinstance(step, LoopStep):
        yield from texts(step.collect, (("loop", "collect"), ("collect",)))
        if step.condition:
            yield Written(step.condition, (("loop", "while"), ("while",)), condition=True)


def texts(data: Any, ways: tuple[Way, ...]) -> Iterator[Written]:
    """The texts in JSON-like data that hold expressions."""
    for written in _all_texts(data, ways):
        if "${{" in written.text:
            yield written


def lookalikes(step: Step) -> Iterator[tuple[Written, str]]:
    """Texts of a step that hold what another system would take for an expression, with that part."""
    places: tuple[tuple[Any, tuple[Way, ...]], ...] = ()
    match step:
        case ActionStep() | CodeStep() | CallStep():
            places = ((step.inputs, (("with",), ("call", "with"))),)
        case LoopStep():
            places = ((step.collect, (("loop", "collect"), ("collect",))),)
        case StopStep():
            places = ((step.output, (("stop", "output"), ("output",))), (step.error, (("stop", "error"), ("error",))))
        case _:
            pass
    for data, ways in places:
        for written in _all_texts(data, ways):
            if found := _LOOKALIKE.search(written.text):
                yield written, found[0]


def _all_texts(data: Any, ways: tuple[Way, ...]) -> Iterator[Written]:
    match data:
        case str():
            yield Written(data, ways)
        case dict():
            for key, item in data.items():
                yield from _all_texts(item, tuple((*way, key) for way in ways))
        case list() | tuple():
            for number, item in enumerate(data):
                yield from _all_texts(item, tuple((*way, number) for way in ways))
