"""Steps that do the work: actions of connectors, and customers' code."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from turnout.engine.context import StepContext
from turnout.engine.egress import exchange_line
from turnout.engine.frame import Frame
from turnout.engine.outcome import Paused
from turnout.engine.pen import Urgency
from turnout.engine.plan import ActionPlan, CodePlan
from turnout.engine.session import Session
from turnout.errors import BackendError, StepError, StepTimeout
from turnout.interfaces.connector import AfterCrash, Effect, Effects
from turnout.interfaces.sandbox import Egress, Exchange, Failure, FileAccess, Job, Success
from turnout.model.definition import OnCrash
from turnout.model.events import Intended
from turnout.model.execution import ErrorInfo, LogLine
from turnout.values import Value

__all__ = ["Attempt", "Done", "run_action", "run_code", "validated"]


_URGENCIES: Final = {Effect.PURE: Urgency.RIDES, Effect.READ: Urgency.SOON, Effect.EFFECT: Urgency.NOW}


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try of one step. `started_at` is what its expressions take for now; `deadline` is absolute."""

    path: str
    number: int
    started_at: float
    deadline: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A step's output, and when its row is to be written."""

    output: Value
    urgency: Urgency


async def run_action(session: Session, plan: ActionPlan, frame: Frame, attempt: Attempt) -> Done:
    """Call an action. An effect is announced durably before; whether it may be repeated after a crash is decided here."""
    rendered = await session.renderer.render(plan.inputs, frame, attempt.path, attempt.started_at)
    inputs = validated(plan.action.inputs, rendered)
    effects = plan.action.effects(inputs)
    connection = await session.connection(plan.step.connection) if plan.step.connection else None
    repeated = False
    if effects.effect is Effect.EFFECT:
        repeated = await _announce(session, attempt, may_repeat=_may_repeat(plan, effects), what=plan.step.action)
    context = StepContext(
        session,
        path=attempt.path,
        attempt=attempt.number,
        repeated=repeated,
        connection=connection,
        deadline=attempt.deadline,
    )
    output = await _called(session, plan, context, inputs)
    return Done(output=_masked(session, plan, output), urgency=_URGENCIES[effects.effect])


def _may_repeat(plan: ActionPlan, effects: Effects) -> bool:
    """Whether an effect of which nobody knows may happen again: because the other side takes care, or because the
    step's author said so."""
    match plan.step.on_crash:
        case OnCrash.RETRY:
            return True
        case OnCrash.PARK:
            return False
        case OnCrash.DEFAULT:
            return effects.after_crash is not AfterCrash.NONE or plan.step.retry is not None


async def _announce(session: Session, attempt: Attempt, *, may_repeat: bool, what: str) -> bool:
    """Write the intent durably. True if an earlier process announced it as well and died before the answer.

    Parks the execution where nobody knows whether the effect happened, nobody said that it may happen twice, and no
    person has decided since.
    """
    path = attempt.path
    repeated = session.history.intents.pop(path, None) is not None
    decided = session.history.decisions.pop(path, _UNDECIDED) is not _UNDECIDED
    if repeated and not decided and not may_repeat:
        raise Paused(
            parked=ErrorInfo(
                kind="parked",
                step=path,
                message=f"the process died while {what} was under way: whether it took effect is not known. Look on the "
                f"other side, then `turnout executions resume` it: with --repeat, or with --output if it happened",
            )
        )
    intent = Intended(at=session.now(), path=path, attempt=attempt.number, key=session.idempotency_key(path))
    await session.pen.barrier(intent)
    return repeated


async def _called(session: Session, plan: ActionPlan, context: StepContext, inputs: BaseModel) -> Value:
    run: Callable[[StepContext, BaseModel], Any] = plan.action.run
    try:
        blocking = session.resources.in_thread
        output = await run(context, inputs) if plan.action.is_async else await blocking(run, context, inputs)
    except (StepError, BackendError):
        raise
    except Exception as error:
        # A connector's bug is the step's failure, never the worker's.
        where = traceback.extract_tb(error.__traceback__)[-1]
        raise StepError(
            f"{plan.step.action}: {type(error).__name__}: {error}",
            kind=type(error).__name__,
            stack=f"{where.name} ({where.filename.rpartition('/')[2]}:{where.lineno})",
        ) from error
    return output if isinstance(output, Value) else Value(output)


