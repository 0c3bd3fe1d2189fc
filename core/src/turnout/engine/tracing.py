"""The trace of an execution: a span for it, one for each attempt of a step, and one for each of a loop's first items.

A span's id is made of its parent's, the step's path and the number of the attempt. So the step that sends a request and the
observer that later sees its end name the same span, in any process, and what is done anew (an attempt of the loop around it,
a resumed execution) gets a span of its own. Spans are made after the fact, of events that are durable.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from turnout.engine.history import History, is_below
from turnout.engine.plan import ActionPlan, CallPlan, FlowPlan, StepPlan
from turnout.interfaces.connector import Effect
from turnout.model.events import Attempted, Began, Ended, Event, StepEnded, Waiting
from turnout.model.execution import ErrorInfo, ExecutionInfo, StepStatus
from turnout.model.span import Attribute, Span, SpanEvent, SpanKind
from turnout.model.trace import TraceContext, derived_span_id, execution_context, is_sampled, trace_context

__all__ = ["ExecutionTrace", "Tracing", "trace_end"]

_ITEMS: Final = (100, 10, 1)
"""How many items of a loop have spans, of a loop inside a loop, and of one further inside: a loop may have 100,000."""
_LONGEST_TEXT: Final = 1000
_ITEM: Final = re.compile(r"\[([0-9]+)\]")
_log = logging.getLogger("turnout.tracing")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracing:
    """Where finished spans go, and which share (0 to 1) of the traces that begin here is kept. A trace that began elsewhere is
    kept if its sender keeps it. `export` returns at once."""

    export: Callable[[Span], None]
    sample: float = 1.0


class ExecutionTrace:
    """The trace of one execution, in one process. `history` is what is known as the execution is taken up.

    Without `tracing` nothing is made here: what came in with the execution is handed on as it is.
    """

    def __init__(self, tracing: Tracing | None, history: History, plan: FlowPlan | None = None) -> None:
        assert history.info is not None
        info = self._info = history.info
        self._tracing = tracing
        self._history = history
        self._plan = plan
        self._outer = trace_context(info.traceparent, info.tracestate)
        self._root = _root(info, history.reopened_at, self._outer, tracing)
        self._fold = _Fold(history) if tracing is not None and self._root.sampled else None
        self._worker = ""

    def context(self, path: str, attempt: int) -> TraceContext | None:
        """The span that requests of this attempt are made in; None where there is no trace to be a part of."""
        if self._tracing is None:
            return self._outer
        shown = _shown(path)
        history = self._history

        def attempt_of(step: str) -> int:
            if step == path:
                return attempt
            ended, tried = history.ends.get(step), history.tries.get(step)
            return ended.attempts if ended is not None else 1 if tried is None else tried.attempt + 1

        return self._root.at(self._span_id(shown, attempt_of))

    def call_context(self, path: str, attempt: int) -> TraceContext | None:
        """As `context`, for a sub-execution: what an item without a span calls has none either."""
        found = self.context(path, attempt)
        dropped = self._tracing is not None and _shown(path) != path
        return replace(found, sampled=False) if found is not None and dropped else found

    def observe(self, event: Event) -> None:
        """Export the span that ends with this event, which is durable. Events come in order; it raises nothing."""
        if self._fold is None or self._tracing is None:
            return
        try:
            span = self._ended_with(event, self._fold)
            if span is not None:
                self._tracing.export(span)
        except Exception:
            _log.exception("execution %s: a span is missing from its trace", self._info.id)

    def _ended_with(self, event: Event, fold: _Fold) -> Span | None:
        match event:
            case Began():
                self._worker = event.worker
                fold.began(event)
            case Waiting() if event.path:
                fold.waits[event.path] = event
            case Attempted():
                span = self._step_span(event, fold, event.attempt)
                fold.attempted(event)
                return span
            case StepEnded(status=StepStatus.SKIPPED | StepStatus.PARKED):
                return None
            case StepEnded():
                span = self._step_span(event, fold, fold.attempt_of(event.path))
                fold.ended(event)
                return span
            case Ended() if event.status.final:
                return self._execution_span(event, fold)
            case _:
                pass
        return None

    def _execution_span(self, event: Ended, fold: _Fold) -> Span:
        info = self._info
        attributes: dict[str, Attribute] = {
            "turnout.attempts": fold.attempts,
            "turnout.bundle": info.bundle,
            "turnout.integration.version": info.version,
            "turnout.status": event.status.value,
        }
        for name, value in (("parent", info.parent), ("replay_of", info.replay_of), ("worker", self._worker)):
            if value:
                attributes[f"turnout.{name}"] = value
        again = self._history.reopened_at
        replayed = trace_context(info.replayed_span)
        return self._span(
            self._root,
            self._outer if again is None else execution_context(info),
            name=f"{info.integration} {info.flow}",
            remote=again is None and not info.parent,
            kind=SpanKind.INTERNAL if info.parent else SpanKind.CONSUMER,
            started_at=info.created_at if again is None else again,
            ended_at=event.at,
            attributes=attributes,
            error=event.error,
            events=fold.begins,
            links=() if replayed is None else (replayed,),
        )

    def _step_span(self, event: StepEnded | Attempted, fold: _Fold, attempt: int) -> Span | None:
        path = event.path
        if _shown(path) != path:
            return None
        plan = None if self._plan is None or event.kind == "item" else self._plan.step(_static(path))
        status = event.status.value if isinstance(event, StepEnded) else StepStatus.FAILED.value
        attributes: dict[str, Attribute] = {
            "turnout.step.path": path,
            "turnout.step.kind": event.kind,
            "turnout.step.attempt": attempt,
            "turnout.status": status,
            **_about(plan, path, event.kind),
            **fold.about_loop(event),
        }
        wait, signal = fold.waits.get(path), self._history.signals.get(path)
        if wait is not None:
            attributes["turnout.wait.callback"] = wait.callback
        called = trace_context(signal.traceparent) if signal is not None else None
        parent = self._parent(path)
        return self._span(
            self._root.at(self._span_id(path, lambda step: attempt if step == path else fold.attempt_of(step))),
            self._root.at(self._span_id(parent, fold.attempt_of)) if parent else self._root,
            name=_name(path),
            kind=_kind(plan),
            started_at=fold.started_at(event),
            ended_at=event.at,
            attributes=attributes,
            error=event.error,
            links=() if called is None else (called,),
        )

    def _span(
        self,
        context: TraceContext,
        parent: TraceContext | None,
        *,
        name: str,
        kind: SpanKind,
        started_at: float,
        ended_at: float,
        attributes: Mapping[str, Attribute],
        error: ErrorInfo | None,
        events: tuple[SpanEvent, ...] = (),
        links: tuple[TraceContext, ...] = (),
        remote: bool = False,
    ) -> Span:
        info = self._info
        common: dict[str, Attribute] = {
            "turnout.customer": info.tenant,
            "turnout.execution": info.id,
            "turnout.flow": info.flow,
            "turnout.instance": info.instance,
            "turnout.integration": info.integration,
        }
        if error is not None:
            common["error.type"] = error.kind
            events = (*events, _exception(error, ended_at))
        return Span(
            context=context,
            parent=parent,
            remote=remote,
            name=name,
            kind=kind,
            started_at=min(started_at, ended_at),
            ended_at=ended_at,
            attributes={**common, **attributes},
            failure=None if error is None else error.message[:_LONGEST_TEXT],
            events=events,
            links=links,
        )

    def _span_id(self, path: str, attempt_of: Callable[[str], int]) -> str:
        if not path:
            return self._root.span_id
        return derived_span_id(self._span_id(self._parent(path), attempt_of), path, attempt_of(path))

    def _parent(self, path: str) -> str:
        """The path of the step or item that a step is in; empty for the execution. Arms of a parallel step are neither."""
        if path.endswith("]"):
            return path[: path.rindex("[")]
        while path:
            path = path.rpartition(".")[0]
            if path.endswith("]") or (self._plan is not None and self._plan.step(_static(path)) is not None):
                break
        return path


class _Fold:
    """What the events so far say that later spans need. `attempted` and `ended` take them in order."""

    def __init__(self, history: History) -> None:
        self.attempts = history.attempts
        self.begins: tuple[SpanEvent, ...] = ()
        self.waits = dict(history.waits)
        self._tries = dict(history.tries)
        self._failed: dict[str, int] = {}
        self._items: dict[str, int] = {}
        self._earliest: dict[str, float] = {}
        for end in history.ends.values():
            self.ended(end)
            self._began_inside(end, history)

    def began(self, event: Began) -> None:
        self.attempts = event.attempt
        attributes: dict[str, Attribute] = {"turnout.worker": event.worker, "turnout.attempt": event.attempt}
        self.begins = (*self.begins, SpanEvent(name="began", at=event.at, attributes=attributes))

    def attempt_of(self, path: str) -> int:
        """The number of the attempt that runs, or of the last where the step has failed and what deals with it runs."""
        if path in self._failed:
            return self._failed[path]
        return self._tries[path].attempt + 1 if path in self._tries else 1

    def attempted(self, event: Attempted) -> None:
        if event.restart:
            for table in (self._tries, self._failed, self._items, self.waits, self._earliest):
                for path in [path for path in table if is_below(path, event.path)]:
                    del table[path]
        self._tries[event.path] = event

    def ended(self, event: StepEnded) -> None:
        self.waits.pop(event.path, None)
        self._items.pop(event.path, None)
        if event.kind == "item":
            loop = event.path[: event.path.rindex("[")]
            self._items[loop] = self._items.get(loop, 0) + 1
        elif event.status is StepStatus.FAILED:
            self._failed[event.path] = self.attempt_of(event.path) if event.path in self._tries else event.attempts
        else:
            self._tries.pop(event.path, None)

    def started_at(self, event: StepEnded | Attempted) -> float:
        """When the attempt began: after the pause that followed the last one. What an earlier process began, began there."""
        last = self._tries.get(event.path)
        started = event.started_at or event.at
        if last is not None:
            return max(started, last.next_at)
        wait = self.waits.get(event.path)
        if wait is not None and wait.started_at:
            started = min(started, wait.started_at)
        return min(started, self._earliest.get(event.path, started))

    def about_loop(self, event: StepEnded | Attempted) -> dict[str, Attribute]:
        """Of how many items a loop's attempt saw the end, and how many have no spans."""
        if event.kind != "loop":
            return {}
        items = self._items.get(event.path, 0)
        depth = len(_ITEM.findall(event.path))
        dropped = max(0, items - _ITEMS[min(depth, len(_ITEMS) - 1)])
        return {"turnout.loop.items": items, "turnout.loop.items_without_spans": dropped}

    def _began_inside(self, end: StepEnded, history: History) -> None:
        """The steps around one that ended in an earlier process had begun by then."""
        path = end.path
        while path := path.rpartition("[" if path.endswith("]") else ".")[0]:
            if path not in history.ends:
                self._earliest[path] = min(self._earliest.get(path, end.started_at), end.started_at)


