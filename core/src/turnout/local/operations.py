"""What people do with executions: cancel, resume, replay, decide."""

from __future__ import annotations

from dataclasses import replace

from turnout.codec import encode_event
from turnout.engine.content import Content
from turnout.engine.history import History, is_below
from turnout.engine.tracing import trace_end
from turnout.errors import NotFound, UserError
from turnout.interfaces.journal import Row
from turnout.local.stores import Stores
from turnout.model.definition import Flow, walk
from turnout.model.events import CancelRequested, Ended, Event, Resumed, StepEnded, StepRunning
from turnout.model.execution import ErrorInfo, ExecutionInfo, ExecutionRecord, Status, StepRecord, StepStatus, parent_id
from turnout.model.trace import execution_context
from turnout.services.ids import new_execution_id
from turnout.services.metadata import Metadata
from turnout.services.roots import below, root_of
from turnout.services.runner import Runner
from turnout.services.submission import Instance, Submission, message_of
from turnout.values import Value

__all__ = ["Operations"]

_KEPT = (StepStatus.SUCCEEDED, StepStatus.SKIPPED)


class Operations:
    """Works on stores alone, so that it serves the command line, the API, and a process that runs nothing itself."""

    def __init__(self, stores: Stores, submission: Submission, metadata: Metadata, runner: Runner) -> None:
        self._stores = stores
        self._submission = submission
        self._metadata = metadata
        self._runner = runner

    async def cancel(self, id: str, reason: str = "") -> bool:
        """Stop an execution, wherever it is; its sub-executions with it. False if it has ended already.

        A sub-execution cannot be cancelled alone: its root is.
        """
        stores = self._stores
        record = await self._record(id)
        if record.status.final:
            return False
        root, _ = await root_of(stores.journal, id)
        event = CancelRequested(at=stores.clock.now(), reason=reason or "somebody asked to cancel it")
        await self._signal(root, event)
        # The queue is asked as well as the worker here: the execution may be leaving it to wait at this very moment.
        self._runner.cancel(root, event.reason)
        if not await stores.queue.cancel(root) and (await self._record(root)).status is Status.PARKED:
            await self._end_parked(root, event)
        return True

    async def _end_parked(self, root: str, cancel: CancelRequested) -> None:
        """Parked executions are in no queue: their end is written here, that of their sub-executions before it."""
        called = [found.info.id for found in await below(self._stores.records, root) if not found.status.final]
        for id in (*called, root):
            error = ErrorInfo(kind="cancelled", message=cancel.reason)
            ended = Ended(at=cancel.at, status=Status.CANCELLED, error=error)
            history = History.of(await self._stores.journal.rows(id))
            await self._signal(id, ended)
            trace_end(self._submission.backends.tracing, history, ended)

    async def resume(self, id: str, *, repeat: bool = False, output: Value | None = None) -> str:
        """Let a failed, cancelled or parked execution go on from where it stopped; the id of the root that is queued.

        A failed one begins again with the step that failed. A parked one needs a decision about the effect that nobody
        knows of: `repeat` runs it again, `output` takes it to have happened with that output. `UserError` says so, and
        what else stands in the way.
        """
        record = await self._record(id)
        match record.status:
            case Status.PARKED:
                return await self._decide(record, repeat=repeat, output=output)
            case Status.FAILED | Status.CANCELLED:
                if record.info.parent:
                    raise UserError(f"execution {id} is a sub-execution: resume {record.info.parent}, which called it")
                return await self._reopen(record)
            case _:
                raise UserError(f"execution {id} is {record.status.value}: there is nothing to resume")

    async def replay(
        self, id: str, *, step: str = "", instance: Instance | None = None, trigger: Value | None = None
    ) -> str:
        """A new execution with the recorded input, or another `trigger`; the id.

        With `step` the recorded outputs of all steps before it are taken over, and it begins there. With `instance` it
        runs that version and those settings. `NotFound` if there is no such step; `Overloaded`, and nothing is written,
        if the customer has as many executions waiting as it may.
        """
        record = await self._record(id)
        info = await self._info_for_replay(record, instance, trigger)
        flow = await self._flow(info)
        events: tuple[Event, ...] = ()
        if step:
            before = _before(flow, step)
            now = info.created_at
            again = _unsettled(record, flow)
            events = tuple(
                _ended(kept, now) for kept in record.steps if _first(kept.path) in before and kept.path not in again
            )
        await self._submission.again(info, flow.limits, events)
        return info.id

    async def _info_for_replay(
        self, record: ExecutionRecord, instance: Instance | None, trigger: Value | None
    ) -> ExecutionInfo:
        now = self._stores.clock.now()
        info = replace(
            record.info,
            id=new_execution_id(now),
            created_at=now,
            replay_of=record.info.id,
            parent="",
            parent_path="",
            traceparent="",
            tracestate="",
            replayed_span=execution_context(record.info).traceparent,
        )
        if instance is not None:
            info = replace(
                info, bundle=instance.bundle, settings=instance.settings, version=instance.integration.version
            )
        if trigger is not None:
            info = replace(info, trigger=await Content(self._stores.payloads, info.tenant).pack(trigger))
        return self._submission.renewed(info, (await self._flow(info)).timeout_s)

    async def _flow(self, info: ExecutionInfo) -> Flow:
        flows = (await self._stores.bundles.load(info.bundle)).integration.flows
        if info.flow not in flows:
            raise NotFound("flow", info.flow, hint=f"that version has {', '.join(flows)}")
        return flows[info.flow]

    async def _reopen(self, record: ExecutionRecord) -> str:
        """Put a final execution back into its journal, or make that again of its record where it was forgotten."""
        known = History.of(await self._stores.journal.rows(record.info.id))
        if known.info is not None and known.ended is None:
            raise UserError(f"execution {record.info.id} goes on already: somebody else has resumed it")
        await self._stores.queue.drop(record.info.id)
        await self._put_back(record, None)
        await self._stores.queue.put(message_of(record.info))
        return record.info.id

    async def _put_back(self, record: ExecutionRecord, latest: float | None) -> None:
        """Let it go on from the ends that are kept; first the sub-executions that did not succeed."""
        stores = self._stores
        info = self._submission.renewed(record.info, (await self._flow(record.info)).timeout_s)
        info = replace(info, deadline=_earlier(info.deadline, latest))
        broken = {found.info.parent_path: found.info.id for found in await self._broken_calls(info.id)}
        again = _unsettled(record, await self._flow(record.info))
        children = tuple((path, broken[path]) for path in again if path in broken)
        for _, child in children:
            await self._put_back(await self._record(child), info.deadline)
        kept = [step for step in record.steps if step.path not in again]
        now = stores.clock.now()
        # What holds steps that are kept goes on with the next of them, and does not begin anew.
        inside = {path for path in again if any(is_below(step.path, path) for step in kept)}
        resumed = Resumed(
            at=now,
            drop=tuple(path for path in again if path not in inside),
            inside=tuple(
                StepRunning(at=now, path=step.path, kind=step.kind, started_at=step.started_at)
                for step in record.steps
                if step.path in inside
            ),
            deadline=info.deadline,
            children=children,
        )
        if await self._go_on(info.id, resumed):
            return
        await stores.journal.forget([info.id])  # what is left of its fences
        ends = (replace(_ended(step, step.started_at), again=True) for step in kept)
        await self._submission.write(info, (*ends, resumed), again=True)

    async def _go_on(self, id: str, resumed: Resumed) -> bool:
        """Let it go on behind the rows that it has: who has yet to read them must not miss them. False if they were forgotten."""
        journal = self._stores.journal
        history = History.of(await journal.rows(id))
        if history.info is None:
            return False
        if history.ended is None:
            return True  # a sub-execution that its root's end did not reach goes on as it is
        if not await journal.signal(id, Row(*encode_event(resumed))):
            return False
        self._submission.backends.observe(id, resumed)
        return True

    async def _broken_calls(self, id: str) -> list[ExecutionRecord]:
        """The sub-executions of an execution itself that have not succeeded, the oldest first."""
        called = await below(self._stores.records, id)
        mine = [found for found in called if found.info.parent == id and found.status is not Status.SUCCEEDED]
        return sorted(mine, key=lambda found: found.info.created_at)

    async def _decide(self, record: ExecutionRecord, *, repeat: bool, output: Value | None) -> str:
        parked = next((step for step in record.steps if step.status is StepStatus.PARKED), None)
        path = parked.path if parked is not None else ""
        if not repeat and output is None:
            raise UserError(
                f"execution {record.info.id} is parked: whether step {path!r} took effect is not known. Look on the "
                f"other side, then resume it with --repeat (run the step again) or --output JSON (it happened)"
            )
        called = [found for found in await below(self._stores.records, record.info.id) if found.status is Status.PARKED]
        if called and (parked is None or parked.kind == "call"):
            raise UserError(
                f"what is parked is a flow that it called: resume {called[-1].info.id}, which names the effect"
            )
        packed = None if output is None else await Content(self._stores.payloads, record.info.tenant).pack(output)
        now, latest = self._stores.clock.now(), None
        callers = await self._callers(record.info.id)
        for info in (*callers, record.info):
            timeout_s = (await self._flow(info)).timeout_s
            latest = _earlier(latest, None if timeout_s is None else now + timeout_s)
            resumed = Resumed(at=now, deadline=latest)
            if info.id == record.info.id:
                resumed = replace(resumed, decide=path, output=packed)
            await self._signal(info.id, resumed)
        root = (*callers, record.info)[0]
        await self._stores.queue.put(message_of(root))
        return root.id

    async def _callers(self, id: str) -> list[ExecutionInfo]:
        """What called an execution, the root first."""
        callers: list[ExecutionInfo] = []
        while id := parent_id(id):
            callers.insert(0, (await self._record(id)).info)
        return callers

    async def _signal(self, id: str, event: Event) -> None:
        await self._stores.journal.signal(id, Row(*encode_event(event)))
        self._metadata.nudge()

    async def _record(self, id: str) -> ExecutionRecord:
        await self._metadata.catch_up()
        record = await self._stores.records.get(id)
        if record is None:
            raise NotFound("execution", id, hint="`turnout executions list` shows those that are kept")
        return record


