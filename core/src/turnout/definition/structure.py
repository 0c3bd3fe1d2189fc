"""What must hold of a definition by itself: names, bounds, files, calls. Python definitions are held to it as YAML is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Final, assert_never

from turnout.definition import grammar
from turnout.definition.nearest import hint_for
from turnout.definition.places import Places, Way, shown_path
from turnout.definition.requirements import read_requirements
from turnout.errors import Problem
from turnout.model.definition import (
    LANGUAGES,
    LIFECYCLE,
    ActionStep,
    BranchStep,
    CallStep,
    CodeStep,
    Flow,
    Integration,
    LoopStep,
    ParallelStep,
    Retry,
    Step,
    StopStep,
    WaitStep,
    language_of_file,
    walk,
)
from turnout.model.duration import parse_duration

__all__ = ["Structure"]

_MODULES: Final = (".js", ".mjs", ".py")
_LANGUAGE: Final = (("code", "language"), ("code",))
_RESERVED: Final = ("trigger", "steps", "config", "execution", "error", "index")
_MAX_ATTEMPTS: Final = 1000
_MAX_CONCURRENCY: Final = 1000


class Structure:
    """Checks one integration without knowing any connector."""

    def __init__(self, integration: Integration, places: Places) -> None:
        self._integration = integration
        self._places = places

    def check(self, flow: Flow) -> Iterator[Problem]:
        """The problems of a flow and its steps."""
        if not flow.steps:
            yield self._places.problem(f"flow {flow.name!r} has no steps", below=flow)
        if flow.timeout_s is not None and flow.timeout_s <= 0:
            message = f"flow {flow.name!r}: `timeout` must be longer than nothing"
            yield self._places.problem(message, below=flow, ways=(("timeout",),))
        first: dict[str, Step] = {}
        for step in walk(flow.steps):
            yield from self._id(step, first)
            yield from self._common(step)
            yield from self._kind(step)
        yield from self._order(flow.steps, "")

    def names(self) -> Iterator[Problem]:
        """The problems of the names at the top, and of the lockfile."""
        integration = self._integration
        named: list[tuple[str, str, tuple[Way, ...]]] = [("integration", integration.name, (("integration",),))]
        named += [("flow", name, (("flows", name),)) for name in integration.flows]
        named += [("connection", name, (("connections", name),)) for name in integration.connections]
        named += [("config variable", name, (("config", name),)) for name in integration.config]
        for what, name, ways in named:
            if not re.fullmatch(grammar.NAME, name):
                yield self._places.problem(f"{name[:120]!r} cannot be the name of a {what}", ways=ways)
        if not integration.flows:
            yield self._places.problem(f"integration {integration.name!r} has no flows")
        yield from self._lifecycle()
        lockfile = integration.code.dependencies
        if lockfile:
            yield from self._file(lockfile, "`code.dependencies`", None, (("code", "dependencies"),))
        yield from self._requirements(integration.code.python.requirements)

    def _lifecycle(self) -> Iterator[Problem]:
        for kind in LIFECYCLE:
            with_it = [flow for flow in self._integration.flows.values() if flow.trigger.type == kind]
            for flow in with_it[1:]:
                message = f"flow {flow.name!r} has the trigger {kind}, as {with_it[0].name!r} has: there may be one"
                hint = "call the other flow from it"
                yield self._places.problem(message, below=flow, ways=(("trigger",),), hint=hint)

    def _requirements(self, name: str) -> Iterator[Problem]:
        ways: tuple[Way, ...] = (("code", "python", "requirements"), ("code", "python"))
        faults = list(self._file(name, "`code.python.requirements`", None, ways)) if name else []
        yield from faults
        if not name or faults or not self._integration.directory:
            return
        path = Path(self._integration.directory) / name
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            yield self._places.problem(f"`code.python.requirements`: {name!r} cannot be read: {error}", ways=ways)
            return
        yield from read_requirements(text, shown_path(path))[1]

    def calls(self) -> Iterator[Problem]:
        """The problems of calls between flows: unknown flows, and each cycle once."""
        flows = self._integration.flows
        calls = {
            name: [step for step in walk(flow.steps) if isinstance(step, CallStep)] for name, flow in flows.items()
        }
        for steps in calls.values():
            for step in steps:
                if step.flow not in flows:
                    yield self._at(step, f"there is no flow {step.flow!r}", _CALL, hint=hint_for(step.flow, flows))
        done: set[str] = set()
        for start in flows:
            yield from self._cycles(start, calls, done)

    def _cycles(self, start: str, calls: dict[str, list[CallStep]], done: set[str]) -> Iterator[Problem]:
        """Depth first, with a stack of its own: a chain of calls may be long."""
        way: list[str] = []
        pending: list[tuple[str, Iterator[CallStep]]] = []

        def enter(name: str) -> None:
            way.append(name)
            pending.append((name, iter(calls[name])))

        if start not in done:
            enter(start)
        while pending:
            name, steps = pending[-1]
            step = next(steps, None)
            if step is None:
                pending.pop()
                way.pop()
                done.add(name)
            elif step.flow in way:
                circle = " → ".join([*way[way.index(step.flow) :], step.flow])
                yield self._at(
                    step, f"flows call each other in a cycle: {circle}", _CALL, hint="a flow cannot wait for itself"
                )
            elif step.flow in calls and step.flow not in done:
                enter(step.flow)

    def _at(
        self, step: Step, message: str, ways: tuple[Way, ...] = ((),), *, hint: str = "", severity: str = "error"
    ) -> Problem:
        return self._places.problem(
            f"step {step.id!r}: {message}", below=step.position, ways=ways, hint=hint, severity=severity
        )

    def _id(self, step: Step, first: dict[str, Step]) -> Iterator[Problem]:
        if not re.fullmatch(grammar.ID, step.id):
            yield self._at(
                step, "it cannot be called that: letters, digits, _ and -, beginning with a letter or _", (("id",),)
            )
        elif step.id in first:
            position = first[step.id].position
            hint = f"the first one is in line {position.line}" if position else ""
            message = f"there are two steps with the id {step.id!r} in this flow"
            yield self._places.problem(message, below=step.position, ways=(("id",),), hint=hint)
        first.setdefault(step.id, step)

    def _common(self, step: Step) -> Iterator[Problem]:
        if step.timeout_s is not None and step.timeout_s <= 0:
            yield self._at(step, "`timeout` must be longer than nothing", (("timeout",), ("wait", "timeout")))
        if step.retry is not None:
            for key, message in _retry_faults(step.retry):
                yield self._at(step, f"`retry`: {message}", (("retry", key), ("retry",)))
        if not (isinstance(step.on_error, tuple) or step.on_error in ("fail", "continue")):
            yield self._at(step, "`on_error` is fail, continue or steps", (("on_error",),))

    def _kind(self, step: Step) -> Iterator[Problem]:  # noqa: C901 - one arm a kind
        match step:
            case ActionStep():
                if not re.fullmatch(r"[^.\s]+\.[^.\s]+", step.action):
                    yield self._at(step, f"{step.action!r} is not an action: write connector.action", (("action",),))
            case CodeStep():
                yield from self._code(step)
            case BranchStep():
                yield from self._branch(step)
            case LoopStep():
                yield from self._loop(step)
            case ParallelStep():
                if not step.arms:
                    yield self._at(step, "`parallel` has no arms", (("parallel",),))
                yield from self._empty_arms(step)
            case WaitStep():
                yield from self._wait(step)
            case StopStep():
                if step.error and step.output is not None:
                    yield self._at(step, "`stop` has `output` or `error`, not both", (("stop",),))
            case CallStep():
                pass
            case _:
                assert_never(step)

    def _code(self, step: CodeStep) -> Iterator[Problem]:
        if bool(step.file) == bool(step.source.strip()):
            yield self._at(step, "`code` is a file or a module's text, one of them", (("code",),))
        elif step.file:
            ways: tuple[Way, ...] = (("code", "file"), ("code",))
            if PurePosixPath(step.file).suffix not in _MODULES:
                hint = "code steps are .js, .mjs or .py files"
                yield self._at(step, f"{step.file!r} is not an ES module, and no Python module", ways, hint=hint)
            else:
                yield from self._file(step.file, f"step {step.id!r}", step, ways)
        if step.language and step.language not in LANGUAGES:
            hint = hint_for(step.language, LANGUAGES) or f"there are {', '.join(LANGUAGES)}"
            yield self._at(step, f"there is no language {step.language!r}", _LANGUAGE, hint=hint)
        elif step.file and step.language and step.language != language_of_file(step.file):
            message = f"{step.file!r} is not a file in {step.language}"
            yield self._at(step, message, _LANGUAGE, hint="leave `language` out: the suffix says it")

    def _file(self, name: str, who: str, step: Step | None, ways: tuple[Way, ...]) -> Iterator[Problem]:
        """A file that the definition names: inside its directory, after links are followed, and there."""
        path = PurePosixPath(name)
        message = hint = ""
        if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
            message, hint = (
                f"the path {name!r} leaves the integration's directory",
                "paths are relative to the definition",
            )
        elif self._integration.directory:
            directory = Path(self._integration.directory).resolve()
            file = directory / name
            if not file.is_file():
                near = [other.name for other in file.parent.glob(f"*{path.suffix}")] if file.parent.is_dir() else []
                message, hint = f"there is no file {name!r}", hint_for(path.name, sorted(near))
            elif not file.resolve().is_relative_to(directory):
                message, hint = f"the path {name!r} leaves the integration's directory", "it is a link to elsewhere"
        if message:
            below = step.position if step else None
            yield self._places.problem(f"{who}: {message}", below=below, ways=ways, hint=hint)

    def _branch(self, step: BranchStep) -> Iterator[Problem]:
        if not step.arms:
            yield self._at(step, "`branch` has no arms", (("branch",),))
        for number, arm in enumerate(step.arms):
            if not arm.when and number < len(step.arms) - 1:
                yield self._at(step, "`else` must be the last arm", (("branch", number),))
        if len(step.arms) == 1 and not step.arms[0].when:
            yield self._at(step, "a branch needs an arm with `when`", (("branch",),))
        yield from self._empty_arms(step)

    def _empty_arms(self, step: BranchStep | ParallelStep) -> Iterator[Problem]:
        arms = [arm.steps for arm in step.arms] if isinstance(step, BranchStep) else step.arms.values()
        if not all(arms):
            yield self._at(step, "an arm has no steps")

    def _loop(self, step: LoopStep) -> Iterator[Problem]:
        if (step.over is None) == (not step.condition):
            yield self._at(step, "`loop` needs `over` or `while`, one of them", (("loop",),))
        if _not_a_list(step.over):
            hint = "write ${{ … }} around an expression"
            yield self._at(
                step,
                "`over` must be a list, or an expression that gives one",
                (("loop", "over"), ("over",), ("loop",)),
                hint=hint,
            )
        if isinstance(step.collect, str) and "${{" not in step.collect:
            message = f"`collect` gives the text {step.collect[:40]!r} for every item"
            hint = f"if it is an expression, write ${{{{ {step.collect[:40].strip()} }}}}"
            yield self._at(step, message, (("loop", "collect"), ("collect",)), hint=hint)
        if step.condition and step.limit < 1:
            hint = "it is how often the loop may repeat; then it fails"
            yield self._at(step, "`while` needs a `limit` of at least 1", (("loop", "limit"), ("loop",)), hint=hint)
        if step.condition and step.concurrency != 1:
            yield self._at(
                step,
                "`while` goes one by one: `concurrency` is for `over`",
                (("loop", "concurrency"), ("concurrency",)),
            )
        if step.over is not None and step.limit and not step.condition:
            yield self._at(step, "`limit` is for `while`", (("loop", "limit"), ("limit",)))
        if not 1 <= step.concurrency <= _MAX_CONCURRENCY:
            yield self._at(
                step, f"`concurrency` must be from 1 to {_MAX_CONCURRENCY}", (("loop", "concurrency"), ("concurrency",))
            )
        if step.item_name in _RESERVED or not re.fullmatch(grammar.IDENTIFIER, step.item_name):
            yield self._at(
                step,
                f"an item cannot be called {step.item_name!r}",
                (("loop", "as"), ("as",)),
                hint=f"taken are {', '.join(_RESERVED)}",
            )
        if not step.steps:
            yield self._at(step, "`loop` has no steps", (("loop",),))

    def _wait(self, step: WaitStep) -> Iterator[Problem]:
        chosen = (step.duration is not None) + (step.until is not None) + step.callback
        if chosen != 1:
            yield self._at(step, "`wait` needs `for`, `until` or `callback`, one of them", (("wait",),))
        if step.callback and step.timeout_s is None:
            hint = "without one it may wait for ever"
            yield self._at(step, "a wait for a callback needs a `timeout`", (("wait",),), hint=hint, severity="warning")
        if step.duration is not None and not (isinstance(step.duration, str) and "${{" in step.duration):
            try:
                parse_duration(step.duration)
            except ValueError as error:
                yield self._at(step, f"`for`: {error}", (("wait", "for"), ("wait",)))
        if step.until is not None and not _is_time(step.until):
            hint = "such as 2026-12-24T18:00:00Z, or ${{ … }}"
            yield self._at(
                step, "`until` must be a time as ISO 8601 with its zone", (("wait", "until"), ("until",)), hint=hint
            )

    def _order(self, steps: tuple[Step, ...], within: str) -> Iterator[Problem]:
        """Steps that can never run, and stops that cut others off."""
        for number, step in enumerate(steps):
            if isinstance(step, StopStep):
                rest = steps[number + 1 :]
                if rest and not step.when:
                    message = f"it never runs: the step {step.id!r} before it always ends the flow"
                    yield self._at(rest[0], message, severity="warning")
                if within:
                    message = f"it ends the flow while others {within} may be in the middle of something"
                    yield self._at(step, message, (("stop",),), severity="warning")
            yield from self._order_below(step, within)

    def _order_below(self, step: Step, within: str) -> Iterator[Problem]:
        match step:
            case BranchStep():
                for arm in step.arms:
                    yield from self._order(arm.steps, within)
            case LoopStep():
                yield from self._order(step.steps, "of its loop" if step.concurrency > 1 else within)
            case ParallelStep():
                for inner in step.arms.values():
                    yield from self._order(inner, "beside it")
            case _:
                pass
        if isinstance(step.on_error, tuple):
            yield from self._order(step.on_error, within)


_CALL: Final[tuple[Way, ...]] = (("call", "flow"), ("call",))


def _retry_faults(retry: Retry) -> Iterator[tuple[str, str]]:
    if not 1 <= retry.attempts <= _MAX_ATTEMPTS:
        yield "attempts", f"`attempts` must be from 1 to {_MAX_ATTEMPTS}"
    if retry.delay_s < 0 or retry.max_delay_s < 0:
        yield "delay", "a delay cannot be negative"
    elif retry.delay_s > retry.max_delay_s:
        yield "delay", f"`delay` is longer than `max_delay` ({retry.max_delay_s:g} s)"
    if not 0 <= retry.jitter <= 1:
        yield "jitter", "`jitter` must be from 0 to 1"


def _not_a_list(over: object) -> bool:
    return "${{" not in over if isinstance(over, str) else isinstance(over, bool | int | float | dict)


def _is_time(until: object) -> bool:
    if not isinstance(until, str):
        return False
    if "${{" in until:
        return True
    try:
        return datetime.fromisoformat(until).tzinfo is not None
    except ValueError:
        return False
