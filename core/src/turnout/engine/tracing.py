"""The trace of an execution: a span for it, one for each attempt of a step, and one for each of a loop's first items.

A span's id is made of its parent's, the step's path and the number of the attempt. So the step that sends a request and the
observer that later sees its end name the same span, in any process, and what is done anew (an attempt of the loop around it,
a resumed execution) gets a span of its own. Spans are made after the fact, of events that are durable.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

from turnout.engine.history import History, is_below
from turnout.engine.plan import ActionPlan, CallPlan, FlowPlan, StepPlan
from turnout.engine.trace_fold import Fold, shown_path
from turnout.interfaces.connector import Effect
from turnout.model.events import Attempted, Began, Ended, Event, StepEnded, Waiting
from turnout.model.execution import ErrorInfo, ExecutionInfo, StepStatus
from turnout.model.span import Attribute, Span, SpanEvent, SpanKind
from turnout.model.trace import TraceContext, derived_span_id, execution_context, is_sampled, trace_context

__all__ = ["ExecutionTrace", "Tracing", "trace_end"]

_LONGEST_TEXT: Final = 1000
_ITEM: Final = re.compile(r"\[[0-9]+\]")
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
        self._fold = Fold(history, self._parent) if tracing is not None and self._root.sampled else None
        self._worker = ""

    @cached_property
    def _root(self) -> TraceContext:
        """The execution's span. One that a person put back has ended before: what follows is a span below the first."""
        root, reopened_at = execution_context(self._info), self._history.reopened_at
        if self._outer is None and self._tracing is not None:
            root = replace(root, sampled=is_sampled(root.trace_id, self._tracing.sample))
        return root if reopened_at is None else root.at(derived_span_id(root.span_id, "reopened", reopened_at))

    def context(self, path: str, attempt: int) -> TraceContext | None:
        """The span that requests of this attempt are made in; None where there is no trace to be a part of."""
        if self._tracing is None:
            return self._outer
        shown = shown_path(path)
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
        dropped = self._tracing is not None and shown_path(path) != path
        return replace(found, sampled=False) if found is not None and dropped else found

    def called(self, child: ExecutionInfo) -> None:
        """A sub-execution ends with this execution: the step that called it gets its span then."""
        if self._fold is not None and child.parent == self._info.id:
            self._fold.begun(shown_path(child.parent_path), child.created_at)

    def observe(self, event: Event) -> None:
        """Export the spans that end with this event, which is durable. Events come in order; it raises nothing."""
        if self._fold is None or self._tracing is None:
            return
        try:
            for span in self._ended_with(event, self._fold):
                self._tracing.export(span)
        except Exception:
            _log.exception("execution %s: a span is missing from its trace", self._info.id)

    def _ended_with(self, event: Event, fold: Fold) -> Iterator[Span]:
        match event:
            case Began():
                self._worker = event.worker
                fold.began(event)
            case Waiting() if event.path:
                fold.waits[event.path] = event
            case Attempted():
                yield from self._step_spans(event, fold)
                fold.attempted(event)
            case StepEnded(status=StepStatus.SKIPPED | StepStatus.PARKED):
                pass
            case StepEnded():
                yield from self._step_spans(event, fold)
                fold.ended(event)
            case Ended() if event.status.final:
                if self._plan is not None:
                    for path in fold.open_below(""):
                        yield self._step_span(self._unended(event, path, StepStatus.CANCELLED, fold), fold)
                yield self._execution_span(event, fold)
            case _:
                pass

    def _step_spans(self, event: StepEnded | Attempted, fold: Fold) -> Iterator[Span]:
        """The step's, after those of its items that have no end of their own: only items that succeed have one."""
        if event.kind == "loop":
            status = event.status if isinstance(event, StepEnded) else StepStatus.FAILED
            for path in fold.open_below(event.path):
                yield self._step_span(self._unended(event, path, status, fold), fold)
        if shown_path(event.path) == event.path:
            yield self._step_span(event, fold)

    def _unended(self, event: StepEnded | Attempted | Ended, path: str, status: StepStatus, fold: Fold) -> StepEnded:
        """The end that a step or an item got from what it is in."""
        plan = None if self._plan is None else self._plan.step(_static(path))
        inside = event.error is not None and is_below(event.error.step, path)
        started_at = fold.open[path]
        return StepEnded(
            at=event.at,
            path=path,
            kind="item" if plan is None else plan.kind,
            status=status,
            started_at=started_at,
            duration_ms=(event.at - started_at) * 1000,
            error=event.error if inside else None,
        )

    def _execution_span(self, event: Ended, fold: Fold) -> Span:
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

    def _step_span(self, event: StepEnded | Attempted, fold: Fold) -> Span:
        path = event.path
        plan = None if self._plan is None or event.kind == "item" else self._plan.step(_static(path))
        status = event.status.value if isinstance(event, StepEnded) else StepStatus.FAILED.value
        attributes: dict[str, Attribute] = {
            "turnout.step.path": path,
            "turnout.step.kind": event.kind,
            "turnout.step.attempt": fold.attempt_of(path),
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
            self._root.at(self._span_id(path, fold.attempt_of)),
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


def trace_end(tracing: Tracing | None, history: History, event: Ended, plan: FlowPlan | None = None) -> None:
    """Export the span of an execution that is given its end without being run; with its `plan` those of steps it had begun."""
    if tracing is not None and history.info is not None:
        ExecutionTrace(tracing, history, plan).observe(event)


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