def _masked(session: Session, plan: ActionPlan, output: Value) -> Value:
    """The output without the secrets of the step's own connection: no later step, row or record can hold them."""
    if not plan.step.connection:
        return output
    text = output.json
    masked = session.mask.json(text)
    return output if masked == text else Value.from_json(masked, output.files)


@lru_cache(maxsize=1024)
def _unparsed_fields(model: type[BaseModel]) -> frozenset[str]:
    """The fields that take a `Value` as it is."""
    found = set()
    for name, field in model.model_fields.items():
        options = getattr(field.annotation, "__args__", (field.annotation,))
        if Value in options:
            found.add(field.alias or name)
    return frozenset(found)


def validated(model: type[BaseModel], rendered: Value) -> BaseModel:
    """An action's inputs. `StepError` of kind `input` names each fault without showing a value."""
    unparsed = _unparsed_fields(model)
    members: Mapping[str, Value] = rendered.members()
    data = {name: value if name in unparsed else value.load() for name, value in members.items()}
    # An explicit null for an unparsed field is the same as leaving it out.
    data = {
        name: value
        for name, value in data.items()
        if not (isinstance(value, Value) and value.json == b"null" and not value.files)
    }
    try:
        return model.model_validate(data)
    except ValidationError as error:
        faults = "; ".join(
            f"input {'.'.join(map(str, fault['loc'])) or 'values'!r}: {fault['msg']}"
            for fault in error.errors(include_input=False, include_url=False)
        )
        raise StepError(faults, kind="input", retryable=False) from None


async def run_code(session: Session, plan: CodePlan, frame: Frame, attempt: Attempt) -> Done:
    """Call a customer's function in a sandbox. What it threw becomes the step's error, with the customer's own stack."""
    rendered = await session.renderer.render(plan.inputs, frame, attempt.path, attempt.started_at)
    reach = await session.reach(plan.step.connections)
    if plan.step.on_crash is OnCrash.PARK:
        await _announce(session, attempt, may_repeat=False, what=f"the code of step {plan.step.id!r}")
    settings = session.backends.settings
    timeout_s = settings.code_timeout.total_seconds()
    if attempt.deadline is not None:
        timeout_s = max(0.001, attempt.deadline - session.now())

    def log(line: LogLine) -> None:
        session.log(attempt.path, line.level, line.message, line.at)

    def observe(exchange: Exchange) -> None:
        session.log(attempt.path, *exchange_line(exchange))

    about = session.describe(attempt.path, attempt.number)
    outcome = await session.lanes.run(
        Job(
            module=plan.module,
            input=rendered.encode(),
            context={**about, "connections": reach.connections} if reach.connections else about,
            timeout_s=timeout_s,
            files=FileAccess(read=session.content.open, write=_writer(session)),
            log=log,
            egress=Egress(hosts=reach.hosts, credentials=reach.credentials, observe=observe),
        )
    )
    match outcome:
        case Success():
            long = outcome.cpu_ms > settings.long_code.total_seconds() * 1000
            urgency = Urgency.SOON if long else Urgency.RIDES
            if outcome.network or plan.step.on_crash is OnCrash.PARK:
                urgency = Urgency.NOW
            return Done(output=Value.from_encoded(outcome.output), urgency=urgency)
        case Failure(kind="timeout"):
            raise StepTimeout(outcome.message, stack=outcome.stack)
        case Failure():
            raise StepError(outcome.message, kind=outcome.kind, stack=outcome.stack)


def _writer(session: Session) -> Any:
    async def write(content: Any, name: str, content_type: str) -> Any:
        return await session.content.create(content, name=name, content_type=content_type)

    return write


_UNDECIDED: Any = object()