def trace_end(tracing: Tracing | None, history: History, event: Ended) -> None:
    """Export the span of an execution that is given its end without being run."""
    if tracing is not None and history.info is not None:
        ExecutionTrace(tracing, history).observe(event)


def _root(
    info: ExecutionInfo, reopened_at: float | None, outer: TraceContext | None, tracing: Tracing | None
) -> TraceContext:
    """The execution's span. One that a person put back has ended before: what follows is a span below the first."""
    root = execution_context(info)
    if outer is None and tracing is not None:
        root = replace(root, sampled=is_sampled(root.trace_id, tracing.sample))
    return root if reopened_at is None else root.at(derived_span_id(root.span_id, "reopened", reopened_at))


def _shown(path: str) -> str:
    """The path, or that of the loop around it whose item has no spans."""
    for depth, item in enumerate(_ITEM.finditer(path)):
        if int(item[1]) >= _ITEMS[min(depth, len(_ITEMS) - 1)]:
            return path[: item.start()]
    return path


def _static(path: str) -> str:
    """A path as the plan has it, without the items' numbers."""
    return _ITEM.sub("[]", path)


def _name(path: str) -> str:
    """Few names, so that spans can be counted by them: the step's id, and `each[]` for an item."""
    return _static(path).rpartition(".")[2]


def _kind(plan: StepPlan | None) -> SpanKind:
    outward = isinstance(plan, ActionPlan) and plan.action.worst.effect is not Effect.PURE
    return SpanKind.CLIENT if outward else SpanKind.INTERNAL


def _about(plan: StepPlan | None, path: str, kind: str) -> dict[str, Attribute]:
    if kind == "item":
        return {"turnout.loop.index": int(path[path.rindex("[") + 1 : -1])}
    match plan:
        case ActionPlan():
            return {"turnout.action": plan.step.action}
        case CallPlan():
            return {"turnout.called_flow": plan.step.flow}
        case _:
            return {}


def _exception(error: ErrorInfo, at: float) -> SpanEvent:
    """As OpenTelemetry's conventions describe exceptions. What it says was masked when it was made."""
    attributes: dict[str, Attribute] = {
        "exception.type": error.kind,
        "exception.message": error.message[:_LONGEST_TEXT],
    }
    if error.stack:
        attributes["exception.stacktrace"] = error.stack[:_LONGEST_TEXT]
    if error.step:
        attributes["turnout.step.path"] = error.step
    return SpanEvent(name="exception", at=at, attributes=attributes)
