"""A flow made ready to run: every expression compiled, every action looked up, once for each version.

A plan is shared by all executions of a flow and never changes. It mirrors `turnout.model.definition` one to one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, assert_never

from turnout.errors import SettingsError, StepError
from turnout.expressions import Condition, Template, compile_condition, compile_template
from turnout.interfaces.connector import Action, Connector
from turnout.model.definition import (
    ActionStep,
    BranchStep,
    CallStep,
    CodeStep,
    Flow,
    Integration,
    LoopStep,
    ParallelStep,
    Step,
    StopStep,
    WaitStep,
)

__all__ = [
    "ActionPlan",
    "BranchPlan",
    "CallPlan",
    "CodePlan",
    "FlowPlan",
    "LoopPlan",
    "ParallelPlan",
    "StepPlan",
    "Steps",
    "StopPlan",
    "WaitPlan",
    "plan_flow",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What every planned step has: its compiled condition, and the steps to run when it failed.

    `volatile` says that one of its expressions asks for the time, so that the time of its start must be remembered;
    `nested` that it has steps inside it.
    """

    when: Condition | None
    handler: Steps | None
    volatile: bool
    nested: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionPlan(Planned):
    step: ActionStep
    action: Action
    inputs: Template
    kind: str = "action"


@dataclass(frozen=True, slots=True, kw_only=True)
class CodePlan(Planned):
    step: CodeStep
    module: str
    inputs: Template
    kind: str = "code"


@dataclass(frozen=True, slots=True, kw_only=True)
class BranchPlan(Planned):
    step: BranchStep
    arms: tuple[tuple[Condition | None, Steps], ...]
    nested: bool = True
    kind: str = "branch"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopPlan(Planned):
    step: LoopStep
    over: Template | None
    condition: Condition | None
    collect: Template | None
    body: Steps
    inner_ids: tuple[str, ...]
    nested: bool = True
    kind: str = "loop"


@dataclass(frozen=True, slots=True, kw_only=True)
class ParallelPlan(Planned):
    step: ParallelStep
    arms: Mapping[str, Steps]
    nested: bool = True
    kind: str = "parallel"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallPlan(Planned):
    step: CallStep
    inputs: Template
    kind: str = "call"


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitPlan(Planned):
    step: WaitStep
    duration: Template | None
    until: Template | None
    kind: str = "wait"


@dataclass(frozen=True, slots=True, kw_only=True)
class StopPlan(Planned):
    step: StopStep
    output: Template
    error: Template | None
    kind: str = "stop"


