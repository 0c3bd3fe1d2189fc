"""What people do with executions: cancel, resume, replay, decide."""

from __future__ import annotations

from dataclasses import replace

from turnout.codec import encode_event
from turnout.engine.content import Content
from turnout.engine.history import History
from turnout.errors import NotFound, UserError
from turnout.interfaces.journal import Row
from turnout.interfaces.queue import Message
from turnout.local.stores import Stores
from turnout.model.definition import Flow, walk
from turnout.model.events import CancelRequested, Ended, Event, Resumed, StepEnded
from turnout.model.execution import ErrorInfo, ExecutionInfo, ExecutionRecord, Status, StepRecord, StepStatus
from turnout.services.metadata import Metadata
from turnout.services.roots import root_of
from turnout.services.runner import Runner
from turnout.services.submission import Instance, Submission, new_execution_id
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
        if self._runner.cancel(root, event.reason):
            return True
        if not await stores.queue.cancel(root) and record.status is Status.PARKED:
            # Parked executions are in no queue: their end is written here.
            error = ErrorInfo(kind="cancelled", message=event.reason)
            await self._signal(root, Ended(at=event.at, status=Status.CANCELLED, error=error))
        return True

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
        runs that version and those settings. `NotFound` if there is no such step.
        """
        record = await self._record(id)
        info = await self._info_for_replay(record, instance, trigger)
        events: tuple[Event, ...] = ()
        if step:
            flow = await self._flow(info)
            before = _before(flow, step)
            now = info.created_at
            events = tuple(
                _ended(kept, now) for kept in record.steps if _first(kept.path) in before and kept.status in _KEPT
            )
        await self._submission.write(info, events)
        await self._stores.queue.put(Message(id=info.id, tenant=info.tenant))
        return info.id

    async def _info_for_replay(
        self, record: ExecutionRecord, instance: Instance | None, trigger: Value | None
    ) -> ExecutionInfo:
        now = self._stores.clock.now()
        info = replace(
            record.info, id=new_execution_id(now), created_at=now, replay_of=record.info.id, parent="", parent_path=""
        )
        if instance is not None:
            info = replace(
                info, bundle=instance.bundle, settings=instance.settings, version=instance.integration.version
            )
        if trigger is not None:
            info = replace(info, trigger=await Content(self._stores.payloads, info.tenant).pack(trigger))
        return self._submission.renewed(info, (await self._flow(info)).timeout_s)

    async def _flow(self, info: ExecutionInfo) -> Flow:
        flows = self._stores.bundles.load(info.bundle).integration.flows
        if info.flow not in flows:
            raise NotFound("flow", info.flow, hint=f"that version has {', '.join(flows)}")
        return flows[info.flow]

    async def _reopen(self, record: ExecutionRecord) -> str:
        """Put a final execution back: its journal was forgotten, so it is made again of its record."""
        info = self._submission.renewed(record.info, (await self._flow(record.info)).timeout_s)
        drop = tuple(step.path for step in record.steps if step.status not in _KEPT)
        kept = tuple(_ended(step, step.started_at) for step in record.steps if step.status in _KEPT)
        resumed = Resumed(at=self._stores.clock.now(), drop=drop)
        await self._stores.queue.drop(info.id)
        await self._stores.journal.forget([info.id])
        await self._submission.write(info, (*kept, resumed))
        await self._stores.queue.put(Message(id=info.id, tenant=info.tenant))
        return info.id

    async def _decide(self, record: ExecutionRecord, *, repeat: bool, output: Value | None) -> str:
        parked = next((step for step in record.steps if step.status is StepStatus.PARKED), None)
        path = parked.path if parked is not None else ""
        if not repeat and output is None:
            raise UserError(
                f"execution {record.info.id} is parked: whether step {path!r} took effect is not known. Look on the "
                f"other side, then resume it with --repeat (run the step again) or --output JSON (it happened)"
            )
        if parked is not None and parked.kind == "call":
            raise UserError(
                f"step {path!r} calls a flow that is parked: resume that sub-execution, it names the effect"
            )
        packed = None if output is None else await Content(self._stores.payloads, record.info.tenant).pack(output)
        now = self._stores.clock.now()
        root, tenant = await root_of(self._stores.journal, record.info.id)
        await self._signal(record.info.id, Resumed(at=now, decide=path, output=packed))
        if root != record.info.id:
            await self._wake_parents(record.info.id, root, now)
        await self._stores.queue.put(Message(id=root, tenant=tenant))
        return root

    async def _wake_parents(self, id: str, root: str, now: float) -> None:
        current = id
        while current != root:
            info = History.of((await self._stores.journal.rows(current))[:1]).info
            assert info is not None
            current = info.parent
            await self._signal(current, Resumed(at=now))

    async def _signal(self, id: str, event: Event) -> None:
        await self._stores.journal.signal(id, Row(*encode_event(event)))
        self._metadata.nudge()

    async def _record(self, id: str) -> ExecutionRecord:
        await self._metadata.catch_up()
        record = await self._stores.records.get(id)
        if record is None:
            raise NotFound("execution", id, hint="`turnout executions list` shows those that are kept")
        return record


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
