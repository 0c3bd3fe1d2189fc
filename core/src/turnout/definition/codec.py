"""An integration as bytes and back: what a bundle holds and what its hash is made of.

The form is canonical: fields in the order of the model, those with their default left out (so that a field added
later changes no hash), mappings in the order in which they were written, because that order is seen (a form's
fields, a flow's arms). Positions are kept, with files relative to the integration's directory: stacks and messages name
them; no path of the machine gets in. `dump(…, positions=False)` is for comparing what two definitions mean.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from pathlib import PurePath
from typing import Any, Final, TypeVar

from turnout.errors import DefinitionError, Problem
from turnout.model.definition import (
    ActionStep,
    Backoff,
    BranchArm,
    BranchStep,
    CallStep,
    CodeSettings,
    CodeStep,
    ConfigType,
    ConfigVariable,
    ConnectionSlot,
    Flow,
    Integration,
    LoopStep,
    OnCrash,
    ParallelStep,
    Position,
    PythonSettings,
    Retry,
    Step,
    StopStep,
    Trigger,
    WaitStep,
)
from turnout.model.limits import (
    ConcurrencyLimit,
    DebounceLimit,
    Deduplication,
    FlowLimits,
    OrderLimit,
    Per,
    RateLimit,
)
from turnout.model.webhook import Answer, Hook, Respond, Verify

__all__ = ["FORMAT", "dump", "parse"]

FORMAT: Final = 1
"""Raised when bytes written by an older Turnout could be misread by this one."""

_Convert = Callable[[Any], Any]
_L = TypeVar("_L")
STEP_KINDS: Final[Mapping[str, type[Step]]] = {
    "action": ActionStep,
    "code": CodeStep,
    "branch": BranchStep,
    "loop": LoopStep,
    "parallel": ParallelStep,
    "call": CallStep,
    "wait": WaitStep,
    "stop": StopStep,
}
_KIND_OF: Final = {cls: kind for kind, cls in STEP_KINDS.items()}


def dump(integration: Integration, *, positions: bool = True) -> bytes:
    """The integration as canonical JSON in UTF-8: equal integrations, written in the same order, give equal bytes.

    `DefinitionError` if a value in it is not JSON (a date, NaN, half a surrogate pair), which only Python can write.
    """
    plain = {"format": FORMAT, **_Writer(integration.directory, positions=positions).plain(integration)}
    try:
        text = json.dumps(plain, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        problem = Problem(message=f"integration {integration.name!r} holds a value that is not JSON: {error}")
        raise DefinitionError([problem]) from error


def parse(data: bytes, *, directory: str = "") -> Integration:
    """The integration that `dump` wrote. `DefinitionError` if the bytes are not of that form or of a newer format."""
    try:
        plain = json.loads(data)
        written = plain.pop("format")
        if written != FORMAT:
            raise _refused(
                f"it is of format {written!r}, this Turnout reads format {FORMAT}: use the version it was built with"
            )
        return _integration(plain, directory)
    except DefinitionError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise _refused(f"{type(error).__name__}: {error}") from error


def _refused(why: str) -> DefinitionError:
    return DefinitionError([Problem(message=f"not an integration as Turnout writes it: {why}")])


class _Writer:
    """Turns model values into plain data."""

    def __init__(self, directory: str, *, positions: bool) -> None:
        self._directory = directory
        self._positions = positions

    def plain(self, value: Any) -> Any:
        match value:
            case Position():
                return [self._relative(value.file), value.line, value.column]
            case Enum():
                return value.value
            case Mapping():
                return {key: self.plain(item) for key, item in value.items()}
            case list() | tuple():
                return [self.plain(item) for item in value]
            case _ if is_dataclass(value) and not isinstance(value, type):
                return self._object(value)
            case _:
                return value

    def _object(self, value: Any) -> dict[str, Any]:
        kind = _KIND_OF.get(type(value))
        plain: dict[str, Any] = {} if kind is None else {"kind": kind}
        for name, default in _fields(type(value)):
            item = getattr(value, name)
            if name == "directory" or (not self._positions and name in ("position", "source_position")):
                continue
            if default is MISSING or type(item) is not type(default) or item != default:
                plain[name] = self.plain(item)
        return plain

    def _relative(self, file: str) -> str:
        path = PurePath(file)
        if not path.is_absolute():
            return path.as_posix()
        if self._directory and path.is_relative_to(self._directory):
            return path.relative_to(self._directory).as_posix()
        return path.name


def _fields(cls: type[Any]) -> tuple[tuple[str, Any], ...]:
    """The names of a class's fields with their defaults."""
    if cls not in _FIELDS:
        _FIELDS[cls] = tuple(
            (field.name, field.default if field.default_factory is MISSING else field.default_factory())
            for field in fields(cls)
        )
    return _FIELDS[cls]


