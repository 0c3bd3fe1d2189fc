"""The hosts that code may reach: each a pattern, or an expression over the config."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from turnout.definition.nearest import hint_for
from turnout.definition.places import Places, Way
from turnout.errors import ExpressionError, Problem
from turnout.expressions import compile_template
from turnout.model.definition import Integration
from turnout.model.hosts import HOST_FORMS, host_pattern

__all__ = ["host_faults"]

ConfigFault = Callable[[list[str]], tuple[str, str, str] | None]
_LATE = ("trigger", "steps", "execution", "item", "index", "error")


def host_faults(integration: Integration, places: Places, config_fault: ConfigFault) -> Iterator[Problem]:
    """The problems of `code.hosts`. `config_fault` says what is wrong with a reference to the config."""
    seen: set[str] = set()
    hosts: Sequence[object] = integration.code.hosts
    for number, written in enumerate(hosts):
        ways: tuple[Way, ...] = (("code", "hosts", number), ("code", "hosts"))
        if not isinstance(written, str):
            yield places.problem(f"`code.hosts`: a {type(written).__name__} is not a host", ways=ways)
        elif "${{" in written:
            yield from _expression(written, ways, places, config_fault)
        else:
            yield from _pattern(written, ways, places, seen)


def _pattern(written: str, ways: tuple[Way, ...], places: Places, seen: set[str]) -> Iterator[Problem]:
    try:
        pattern = host_pattern(written)
    except ValueError as error:
        yield places.problem(f"`code.hosts`: {written[:100]!r}: {error}", ways=ways, hint=f"write {HOST_FORMS}")
        return
    if pattern in seen:
        yield places.problem(f"`code.hosts` lists {written!r} twice", ways=ways, severity="warning")
    seen.add(pattern)


def _expression(written: str, ways: tuple[Way, ...], places: Places, config_fault: ConfigFault) -> Iterator[Problem]:
    try:
        compiled = compile_template(written)
    except ExpressionError as error:
        message = f"`code.hosts`: {error.reason or error.message}"
        yield places.problem(message, ways=ways, offset=error.offset, hint=error.hint)
        return
    for root, *rest in sorted(compiled.references):
        fault: tuple[str, str, str] | None
        if root == "config":
            fault = config_fault(rest)
        else:
            late = "hosts are the same for all executions of an instance: they see `config` alone"
            fault = f"nothing is called {root!r} here", late if root in _LATE else hint_for(root, ("config",)), root
        if fault is not None:
            message, hint, bad = fault
            yield places.problem(f"`code.hosts`: {message}", ways=ways, find=bad, hint=hint)
