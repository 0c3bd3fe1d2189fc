"""The engine's face: run an execution under a lease until it ends, waits, or somebody stops it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib

from turnout.codec import encode_event
from turnout.engine.backends import Backends, Bundle
from turnout.engine.frame import Frame
from turnout.engine.history import History
from turnout.engine.interpreter import Caller, Interpreter, StepFailed
from turnout.engine.leaves import Attempt
from turnout.engine.outcome import Finished, Outcome, Paused, Stopped, Suspended
from turnout.engine.plan import CallPlan, FlowPlan, plan_flow
from turnout.engine.resources import Resources
from turnout.engine.running import Running
from turnout.engine.session import Session
from turnout.engine.tracing import trace_end
from turnout.errors import BackendError, NotFound, StepError, UserError
from turnout.interfaces.journal import Row
from turnout.model.definition import CodeStep, walk
from turnout.model.events import Accepted, Began, Ended, StepRunning, Waiting
from turnout.model.execution import ErrorInfo, ExecutionInfo, Status
from turnout.values import NULL, Value

__all__ = ["Engine"]

_SLOW_STEP_S = 1.0
_PLANS_KEPT = 256


class Engine(Caller):
    """Runs executions. One for each worker process; close it at the end."""

    def __init__(self, backends: Backends) -> None:
        self.backends = backends
        self.resources = Resources()
        self._bundles: dict[str, Bundle] = {}
        self._releasing: set[asyncio.Task[None]] = set()
        self._plans: dict[tuple[str, str], FlowPlan] = {}

    async def close(self) -> None:
        """Let go of what executions used; they have all returned."""
        await asyncio.gather(*self._releasing, return_exceptions=True)
        await self.resources.close()

    async def run(self, execution: str, *, token: int, attempt: int, worker: str, running: Running) -> Outcome:
        """Run the execution, from its beginning or from where its journal says it was.

        Returns once its end is durable (`Finished`) or it waits (`Suspended`). `Fenced` and other `BackendError`s mean
        that nothing is known to have been written since the last row; `asyncio.CancelledError` follows `running.leave`.
        """
        journal = self.backends.journal
        history = History.of(await journal.open(execution, token))
        if history.info is None:
            raise NotFound("execution", execution, hint="its journal is empty")
        if history.ended is not None and history.ended.status.final:
            return Finished(status=history.ended.status, error=history.ended.error)
        return await self._attempt(history.info, history, token=token, attempt=attempt, worker=worker, running=running)

    async def _attempt(
        self, info: ExecutionInfo, history: History, *, token: int, attempt: int, worker: str, running: Running
    ) -> Outcome:
        try:
            session = await self._session(info, history, token, worker, running)
        except UserError as error:
            return await self._refuse(history, token, worker, attempt, error)
        running.info = info
        if history.began_at is None:
            running.waited_s = max(0.0, session.now() - info.created_at)
        session.pen.note(Began(at=session.now(), worker=worker, token=token, attempt=attempt))
        if history.cancel is not None:
            running.cancel(history.cancel.reason)
        ticker = asyncio.ensure_future(self._tick(session))
        try:
            result = await self._guarded(session, running)
            # From here on nothing interrupts: an end that is being written is not changed for another.
            if isinstance(result, Finished):
                return await self._end(session, result)
            return await self._pause(session, result)
        except asyncio.CancelledError:
            if running.handed_back():
                session.leave_sandboxes()
                with contextlib.suppress(BackendError):  # what could not be written is done again
                    await session.pen.checkpoint()
            raise
        finally:
            ticker.cancel()
            await asyncio.gather(ticker, return_exceptions=True)
            await session.pen.close()
            self._release(session)

    def _release(self, session: Session) -> None:
        """End the execution's sandboxes after whoever waits for its end has been told: killing takes milliseconds."""

        async def release() -> None:
            await asyncio.sleep(0)
            await session.lanes.release()

        releasing = asyncio.ensure_future(release())
        self._releasing.add(releasing)
        releasing.add_done_callback(self._releasing.discard)

    async def _guarded(self, session: Session, running: Running) -> Finished | Paused:
        """Run the steps as a task of its own, so that cancelling it leaves this one able to write the end."""
        if running.leaving():
            raise asyncio.CancelledError
        if not running.cancelled():
            running.task = asyncio.ensure_future(self._steps(session))
            try:
                return await running.task
            except asyncio.CancelledError:
                if not running.cancelled() or running.leaving():
                    running.task.cancel()
                    raise
            finally:
                running.task = None
        reason = running.reason or "somebody asked to cancel it"
        return Finished(status=Status.CANCELLED, error=ErrorInfo(kind="cancelled", message=reason))

    async def _steps(self, session: Session) -> Finished | Paused:
        left = self._left(session)
        if left == 0:
            return Finished(status=Status.FAILED, error=_late(session))
        try:
            async with asyncio.timeout(left) as limit:
                output = await self._walk(session)
        except StepFailed as failed:
            return Finished(status=Status.FAILED, error=failed.info)
        except StepError as error:
            return Finished(status=Status.FAILED, error=session.failure(error, ""))
        except Paused as pause:
            return pause
        except TimeoutError:
            if not limit.expired():
                raise
            return Finished(status=Status.FAILED, error=_late(session))
        return Finished(status=Status.SUCCEEDED, output=output)

    async def _walk(self, session: Session) -> Value:
        """The flow's output."""
        try:
            await self._all_steps(session, await session.frame())
        except Stopped as stopped:
            return stopped.output
        return NULL

    async def _all_steps(self, session: Session, frame: Frame) -> None:
        """One after another; where no code follows, others may have the sandboxes that serve them too."""
        plan, interpreter = session.plan, Interpreter(session, self)
        await interpreter.steps(plan.steps[: plan.codeless], frame)
        if plan.codeless < len(plan.steps) and session.lanes.returns:
            self._release(session)
        await interpreter.steps(plan.steps[plan.codeless :], frame)

    def _left(self, session: Session) -> float | None:
        deadline = session.info.deadline
        return None if deadline is None else max(0.0, deadline - session.now())

    async def _pause(self, session: Session, pause: Paused) -> Outcome:
        if pause.parked is not None:
            return await self._end(session, Finished(status=Status.PARKED, error=pause.parked))
        until, deadline = pause.until, session.info.deadline
        if deadline is not None:
            until = deadline if until is None else min(until, deadline)
        session.leave_sandboxes()
        await session.pen.barrier(Waiting(at=session.now(), path="", until=until))
        return Suspended(until=until)

    async def _end(self, session: Session, end: Finished) -> Finished:
        packed = None if end.output is None else await session.content.pack(end.output)
        if end.status.final:
            await self._end_children(session)
            session.end_waits()
        session.leave_sandboxes()
        await session.pen.barrier(Ended(at=session.now(), status=end.status, output=packed, error=end.error))
        return end

    async def _refuse(self, history: History, token: int, worker: str, attempt: int, error: UserError) -> Finished:
        """End an execution that cannot even begin: its bundle, settings or a plugin it needs is gone."""
        info = history.info
        assert info is not None
        now = self.backends.clock.now()
        reason = ErrorInfo(kind="settings", message=str(error))
        began = Began(at=now, worker=worker, token=token, attempt=attempt)
        ended = Ended(at=now, status=Status.FAILED, error=reason)
        rows = [Row(*encode_event(event)) for event in (began, ended)]
        await self.backends.journal.append(info.id, token, rows)
        await self.backends.journal.barrier(info.id, token)
        for event in (began, ended):
            self.backends.observe(info.id, event)
        trace_end(self.backends.tracing, history, ended)
        return Finished(status=Status.FAILED, error=reason)

    async def _session(
        self, info: ExecutionInfo, history: History, token: int, worker: str, running: Running
    ) -> Session:
        bundle = await self._bundle(info.bundle)
        return Session(
            self.backends,
            self.resources,
            info=info,
            history=history,
            plan=self.plan(bundle, info.flow),
            bundle=bundle,
            settings=await self.backends.instances.settings(info.tenant, info.settings),
            token=token,
            worker=worker,
            held=running,
        )

    async def _bundle(self, hash: str) -> Bundle:
        """Bundles never change: each is read once."""
        known = self._bundles.get(hash)
        if known is None:
            if len(self._bundles) >= _PLANS_KEPT:
                self._bundles.pop(next(iter(self._bundles)))
            known = self._bundles[hash] = await self.backends.bundles.load(hash)
        return known

    def plan(self, bundle: Bundle, flow: str) -> FlowPlan:
        """The flow ready to run. `NotFound`, `SettingsError` as `plan_flow`."""
        known = self._plans.get((bundle.hash, flow))
        if known is not None:
            return known
        integration = bundle.integration
        if flow not in integration.flows:
            raise NotFound("flow", flow, hint=f"integration {integration.name!r} has {', '.join(integration.flows)}")
        definition = integration.flows[flow]
        modules = {
            step.id: bundle.module_of(flow, step) for step in walk(definition.steps) if isinstance(step, CodeStep)
        }
        if len(self._plans) >= _PLANS_KEPT:
            self._plans.pop(next(iter(self._plans)))
        plan = self._plans[bundle.hash, flow] = plan_flow(integration, definition, self.backends.connectors, modules)
        return plan

    async def call(self, session: Session, plan: CallPlan, inputs: Value, attempt: Attempt) -> Value:
        """Run another flow as a sub-execution, in this process and under this lease, with a journal of its own."""
        path = attempt.path
        child = _child_id(session, attempt)
        body = await session.content.pack(Value({"body": inputs}))
        flow = session.bundle.integration.flows[plan.step.flow]
        now = session.now()
        span = session.trace.call_context(path, attempt.number)
        deadlines = [limit for limit in (session.info.deadline, flow.timeout_s and now + flow.timeout_s) if limit]
        info = ExecutionInfo(
            id=child,
            tenant=session.info.tenant,
            instance=session.info.instance,
            integration=session.info.integration,
            version=session.info.version,
            bundle=session.info.bundle,
            flow=plan.step.flow,
            settings=session.info.settings,
            trigger=body,
            created_at=now,
            deadline=min(deadlines, default=None),
            parent=session.info.id,
            parent_path=path,
            traceparent="" if span is None else span.traceparent,
            tracestate="" if span is None else span.state,
        )
        # What a sub-execution is told must not change afterwards, as with any effect.
        await session.pen.barrier()
        accepted = Accepted(at=now, info=info)
        if await self.backends.journal.begin(child, [Row(*encode_event(accepted))]):
            self.backends.observe(child, accepted)
        return await self._called(session, child, plan, Running(session.held, scope=f"{session.scope}\0{path}"))

    async def _called(self, session: Session, child: str, plan: CallPlan, running: Running) -> Value:
        try:
            outcome = await self.run(child, token=session.token, attempt=1, worker=session.worker, running=running)
        except asyncio.CancelledError:
            if session.held.leaving():
                raise
            # The parent was cancelled or ran out of time: the sub-execution gets its end as well.
            await self._cancel_child(child, session)
            raise
        match outcome:
            case Suspended():
                session.held.paused.add(child)
                raise Paused(until=outcome.until)
            case Finished(status=Status.PARKED):
                session.held.paused.add(child)
                raise Paused(parked=outcome.error)
            case Finished(status=Status.SUCCEEDED):
                return await self._child_output(session, child) if outcome.output is None else outcome.output
            case Finished():
                error = outcome.error or ErrorInfo(kind="failed", message="it failed")
                raise StepError(
                    f"flow {plan.step.flow!r} (execution {child}) {outcome.status}: {error.message}",
                    kind=error.kind,
                    stack=error.stack,
                )

    async def _end_children(self, session: Session) -> None:
        """Sub-executions that wait, or that an earlier process left, end with their parent: nobody goes on with them."""
        below = f"{session.info.id}-"
        left = {id for id in session.held.paused if id.startswith(below)}
        if left or (session.history.attempts and session.plan.calls):
            left |= {id for id in await self.backends.journal.unfinished() if id.startswith(below)}
        for child in sorted(left):
            await self._cancel_child(child, session)

    async def _cancel_child(self, child: str, session: Session) -> None:
        """End a sub-execution that has not ended yet."""
        history = History.of(await self.backends.journal.open(child, session.token))
        if history.info is None or (history.ended is not None and history.ended.status.final):
            return
        error = ErrorInfo(kind="cancelled", message="its parent was stopped")
        ended = Ended(at=session.now(), status=Status.CANCELLED, error=error)
        await self.backends.journal.append(child, session.token, [Row(*encode_event(ended))])
        await self.backends.journal.barrier(child, session.token)
        self.backends.observe(child, ended)
        session.trace.called(history.info)
        trace_end(self.backends.tracing, history, ended, self.plan(session.bundle, history.info.flow))

    async def _child_output(self, session: Session, child: str) -> Value:
        """The output of a sub-execution that ended in an earlier process."""
        ended = History.of(await self.backends.journal.rows(child)).ended
        if ended is None or ended.output is None:
            return NULL
        return await session.content.unpack(ended.output)

    async def _tick(self, session: Session) -> None:
        """Make what is noted durable and visible now and then, and say which steps take long."""
        told: set[str] = set()
        every = self.backends.settings.report_every.total_seconds()
        try:
            while True:
                await asyncio.sleep(every)
                now = session.now()
                for path, (kind, started) in session.held.steps.items():
                    if now - started >= _SLOW_STEP_S and path not in told:
                        told.add(path)
                        session.pen.note(StepRunning(at=now, path=path, kind=kind, started_at=started))
                if not session.pen.idle and not session.held.leaving():
                    await session.pen.barrier()
        except BackendError:
            # The step that writes next meets the same error, and it knows what to do about it.
            return


def _late(session: Session) -> ErrorInfo:
    flow = session.plan.flow
    limit = "that of its caller" if flow.timeout_s is None else f"{flow.timeout_s:g} s"
    return ErrorInfo(kind="timeout", message=f"flow {flow.name!r} took longer than its time-out of {limit}")


def _child_id(session: Session, attempt: Attempt) -> str:
    """The same after a crash; another one for another attempt, and when a person let the step begin again."""
    if attempt.number == 1 and attempt.path in session.history.children:
        return session.history.children[attempt.path]
    what = f"{attempt.path}\0{attempt.number}\0{session.history.restarts(attempt.path)}"
    return f"{session.info.id}-{hashlib.sha256(what.encode()).hexdigest()[:10]}"