StepPlan = ActionPlan | CodePlan | BranchPlan | LoopPlan | ParallelPlan | CallPlan | WaitPlan | StopPlan
Steps = tuple[StepPlan, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowPlan:
    """`ids` are the steps whose outputs the whole flow sees: all but those inside loops. `modules` are the code steps'
    entry files; `calls` says whether any step calls another flow. From `codeless` on, no step is or has in it a code step."""

    flow: Flow
    steps: Steps
    ids: tuple[str, ...]
    modules: tuple[str, ...] = ()
    calls: bool = False
    codeless: int = 0
    paths: Mapping[str, str]
    """Where each step stands, loops' items left open: `each[].approve`."""
    placed: Mapping[str, StepPlan]
    """The steps by those places."""

    def step(self, place: str) -> StepPlan | None:
        """The step that stands there; None for an arm, or an item."""
        return self.placed.get(place)

    def path_of(self, id: str, prefix: str) -> str:
        """The path of a step as seen from a place inside the flow, whose loop items it takes. `StepError` if there is no
        such step, or it stands in a loop that the place is not in."""
        parts = self.paths.get(id, "[]").split("[]")
        items = re.findall(r"\[[0-9]+\]", prefix)
        if id not in self.paths or len(items) < len(parts) - 1:
            raise StepError(f"there is no step {id!r} whose callback could be meant here", kind="expression")
        return "".join(part + item for part, item in zip(parts, [*items, ""], strict=False))


def plan_flow(
    integration: Integration, flow: Flow, connectors: Mapping[str, Connector], modules: Mapping[str, str]
) -> FlowPlan:
    """Compile a flow. `modules` maps the id of each code step to its entry file in the bundle.

    `SettingsError` names a connector or action that is not installed: the definition was checked when it was
    deployed, so the installation has changed since.
    """
    steps = _Planner(integration, flow, connectors, modules).steps(flow.steps)
    return FlowPlan(
        flow=flow,
        steps=steps,
        ids=tuple(_ids(steps)),
        paths={plan.step.id: place for place, plan in _placed(steps, "")},
        placed=dict(_placed(steps, "")),
        modules=tuple(dict.fromkeys(modules[plan.step.id] for plan in _all(steps) if isinstance(plan, CodePlan))),
        calls=any(isinstance(plan, CallPlan) for plan in _all(steps)),
        codeless=max((number + 1 for number, plan in enumerate(steps) if _runs_code(plan)), default=0),
    )


@dataclass(frozen=True, slots=True)
class _Planner:
    integration: Integration
    flow: Flow
    connectors: Mapping[str, Connector]
    modules: Mapping[str, str]

    def steps(self, steps: tuple[Step, ...]) -> Steps:
        return tuple(self.step(step) for step in steps)

    def step(self, step: Step) -> StepPlan:
        when = compile_condition(step.when) if step.when else None
        handler = self.steps(step.on_error) if isinstance(step.on_error, tuple) else None
        match step:
            case BranchStep():
                return self.branch(step, when, handler)
            case LoopStep():
                return self.loop(step, when, handler)
            case ParallelStep():
                arms = {name: self.steps(inner) for name, inner in step.arms.items()}
                return ParallelPlan(step=step, when=when, handler=handler, volatile=_volatile(when), arms=arms)
            case WaitStep():
                duration, until = _optional(step.duration), _optional(step.until)
                volatile = _volatile(when, duration, until)
                return WaitPlan(
                    step=step, when=when, handler=handler, volatile=volatile, duration=duration, until=until
                )
            case StopStep():
                output, error = compile_template(step.output), _optional(step.error or None)
                volatile = _volatile(when, output, error)
                return StopPlan(step=step, when=when, handler=handler, volatile=volatile, output=output, error=error)
            case ActionStep() | CodeStep() | CallStep():
                return self.leaf(step, when, handler)
            case _:
                assert_never(step)

    def leaf(self, step: ActionStep | CodeStep | CallStep, when: Condition | None, handler: Steps | None) -> StepPlan:
        inputs = compile_template(step.inputs)
        volatile = _volatile(when, inputs)
        match step:
            case ActionStep():
                action = self.action(step)
                return ActionPlan(
                    step=step, when=when, handler=handler, volatile=volatile, action=action, inputs=inputs
                )
            case CodeStep():
                module = self.modules[step.id]
                return CodePlan(step=step, when=when, handler=handler, volatile=volatile, module=module, inputs=inputs)
            case CallStep():
                return CallPlan(step=step, when=when, handler=handler, volatile=volatile, inputs=inputs)

    def branch(self, step: BranchStep, when: Condition | None, handler: Steps | None) -> BranchPlan:
        arms = tuple((compile_condition(arm.when) if arm.when else None, self.steps(arm.steps)) for arm in step.arms)
        volatile = _volatile(when, *(condition for condition, _ in arms))
        return BranchPlan(step=step, when=when, handler=handler, volatile=volatile, arms=arms)

    def loop(self, step: LoopStep, when: Condition | None, handler: Steps | None) -> LoopPlan:
        over, collect = _optional(step.over), _optional(step.collect)
        condition = compile_condition(step.condition) if step.condition else None
        body = self.steps(step.steps)
        return LoopPlan(
            step=step,
            when=when,
            handler=handler,
            volatile=_volatile(when, over, condition, collect),
            over=over,
            condition=condition,
            collect=collect,
            body=body,
            inner_ids=tuple(_ids(body)),
        )

    def action(self, step: ActionStep) -> Action:
        connector, _, name = step.action.partition(".")
        try:
            return self.connectors[connector].actions[name]
        except KeyError:
            raise SettingsError(
                f"step {step.id!r} of flow {self.flow.name!r} needs the action {step.action!r}, which no installed "
                f"plugin provides; `turnout plugins` lists what is installed",
                setting=step.id,
            ) from None


def _optional(data: Any) -> Template | None:
    return None if data is None else compile_template(data)


def _volatile(*compiled: Template | Condition | None) -> bool:
    return any(one is not None and one.volatile for one in compiled)


def _ids(steps: Steps) -> Iterator[str]:
    """The ids that are visible beside and after these steps: into branches and arms, not into loops."""
    for plan in steps:
        yield plan.step.id
        for between, inner in _below(plan):
            if between != "[]":
                yield from _ids(inner)


def _below(plan: StepPlan) -> Iterator[tuple[str, Steps]]:
    """The steps inside a step, with what their paths have between its own and theirs."""
    match plan:
        case BranchPlan():
            yield from (("", arm) for _, arm in plan.arms)
        case LoopPlan():
            yield "[]", plan.body
        case ParallelPlan():
            yield from ((f".{name}", inner) for name, inner in plan.arms.items())
        case _:
            pass
    if plan.handler:
        yield "", plan.handler


def _placed(steps: Steps, prefix: str) -> Iterator[tuple[str, StepPlan]]:
    for plan in steps:
        path = prefix + plan.step.id
        yield path, plan
        for between, inner in _below(plan):
            yield from _placed(inner, f"{path}{between}.")


def _runs_code(plan: StepPlan) -> bool:
    return any(isinstance(inner, CodePlan) for inner in _all((plan,)))


def _all(steps: Steps) -> Iterator[StepPlan]:
    for plan in steps:
        yield plan
        for _, inner in _below(plan):
            yield from _all(inner)
