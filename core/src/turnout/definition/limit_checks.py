"""Limits of flows: numbers that make sense, and expressions over what is known when an execution is accepted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from turnout.definition.expressions_in import Written, texts
from turnout.definition.grammar import MOST, PRIORITY
from turnout.definition.nearest import hint_for
from turnout.definition.places import Places, Way
from turnout.definition.shapes import Number
from turnout.errors import ExpressionError, Problem
from turnout.expressions import compile_template
from turnout.model.definition import Flow, Integration
from turnout.model.limits import ConcurrencyLimit, FlowLimits, Per, RateLimit

__all__ = ["LimitChecks"]

_ROOTS: Final = ("trigger", "config")
_EARLY: Final = "limits are settled before the first step runs: they see `trigger` and `config`"

ConfigFault = Callable[[list[str]], tuple[str, str, str] | None]


class LimitChecks:
    """Checks the limits of one integration. `config_fault` says what is wrong with a reference to the config."""

    def __init__(self, integration: Integration, places: Places, config_fault: ConfigFault) -> None:
        self._integration = integration
        self._places = places
        self._config_fault = config_fault

    def check(self, flow: Flow) -> Iterator[Problem]:
        """The problems of a flow's limits."""
        limits = flow.limits
        if limits == FlowLimits():
            return
        if flow.trigger.type == "call":
            message = "its limits have no effect: a called flow runs within the execution that calls it"
            yield self._problem(flow, (), message, "write them at the flow whose trigger starts that")
        for kind, several in (("concurrency", limits.concurrency), ("rate", limits.rate)):
            yield from self._counted(flow, kind, several)
        yield from self._durations(flow)
        yield from self._number(flow, ("priority",), limits.priority, PRIORITY)
        for way, key in _keys(limits):
            yield from self._key(flow, way, key)

    def shared(self) -> Iterator[Problem]:
        """Flows that count together and name different numbers: allowed, each waits by its own, but seldom meant."""
        first: dict[Any, tuple[str, int | str]] = {}
        for flow in self._integration.flows.values():
            for number, limit in enumerate(flow.limits.concurrency):
                if limit.per is Per.FLOW:
                    continue
                name, most = first.setdefault((limit.per, repr(limit.key)), (flow.name, limit.most))
                if most != limit.most:
                    message = (
                        f"at most {limit.most} of this {limit.per}, and flow {name!r} says at most {most} of the same"
                    )
                    hint = "each flow's executions wait by its own number"
                    yield self._problem(flow, ("concurrency", number, "most"), message, hint, severity="warning")

    def _counted(self, flow: Flow, kind: str, several: Sequence[ConcurrencyLimit | RateLimit]) -> Iterator[Problem]:
        seen: set[tuple[object, ...]] = set()
        for number, limit in enumerate(several):
            yield from self._number(flow, (kind, number, "most"), limit.most, MOST)
            window_s = limit.window_s if isinstance(limit, RateLimit) else 0.0
            if isinstance(limit, RateLimit) and window_s <= 0:
                yield self._problem(flow, (kind, number, "window"), "`window` must be longer than nothing")
            same = (limit.per, repr(limit.key), window_s)
            if same in seen:
                yield self._problem(flow, (kind, number), f"`{kind}` says twice how many of the same: keep the smaller")
            seen.add(same)

    def _durations(self, flow: Flow) -> Iterator[Problem]:
        debounce, deduplicate = flow.limits.debounce, flow.limits.deduplicate
        if debounce is not None and debounce.wait_s <= 0:
            yield self._problem(flow, ("debounce", "wait"), "`wait` must be longer than nothing")
        elif debounce is not None and debounce.longest_s is not None and debounce.longest_s < debounce.wait_s:
            message = f"`longest` is shorter than `wait` ({debounce.wait_s:g} s)"
            yield self._problem(flow, ("debounce", "longest"), message)
        if deduplicate is not None and deduplicate.window_s <= 0:
            yield self._problem(flow, ("deduplicate", "window"), "`window` must be longer than nothing")

    def _number(self, flow: Flow, way: Way, written: int | str, kind: Number) -> Iterator[Problem]:
        name = way[-1]
        if isinstance(written, str) and "${{" in written:
            yield from self._expressions(flow, way, written)
        elif isinstance(written, bool) or not isinstance(written, int):
            yield self._problem(flow, way, f"`{name}` must be a whole number, or an expression that gives one")
        elif kind.minimum is not None and kind.maximum is not None and not kind.minimum <= written <= kind.maximum:
            yield self._problem(flow, way, f"`{name}` must be from {kind.minimum} to {kind.maximum}, not {written}")

    def _key(self, flow: Flow, way: Way, key: Any) -> Iterator[Problem]:
        if not any(texts(key, ((),))):
            hint = "write an expression, such as ${{ trigger.body.account }}"
            yield self._problem(flow, way, f"the key {str(key)[:40]!r} is the same for every execution", hint)
        yield from self._expressions(flow, way, key)

    def _expressions(self, flow: Flow, way: Way, data: Any) -> Iterator[Problem]:
        for written in texts(data, _ways(way)):
            yield from self._expression(flow, written)

    def _expression(self, flow: Flow, written: Written) -> Iterator[Problem]:
        who = f"flow {flow.name!r}: `limits`"
        try:
            compiled = compile_template(written.text)
        except ExpressionError as error:
            yield self._places.problem(
                f"{who}: {error.reason or error.message}",
                below=flow,
                ways=written.ways,
                offset=error.offset,
                hint=error.hint,
            )
            return
        for reference in sorted(compiled.references):
            if fault := self._fault(reference):
                message, hint, bad = fault
                yield self._places.problem(f"{who}: {message}", below=flow, ways=written.ways, find=bad, hint=hint)

    def _fault(self, reference: tuple[str, ...]) -> tuple[str, str, str] | None:
        """What is wrong with a reference: a message, a hint, and the text to look for."""
        root, *rest = reference
        if root == "config":
            return self._config_fault(rest)
        if root == "trigger":
            return None
        known = ("steps", "execution", "item", "index", "error")
        return f"nothing is called {root!r} here", _EARLY if root in known else hint_for(root, _ROOTS), root

    def _problem(self, flow: Flow, way: Way, message: str, hint: str = "", *, severity: str = "error") -> Problem:
        return self._places.problem(
            f"flow {flow.name!r}: {message}", below=flow, ways=_ways(way), hint=hint, severity=severity
        )


def _keys(limits: FlowLimits) -> Iterator[tuple[Way, Any]]:
    """Each key that is written, with its way below `limits`."""
    counted: Mapping[str, tuple[ConcurrencyLimit | RateLimit, ...]] = {
        "concurrency": limits.concurrency,
        "rate": limits.rate,
    }
    for kind, several in counted.items():
        yield from (((kind, number, "key"), limit.key) for number, limit in enumerate(several) if limit.key is not None)
    for name, one in (("order", limits.order), ("debounce", limits.debounce), ("deduplicate", limits.deduplicate)):
        if one is not None and one.key is not None:
            yield (name, "key"), one.key


def _ways(way: Way) -> tuple[Way, ...]:
    """Where it may stand: in a list or without one, under its own key or as what the limit is short for."""
    bare = tuple(part for part in way if not isinstance(part, int))
    return tuple(("limits", *end) for end in (way, bare, way[:-1], bare[:1]))
