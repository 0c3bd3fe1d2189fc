"""The life of a step: whether it runs, how often it is tried, what its end is, and what its failure leads to."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Protocol, assert_never

from turnout.engine import control
from turnout.engine.frame import Frame, error_value
from turnout.engine.leaves import Attempt, Done, run_action, run_code
from turnout.engine.outcome import Paused, Stopped
from turnout.engine.pen import Urgency
from turnout.engine.plan import (
    ActionPlan,
    BranchPlan,
    CallPlan,
    CodePlan,
    LoopPlan,
    ParallelPlan,
    StepPlan,
    Steps,
    StopPlan,
    WaitPlan,
)
from turnout.engine.session import Session
from turnout.errors import StepError, StepTimeout
from turnout.model.definition import Backoff, Retry
from turnout.model.events import Attempted, Decided, Event, StepEnded
from turnout.model.execution import ErrorInfo, StepStatus
from turnout.model.payload import Encoded
from turnout.values import NULL, Value

__all__ = ["Caller", "Interpreter", "StepFailed"]


class StepFailed(StepError):
    """A step failed for good; `info` says why, without secrets, and names the step that it came from."""

    def __init__(self, info: ErrorInfo, *, attempts: int, retryable: bool = True) -> None:
        self.info = info
        self.attempts = attempts
        super().__init__(info.message, kind=info.kind, stack=info.stack, retryable=retryable)


class Caller(Protocol):
    """Runs another flow as a sub-execution; the engine implements it."""

    async def call(self, session: Session, plan: CallPlan, inputs: Value, attempt: Attempt) -> Value:
        """The output of the sub-execution. `StepError` if it failed, `Paused` if it waits."""


class Interpreter:
    """Walks the steps of one execution."""

    def __init__(self, session: Session, caller: Caller) -> None:
        self._session = session
        self._caller = caller

    async def steps(self, steps: Steps, frame: Frame) -> None:
        """Run steps one after another. Raises `StepFailed`, `Stopped`, `Paused`."""
        for plan in steps:
            await self._step(plan, frame)

    async def _step(self, plan: StepPlan, frame: Frame) -> None:
        session, path = self._session, frame.path(plan.step.id)
        end = session.history.ends.get(path)
        if end is not None:
            await self._recall(plan, frame, end)
            return
        started = self._started(plan, path)
        if plan.when is not None and not await self._wanted(plan, frame, path, started):
            return
        session.held.steps[path] = (plan.kind, started)
        try:
            done, attempts = await self._tries(plan, frame, path, started)
        except StepFailed as failed:
            await session.pen.send(
                self._end(plan, path, started, StepStatus.FAILED, error=failed.info, tries=failed.attempts)
            )
            await self._failed(plan, frame, path, failed)
        except Stopped:
            session.pen.note(self._end(plan, path, started, StepStatus.SUCCEEDED))
            raise
        except Paused as pause:
            raise self._paused(plan, path, started, pause) from None
        except asyncio.CancelledError:
            if not session.held.leaving():
                session.pen.note(self._end(plan, path, started, StepStatus.CANCELLED))
            raise
        else:
            frame.steps[plan.step.id] = done.output
            await self._succeed(plan, path, started, done, attempts)
        finally:
            session.held.steps.pop(path, None)

    def _started(self, plan: StepPlan, path: str) -> float:
        """What the step's expressions take for now: the same in every process that goes on with it."""
        known = self._session.history.decided.get(f"{path}#started")
        if known is not None:
            return float(Value.from_encoded(known).load())
        started = self._session.now()
        if plan.volatile:
            self._remember_start(path, started)
        return started

    def _remember_start(self, path: str, started: float) -> None:
        session = self._session
        decided = Decided(at=session.now(), path=f"{path}#started", value=Value(started).encode())
        session.history.add(decided)
        session.pen.note(decided)

    async def _wanted(self, plan: StepPlan, frame: Frame, path: str, started: float) -> bool:
        assert plan.when is not None
        try:
            if await self._session.renderer.holds(plan.when, frame, path, started):
                return True
        except StepError as error:
            failed = StepFailed(self._session.failure(error, path), attempts=1)
            await self._session.pen.send(self._end(plan, path, started, StepStatus.FAILED, error=failed.info))
            await self._failed(plan, frame, path, failed)
            return False
        self._session.pen.note(self._end(plan, path, started, StepStatus.SKIPPED, tries=0))
        return False

    async def _recall(self, plan: StepPlan, frame: Frame, end: StepEnded) -> None:
        """Take the step's end from the journal, not running it again."""
        match end.status:
            case StepStatus.SUCCEEDED if isinstance(plan, StopPlan):
                # The process died between the stop's end and the execution's: its output is evaluated again.
                await control.run_stop(self._session, plan, frame, self._attempt(plan, end.path, 1, end.started_at))
            case StepStatus.SUCCEEDED:
                output = NULL if end.output is None else await self._session.content.unpack(end.output)
                frame.steps[plan.step.id] = output
                if isinstance(plan, BranchPlan | ParallelPlan):
                    await self._recall_inside(plan, frame, end.path)
            case StepStatus.FAILED | StepStatus.CANCELLED:
                info = end.error or ErrorInfo(kind="cancelled", message="it was cancelled", step=end.path)
                await self._failed(plan, frame, end.path, StepFailed(info, attempts=end.attempts))
            case _:
                pass

    async def _recall_inside(self, plan: BranchPlan | ParallelPlan, frame: Frame, path: str) -> None:
        """Steps of branches and arms are visible outside: their ends are in the journal as well."""
        arms = [steps for _, steps in plan.arms] if isinstance(plan, BranchPlan) else list(plan.arms.values())
        names = [path] * len(arms) if isinstance(plan, BranchPlan) else [f"{path}.{name}" for name in plan.arms]
        for name, steps in zip(names, arms, strict=True):
            inner = frame.within(name)
            for step in steps:
                end = self._session.history.ends.get(inner.path(step.step.id))
                if end is not None:
                    await self._recall(step, inner, end)

    async def _tries(self, plan: StepPlan, frame: Frame, path: str, started: float) -> tuple[Done, int]:
        session, retry = self._session, plan.step.retry
        decided = session.history.decisions.get(path)
        if decided is not None:
            return Done(output=await session.content.unpack(decided), urgency=Urgency.NOW), 1
        last = session.history.tries.get(path)
        number = 1
        if last is not None:
            number = last.attempt + 1
            await self._delay(last.next_at)
        while True:
            try:
                return await self._try(plan, frame, self._attempt(plan, path, number, started)), number
            except StepError as error:
                info = error.info if isinstance(error, StepFailed) else session.failure(error, path)
                if retry is None or number >= retry.attempts or not _retried(retry, error):
                    raise StepFailed(info, attempts=number, retryable=error.retryable) from error
                next_at = session.now() + _pause_s(retry, number, error)
                again = Attempted(
                    at=session.now(),
                    path=path,
                    attempt=number,
                    error=info,
                    next_at=next_at,
                    kind=plan.kind,
                    started_at=started,
                    restart=plan.nested,
                )
                session.history.add(again)
                await session.pen.send(again)
                session.log(path, "warning", f"attempt {number} failed, trying again: {info.message}")
            await self._delay(next_at)
            number += 1

    def _attempt(self, plan: StepPlan, path: str, number: int, started: float) -> Attempt:
        timeout = None if isinstance(plan, WaitPlan) else plan.step.timeout_s
        if timeout is None and isinstance(plan, ActionPlan):
            timeout = plan.action.timeout_s
        begun = self._begun(plan, path, started)
        deadline = None if timeout is None else begun + timeout
        if self._session.info.deadline is not None:
            deadline = min(deadline, self._session.info.deadline) if deadline else self._session.info.deadline
        return Attempt(path=path, number=number, started_at=started, deadline=deadline)

    def _begun(self, plan: StepPlan, path: str, started: float) -> float:
        """When this attempt began. What has steps below it may leave the worker and come back: its time-out counts on."""
        if not plan.nested and not isinstance(plan, CallPlan):
            return self._session.now()
        last = self._session.history.tries.get(path)
        return started if last is None else max(started, last.next_at)

    async def _try(self, plan: StepPlan, frame: Frame, attempt: Attempt) -> Done:
        """One try, within its time-out. The flow's own deadline is the engine's to enforce."""
        own = attempt.deadline if attempt.deadline != self._session.info.deadline else None
        if own is None:
            return await self._run(plan, frame, attempt)
        limit = own - self._session.now()
        late = StepTimeout(f"step {plan.step.id!r} took longer than its time-out of {plan.step.timeout_s or limit:g} s")
        if limit <= 0:
            raise late
        try:
            async with asyncio.timeout(limit) as scope:
                return await self._run(plan, frame, attempt)
        except TimeoutError as error:
            if not scope.expired():
                raise StepError(str(error) or "a time-out inside the step", kind="timeout") from error
            raise late from None

    async def _run(self, plan: StepPlan, frame: Frame, attempt: Attempt) -> Done:
        session = self._session
        match plan:
            case ActionPlan():
                return await run_action(session, plan, frame, attempt)
            case CodePlan():
                return await run_code(session, plan, frame, attempt)
            case BranchPlan():
                output = await control.run_branch(session, self, plan, frame, attempt)
            case LoopPlan():
                output = await control.run_loop(session, self, plan, frame, attempt)
            case ParallelPlan():
                output = await control.run_parallel(self, plan, frame, attempt)
            case CallPlan():
                inputs = await session.renderer.render(plan.inputs, frame, attempt.path, attempt.started_at)
                return Done(output=await self._caller.call(session, plan, inputs, attempt), urgency=Urgency.NOW)
            case WaitPlan():
                output = await control.run_wait(session, plan, frame, attempt)
            case StopPlan():
                output = await control.run_stop(session, plan, frame, attempt)
            case _:
                assert_never(plan)
        return Done(output=output, urgency=Urgency.RIDES)

    async def _failed(self, plan: StepPlan, frame: Frame, path: str, failed: StepFailed) -> None:
        """What the step's author wants after a failure."""
        if plan.step.on_error == "fail":
            raise failed
        frame.steps[plan.step.id] = NULL
        if plan.handler is None:
            self._session.log(path, "warning", f"the step failed, going on: {failed.info.message}")
            return
        info = failed.info
        details = None if info.details is None else Value.from_encoded(info.details).load()
        error = error_value(info.kind, info.message, info.step, details)
        await self.steps(plan.handler, frame.within(path).naming({"error": error}))

    def _paused(self, plan: StepPlan, path: str, started: float, pause: Paused) -> Paused:
        """The pause as the steps around this one see it: what is inside a step wakes no later than its time-out."""
        session = self._session
        if plan.step.timeout_s is not None and f"{path}#started" not in session.history.decided:
            self._remember_start(path, started)
        if pause.parked is not None and pause.parked.step == path:
            session.pen.note(self._end(plan, path, started, StepStatus.PARKED, error=pause.parked))
        deadline = self._attempt(plan, path, 1, started).deadline
        if deadline is None or pause.parked is not None or not (plan.nested or isinstance(plan, CallPlan)):
            return pause
        return Paused(until=deadline if pause.until is None else min(pause.until, deadline))

    async def _delay(self, until: float) -> None:
        session = self._session
        left = until - session.now()
        if left > session.backends.settings.suspend_after.total_seconds():
            raise Paused(until=until)
        if left > 0:
            await session.backends.clock.sleep(left)

    async def _succeed(self, plan: StepPlan, path: str, started: float, done: Done, attempts: int) -> None:
        session = self._session
        small = session.content.small(done.output)
        end = self._end(plan, path, started, StepStatus.SUCCEEDED, tries=attempts, output=small)
        if small is not None:
            await session.pen.end_of_step(end, done.urgency)
            return

        async def stored() -> Event:
            return replace(end, output=await session.content.pack(done.output))

        # Storing a large output goes on while the next steps run; the row waits for it, and barriers wait for the row.
        storing = asyncio.ensure_future(stored())
        await session.pen.end_of_step(storing, done.urgency)

    def _end(
        self,
        plan: StepPlan,
        path: str,
        started: float,
        status: StepStatus,
        *,
        tries: int = 1,
        output: Encoded | None = None,
        error: ErrorInfo | None = None,
    ) -> StepEnded:
        now = self._session.now()
        self._session.history.waits.pop(path, None)
        return StepEnded(
            at=now,
            path=path,
            kind=plan.kind,
            status=status,
            started_at=started,
            duration_ms=max(0.0, now - started) * 1000,
            attempts=tries,
            output=output,
            error=error,
        )