_FIELDS: Final[dict[type[Any], tuple[tuple[str, Any], ...]]] = {}


def _integration(plain: dict[str, Any], directory: str) -> Integration:
    return Integration(
        **{
            **plain,
            "config": {name: _config(item) for name, item in plain.get("config", {}).items()},
            "connections": {name: ConnectionSlot(**item) for name, item in plain.get("connections", {}).items()},
            "code": _code(plain.get("code", {})),
            "flows": {name: _flow(item) for name, item in plain.get("flows", {}).items()},
            "directory": directory,
        }
    )


def _code(plain: dict[str, Any]) -> CodeSettings:
    return CodeSettings(**_converted(plain, {"python": lambda item: PythonSettings(**item), "hosts": tuple}))


def _config(plain: dict[str, Any]) -> ConfigVariable:
    return ConfigVariable(**_converted(plain, {"type": ConfigType, "choices": tuple}))


def _flow(plain: dict[str, Any]) -> Flow:
    converters: Mapping[str, _Convert] = {
        "trigger": _trigger,
        "steps": _steps,
        "limits": _limits,
        "position": _position,
    }
    return Flow(**_converted(plain, converters))


def _trigger(plain: dict[str, Any]) -> Trigger:
    return Trigger(**_converted(plain, {"hook": _hook}))


def _hook(plain: dict[str, Any]) -> Hook:
    def answer(item: dict[str, Any] | None) -> Answer | None:
        return None if item is None else Answer(**item)

    answers: Mapping[str, _Convert] = {"answer": answer, "failed": answer, "late": answer}
    converters: Mapping[str, _Convert] = {
        "verify": lambda item: None if item is None else Verify(**_converted(item, {"fields": tuple})),
        "respond": lambda item: None if item is None else Respond(**_converted(item, answers)),
        "cors": tuple,
        "methods": tuple,
    }
    return Hook(**_converted(plain, converters))


def _limits(plain: dict[str, Any]) -> FlowLimits:
    converters: Mapping[str, _Convert] = {
        "concurrency": lambda items: tuple(_limit(ConcurrencyLimit, item) for item in items),
        "rate": lambda items: tuple(_limit(RateLimit, item) for item in items),
        "order": lambda item: _limit(OrderLimit, item),
        "debounce": lambda item: _limit(DebounceLimit, item),
        "deduplicate": lambda item: _limit(Deduplication, item),
    }
    return FlowLimits(**_converted(plain, converters))


def _limit(kind: type[_L], plain: dict[str, Any]) -> _L:
    return kind(**_converted(plain, {"per": Per}))


def _steps(plain: list[dict[str, Any]]) -> tuple[Step, ...]:
    return tuple(_step(item) for item in plain)


def _step(plain: dict[str, Any]) -> Step:
    kind = plain["kind"]
    cls = STEP_KINDS[kind]
    values = {key: item for key, item in plain.items() if key != "kind"}
    return cls(**_converted(values, {**_STEP_FIELDS, "arms": _ARMS.get(kind, _steps)}))


def _position(plain: list[Any] | None) -> Position | None:
    return None if plain is None else Position(file=plain[0], line=plain[1], column=plain[2])


def _retry(plain: dict[str, Any] | None) -> Retry | None:
    return None if plain is None else Retry(**_converted(plain, {"backoff": Backoff, "errors": tuple}))


def _on_error(plain: Any) -> Any:
    return _steps(plain) if isinstance(plain, list) else plain


def _branch_arms(plain: list[dict[str, Any]]) -> tuple[BranchArm, ...]:
    return tuple(BranchArm(**_converted(arm, {"steps": _steps})) for arm in plain)


def _parallel_arms(plain: dict[str, Any]) -> dict[str, tuple[Step, ...]]:
    return {name: _steps(steps) for name, steps in plain.items()}


_ARMS: Final[Mapping[str, _Convert]] = {"branch": _branch_arms, "parallel": _parallel_arms}
_STEP_FIELDS: Final[Mapping[str, _Convert]] = {
    "retry": _retry,
    "on_error": _on_error,
    "on_crash": OnCrash,
    "position": _position,
    "source_position": _position,
    "connections": tuple,
    "steps": _steps,
}


def _converted(plain: dict[str, Any], converters: Mapping[str, _Convert]) -> dict[str, Any]:
    return {key: converters[key](item) if key in converters else item for key, item in plain.items()}