def _earlier(one: float | None, other: float | None) -> float | None:
    return min((at for at in (one, other) if at is not None), default=None)


def _ended(step: StepRecord, at: float) -> StepEnded:
    return StepEnded(
        at=at,
        path=step.path,
        kind=step.kind,
        status=step.status,
        started_at=step.started_at,
        duration_ms=step.duration_ms,
        attempts=step.attempts,
        output=step.output,
        error=step.error,
    )


def _unsettled(record: ExecutionRecord, flow: Flow) -> dict[str, None]:
    """The paths of the steps that have to run again, in their order: all that did not succeed, but for failures that the
    flow dealt with (`on_error`) and went on from."""
    dealing = {step.id for step in walk(flow.steps) if step.on_error != "fail"}
    failed = [step for step in record.steps if step.status is StepStatus.FAILED]
    failing = "" if record.error is None else record.error.step

    def settled(step: StepRecord) -> bool:
        if step.status is not StepStatus.FAILED:
            return step.status in _KEPT
        if step.error is not None and step.error.step == failing:
            return False
        return any(is_below(step.path, other.path) and _id(other.path) in dealing for other in failed)

    return {step.path: None for step in record.steps if not settled(step)}


def _id(path: str) -> str:
    """The id of the step that a path leads to."""
    return path.rpartition(".")[2].partition("[")[0]


def _first(path: str) -> str:
    """The top-level step that a path is in."""
    return path.partition(".")[0].partition("[")[0]


def _before(flow: Flow, step: str) -> frozenset[str]:
    """The top-level steps before the one that is, or holds, `step`."""
    before: list[str] = []
    for top in flow.steps:
        if any(inner.id == step for inner in walk((top,))):
            return frozenset(before)
        before.append(top.id)
    raise NotFound("step", step, hint=f"flow {flow.name!r} has {', '.join(one.id for one in walk(flow.steps))}")
