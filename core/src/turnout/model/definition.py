"""The one model of an integration: what YAML and Python definitions both become.

Values only: frozen, compared by content, importing the standard library alone. Text with `${{ }}` stays text here;
`turnout.expressions` compiles it. Nothing in this module checks references: `turnout.definition` does, and an
`Integration` that came out of it is known to hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Literal, Protocol, TypeVar

from turnout.model.limits import FlowLimits
from turnout.model.webhook import Hook

__all__ = [
    "LANGUAGES",
    "LIFECYCLE",
    "ActionStep",
    "Backoff",
    "BranchArm",
    "BranchStep",
    "CallStep",
    "CodeSettings",
    "CodeStep",
    "ConfigType",
    "ConfigVariable",
    "ConnectionSlot",
    "Flow",
    "Integration",
    "LoopStep",
    "OnCrash",
    "ParallelStep",
    "Position",
    "PythonSettings",
    "Retry",
    "Step",
    "StepBase",
    "StopStep",
    "Trigger",
    "WaitStep",
    "language_of",
    "language_of_file",
    "walk",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where something was written; lines and columns count from 1."""

    file: str
    line: int
    column: int


class ConfigType(StrEnum):
    STRING = "string"
    NUMBER = "number"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    OBJECT = "object"
    ARRAY = "array"


class Backoff(StrEnum):
    CONSTANT = "constant"
    LINEAR = "linear"
    EXPONENTIAL = "exponential"


class OnCrash(StrEnum):
    """What to do with an effect of which nobody knows, after a crash, whether it happened."""

    DEFAULT = "default"
    RETRY = "retry"
    PARK = "park"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigVariable:
    """A value that each instance sets. Required where it has no default and `required` is not false."""

    name: str
    type: ConfigType = ConfigType.STRING
    description: str = ""
    default: Any = None
    required: bool = True
    choices: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionSlot:
    """A connection that each instance fills. `type` is empty where the connector has just one or is to be inferred."""

    name: str
    connector: str
    type: str = ""
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonSettings:
    """Of the code steps in Python: `requirements` is the path of their pinned requirements, relative to the definition, or empty."""

    requirements: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeSettings:
    """Of all code steps: `dependencies` is the path of the npm lockfile, relative to the definition, or empty.

    `hosts` are those that the code may reach, as `turnout.model.hosts` has them, or text with expressions over `config` that
    comes to one host or a URL, or to a list of them.
    """

    dependencies: str = ""
    python: PythonSettings = PythonSettings()
    hosts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        written: object = self.hosts
        hosts = (written,) if isinstance(written, str) else tuple(self.hosts)
        object.__setattr__(self, "hosts", hosts)


LANGUAGES: Final = ("javascript", "python")
"""What code steps can be written in; which of them a sandbox runs, it says itself."""


def language_of_file(file: str) -> str:
    """The language of a module, by its suffix."""
    return "python" if file.endswith(".py") else "javascript"


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """Try a failed step again: `attempts` in all, the first one included.

    `errors` lists error kinds that are retried (`timeout`, `http_5xx`, `http_429`, a JavaScript error's name); empty
    means every retryable error. `jitter` is the share of the delay that is random, 0 to 1.
    """

    attempts: int = 3
    delay_s: float = 1.0
    backoff: Backoff = Backoff.EXPONENTIAL
    max_delay_s: float = 300.0
    jitter: float = 0.1
    errors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StepBase:
    """What every step has. `id` is unique within its flow. `when` is an expression: falsy means the step is skipped.

    `on_error` is `fail`, `continue` (the output is null), or steps to run instead, which see `error`.
    """

    id: str
    when: str = ""
    retry: Retry | None = None
    timeout_s: float | None = None
    on_error: Literal["fail", "continue"] | tuple[Step, ...] = "fail"
    on_crash: OnCrash = OnCrash.DEFAULT
    description: str = ""
    position: Position | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionStep(StepBase):
    """An action of a connector: `action` is `connector.action`; `inputs` is the `with` block."""

    action: str
    connection: str = ""
    inputs: Any = field(default_factory=dict)

    @property
    def connector(self) -> str:
        return self.action.partition(".")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeStep(StepBase):
    """Customer code: `file` relative to the definition, or `source` inline; never both.

    `language` is one of `LANGUAGES`; empty, it is what the file's suffix says, and JavaScript for a source.
    `connections` are those whose credentials the code may use, without seeing them.
    """

    file: str = ""
    source: str = ""
    language: str = ""
    connections: tuple[str, ...] = ()
    source_position: Position | None = field(default=None, compare=False)
    """Where the first line of an inline `source` stands in the definition, so that stacks can name it."""
    inputs: Any = field(default_factory=dict)