def _retried(retry: Retry, error: StepError) -> bool:
    """Whether this error is tried again: kinds that are listed are, otherwise what says it can help."""
    if not retry.errors:
        return error.retryable
    return any(_matches(pattern, error.kind) for pattern in retry.errors)


def _matches(pattern: str, kind: str) -> bool:
    """`http_5xx` means every 5-hundred; otherwise the kind itself, with `*` for any text."""
    if pattern.endswith("xx"):
        return kind.startswith(pattern[:-2]) and kind[len(pattern) - 2 :].isdigit()
    return fnmatchcase(kind, pattern)


def _pause_s(retry: Retry, attempt: int, error: StepError) -> float:
    """Seconds until the next attempt: by the backoff, spread by jitter, and never sooner than the other side asked."""
    match retry.backoff:
        case Backoff.CONSTANT:
            delay = retry.delay_s
        case Backoff.LINEAR:
            delay = retry.delay_s * attempt
        case Backoff.EXPONENTIAL:
            delay = retry.delay_s * 2.0 ** min(attempt - 1, 62)
    delay = min(delay, retry.max_delay_s)
    delay *= 1 + retry.jitter * (2 * random.random() - 1)  # noqa: S311 - spreads load, guards nothing
    return max(delay, error.retry_after_s or 0.0)
