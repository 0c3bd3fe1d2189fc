"""Control steps: branch, loop, parallel, call, wait, stop. They decide what runs; they do no work of their own."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine, Iterator
from datetime import UTC, datetime
from typing import Any, Protocol

from turnout.engine.frame import Frame
from turnout.engine.leaves import Attempt
from turnout.engine.outcome import Paused, Stopped
from turnout.engine.plan import BranchPlan, LoopPlan, ParallelPlan, Steps, StopPlan, WaitPlan
from turnout.engine.session import Session
from turnout.errors import StepError, StepTimeout
from turnout.model.duration import parse_duration
from turnout.model.events import StepEnded, Waiting
from turnout.model.execution import StepStatus
from turnout.values import NULL, Value

__all__ = ["Walker", "run_branch", "run_loop", "run_parallel", "run_stop", "run_wait"]


class Walker(Protocol):
    """Runs steps one after another; what control steps need of the interpreter."""

    async def steps(self, steps: Steps, frame: Frame) -> None: ...


async def run_branch(session: Session, walker: Walker, plan: BranchPlan, frame: Frame, attempt: Attempt) -> Value:
    """The first arm whose condition holds. The output is its number, or null."""
    for number, (condition, steps) in enumerate(plan.arms):
        if condition is None or await session.renderer.holds(condition, frame, attempt.path, attempt.started_at):
            await walker.steps(steps, frame.within(attempt.path))
            return Value(number)
    return NULL


async def run_parallel(walker: Walker, plan: ParallelPlan, frame: Frame, attempt: Attempt) -> Value:
    """All arms at once. One that fails cancels the others; one that waits lets the others go on first."""
    arms = [walker.steps(steps, frame.within(f"{attempt.path}.{name}")) for name, steps in plan.arms.items()]
    await _together(arms)
    return NULL


async def _together(work: list[Coroutine[Any, Any, None]]) -> None:
    """Run all to their end. The first failure (or stop) cancels the rest and is raised; pauses are raised, joined into
    one, only when nothing else can go on."""
    tasks = [asyncio.ensure_future(one) for one in work]
    paused: Paused | None = None
    waiting = set(tasks)
    try:
        while waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in sorted(done, key=tasks.index):
                try:
                    task.result()
                except Paused as pause:
                    paused = pause if paused is None else paused.joined(pause)
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if paused is not None:
        raise paused


async def run_loop(session: Session, walker: Walker, plan: LoopPlan, frame: Frame, attempt: Attempt) -> Value:
    """Each item in turn, or several at once. What an item costs does not depend on how many went before it."""
    loop = _Loop(session, walker, plan, frame, attempt)
    if plan.condition is not None:
        await loop.run_while()
    else:
        assert plan.over is not None
        over = await session.renderer.render(plan.over, frame, attempt.path, attempt.started_at)
        if over.json == b"null":
            raise StepError(
                f"`over` of loop {plan.step.id!r} is null, not a list; use default(…, `[]`) where it may be missing",
                kind="type",
                retryable=False,
            )
        await loop.run_over(over.items())
    return Value(loop.collected()) if plan.collect is not None else NULL


class _Loop:
    def __init__(self, session: Session, walker: Walker, plan: LoopPlan, frame: Frame, attempt: Attempt) -> None:
        self.session = session
        self.walker = walker
        self.plan = plan
        self.frame = frame
        self.attempt = attempt
        self._collected: dict[int, Value] = {}

    def collected(self) -> list[Value]:
        return [self._collected[index] for index in sorted(self._collected)]

    async def run_over(self, items: Iterator[Value]) -> None:
        numbered = enumerate(items)
        if self.plan.step.concurrency <= 1:
            for index, item in numbered:
                await self._item(index, item)
            return
        failed = False

        async def lane() -> None:
            nonlocal failed
            # Lanes share one iterator: each takes the next item when it is free. A lane that pauses takes no more.
            for index, item in numbered:
                if failed:
                    return
                try:
                    await self._item(index, item)
                except Paused:
                    raise
                except BaseException:
                    failed = True
                    raise

        await _together([lane() for _ in range(self.plan.step.concurrency)])

    async def run_while(self) -> None:
        """Rounds build on each other: the condition and the next round see what the round before gave."""
        condition, limit = self.plan.condition, self.plan.step.limit
        assert condition is not None
        rounds = self.frame.item(self.attempt.path, self.plan.inner_ids, {})
        for index in range(limit + 1):
            frame = rounds.naming({self.plan.step.item_name: NULL, "index": Value(index)})
            frame.prefix = f"{self.attempt.path}[{index}]"
            if not await self.session.renderer.holds(condition, frame, frame.prefix, self.attempt.started_at):
                return
            if index < limit:
                await self._body(index, frame)
        raise StepError(
            f"loop {self.plan.step.id!r} reached its limit of {limit} rounds and its condition still holds; raise "
            f"`limit` or correct `while`",
            kind="limit",
            retryable=False,
        )

    async def _item(self, index: int, item: Value) -> None:
        path = f"{self.attempt.path}[{index}]"
        end = self.session.history.ends.get(path)
        if end is None:
            names = {self.plan.step.item_name: item, "index": Value(index)}
            await self._body(index, self.frame.item(path, self.plan.inner_ids, names))
        elif self.plan.collect is not None and end.output is not None:
            self._collected[index] = await self.session.content.unpack(end.output)

    async def _body(self, index: int, frame: Frame) -> None:
        session, plan, path = self.session, self.plan, frame.prefix
        started = session.now()
        await self.walker.steps(plan.body, frame)
        output = None
        if plan.collect is not None:
            collected = await session.renderer.render(plan.collect, frame, path, started)
            self._collected[index] = collected
            output = await session.content.pack(collected)
        if path not in session.history.ends:
            ended = session.now()
            session.pen.note(
                StepEnded(
                    at=ended,
                    path=path,
                    kind="item",
                    status=StepStatus.SUCCEEDED,
                    started_at=started,
                    duration_ms=(ended - started) * 1000,
                    output=output,
                )
            )


async def run_wait(session: Session, plan: WaitPlan, frame: Frame, attempt: Attempt) -> Value:
    """Until a time, or a callback. A short time is waited here; otherwise the execution leaves the worker."""
    path, step = attempt.path, plan.step
    begun = session.history.waits.get(path)
    if begun is None:
        until = await _until(session, plan, frame, attempt)
        begun = Waiting(at=session.now(), path=path, until=until, callback=step.callback, started_at=attempt.started_at)
        session.history.add(begun)
        await session.pen.barrier(begun)
    if step.callback:
        # Only a reload sees a callback that arrives from outside; whoever writes it wakes the execution.
        signal = session.history.signals.get(path)
        if signal is not None:
            return await session.content.unpack(signal.value)
        if begun.until is not None and session.now() >= begun.until:
            raise StepTimeout(f"no callback came for step {step.id!r} within {step.timeout_s:g} s")
        raise Paused(until=begun.until)
    assert begun.until is not None
    left = begun.until - session.now()
    if left > session.backends.settings.suspend_after.total_seconds():
        raise Paused(until=begun.until)
    if left > 0:
        await session.backends.clock.sleep(left)
    return NULL


async def _until(session: Session, plan: WaitPlan, frame: Frame, attempt: Attempt) -> float | None:
    """The absolute time to wait for; None for a callback without a time-out."""
    if plan.step.callback:
        return None if plan.step.timeout_s is None else attempt.started_at + plan.step.timeout_s
    template = plan.duration if plan.duration is not None else plan.until
    assert template is not None
    data = (await session.renderer.render(template, frame, attempt.path, attempt.started_at)).load()
    if plan.duration is not None:
        return attempt.started_at + _duration(plan, data)
    return _time(plan, data)


def _duration(plan: WaitPlan, data: Any) -> float:
    try:
        return parse_duration(data)
    except ValueError as error:
        raise StepError(f"`for` of step {plan.step.id!r}: {error}", kind="input", retryable=False) from error


def _time(plan: WaitPlan, data: Any) -> float:
    if isinstance(data, int | float) and not isinstance(data, bool) and math.isfinite(data):
        return float(data)
    if isinstance(data, str):
        try:
            time = datetime.fromisoformat(data)
        except ValueError:
            pass
        else:
            return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    raise StepError(
        f"`until` of step {plan.step.id!r} is {data!r}: a time as ISO 8601 (2026-01-31T09:00:00Z) is needed",
        kind="input",
        retryable=False,
    )


async def run_stop(session: Session, plan: StopPlan, frame: Frame, attempt: Attempt) -> Value:
    """Ends the flow with an output (raises `Stopped`), or with an error."""
    if plan.error is not None:
        message = await session.renderer.render(plan.error, frame, attempt.path, attempt.started_at)
        text = message.load()
        raise StepError(text if isinstance(text, str) else message.json.decode(), kind="stopped", retryable=False)
    raise Stopped(await session.renderer.render(plan.output, frame, attempt.path, attempt.started_at))