def language_of(step: CodeStep) -> str:
    """What a code step is written in."""
    return step.language or (language_of_file(step.file) if step.file else LANGUAGES[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class BranchArm:
    """`when` is an expression; the `else` arm has none."""

    when: str = ""
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BranchStep(StepBase):
    """The first arm whose `when` is truthy runs; an arm with an empty `when` is `else` and stands last.

    Its output is the index of the arm that ran, or null.
    """

    arms: tuple[BranchArm, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopStep(StepBase):
    """For each item of `over` (or while `condition` holds, at most `limit` times) run `steps`.

    `item_name` is what the item is called in expressions, beside `index`. `collect` is an expression evaluated at the
    end of each item; the loop's output is the list of them in the order of the items, or null without `collect`.
    """

    over: Any = None
    condition: str = ""
    limit: int = 0
    item_name: str = "item"
    concurrency: int = 1
    collect: Any = None
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ParallelStep(StepBase):
    """Named arms that run at the same time. One failing cancels the others. Its output is null."""

    arms: Mapping[str, tuple[Step, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallStep(StepBase):
    """Another flow of the same integration as a sub-execution: `inputs` is its `trigger.body`, its output the step's."""

    flow: str
    inputs: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitStep(StepBase):
    """Leave the worker until a time has passed (`duration`), a time has come (`until`), or a callback came.

    Exactly one of the three. `duration` and `until` may be expressions: a duration as `5m` or seconds, a time as
    ISO 8601. A callback's output is what was posted; when `timeout_s` passes first the step fails with `timeout`.
    """

    duration: Any = None
    until: Any = None
    callback: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StopStep(StepBase):
    """End the flow now, successfully, with `output`; with `error` set (text, may hold expressions) it fails."""

    output: Any = None
    error: str = ""


Step = ActionStep | CodeStep | BranchStep | LoopStep | ParallelStep | CallStep | WaitStep | StopStep


LIFECYCLE: Final = ("on_deploy", "on_delete")
"""Triggers of flows that the platform starts when something becomes of an instance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """What starts a flow: `webhook`, `schedule`, `call` (by other flows or by hand only), `on_deploy` (when an instance was
    deployed, upgraded or rolled back), `on_delete` (before it is deleted), or `connector.trigger`.

    `connection` is the connector's, or the one whose secrets verify a `webhook`; `hook` says how requests are verified and
    answered. `every_s` is set where the connector is polled: how often."""

    type: str = "call"
    connection: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    hook: Hook = field(default_factory=Hook)
    every_s: float | None = None

    @property
    def by_request(self) -> bool:
        """Whether a request to its address starts the flow."""
        return self.type not in ("schedule", "call", *LIFECYCLE) and self.every_s is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """A trigger and steps. `timeout_s` counts from the first start, waits included."""

    name: str
    trigger: Trigger = Trigger()
    steps: tuple[Step, ...] = ()
    timeout_s: float | None = None
    description: str = ""
    limits: FlowLimits = field(default_factory=FlowLimits)
    position: Position | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, init=False)
class Integration:
    """A versioned definition. `directory` is where its files are; it does not count in comparisons."""

    name: str
    version: str = "0.0.0"
    description: str = ""
    config: Mapping[str, ConfigVariable] = field(default_factory=dict)
    connections: Mapping[str, ConnectionSlot] = field(default_factory=dict)
    code: CodeSettings = CodeSettings()
    flows: Mapping[str, Flow] = field(default_factory=dict)
    directory: str = field(default="", compare=False)

    def __init__(
        self,
        *,
        name: str,
        version: str = "0.0.0",
        description: str = "",
        config: Mapping[str, ConfigVariable] | Iterable[ConfigVariable] = (),
        connections: Mapping[str, ConnectionSlot] | Iterable[ConnectionSlot] = (),
        code: CodeSettings = CodeSettings(),
        flows: Mapping[str, Flow] | Iterable[Flow] = (),
        directory: str = "",
    ) -> None:
        """What has names may come as a mapping by name or one after the other. `ValueError` if two have one name."""
        values = {
            "name": name,
            "version": version,
            "description": description,
            "config": _by_name("config variable", config),
            "connections": _by_name("connection", connections),
            "code": code,
            "flows": _by_name("flow", flows),
            "directory": directory,
        }
        for key, value in values.items():
            object.__setattr__(self, key, value)


class _Named(Protocol):
    @property
    def name(self) -> str: ...


_N = TypeVar("_N", bound=_Named)


def _by_name(what: str, items: Mapping[str, _N] | Iterable[_N]) -> Mapping[str, _N]:
    if isinstance(items, Mapping):
        return items
    named: dict[str, _N] = {}
    for item in items:
        if item.name in named:
            raise ValueError(f"there are two of {what} {item.name!r}")
        named[item.name] = item
    return named


def walk(steps: tuple[Step, ...]) -> Iterator[Step]:
    """Every step below `steps`, in the order of the text, those of error handlers included."""
    for step in steps:
        yield step
        match step:
            case BranchStep():
                for arm in step.arms:
                    yield from walk(arm.steps)
            case LoopStep():
                yield from walk(step.steps)
            case ParallelStep():
                for inner in step.arms.values():
                    yield from walk(inner)
            case _:
                pass
        if isinstance(step.on_error, tuple):
            yield from walk(step.on_error)
