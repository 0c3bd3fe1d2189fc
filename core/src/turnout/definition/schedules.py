"""Schedules: cron's five fields, intervals, one moment; time zones; what an instance's config makes of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from turnout.definition.nearest import hint_for
from turnout.definition.places import Places, Way
from turnout.errors import ExpressionError, Problem, SettingsError
from turnout.expressions import Scope, compile_template
from turnout.model.definition import Flow, Integration
from turnout.model.duration import parse_duration
from turnout.model.schedule import Missed, Overlap, Schedule
from turnout.values import Value

__all__ = ["cron_fault", "schedule_faults", "schedule_of", "schedules_of"]

ConfigFault = Callable[[list[str]], tuple[str, str, str] | None]

_FIELDS: Final = (
    ("minute", "0 to 59"),
    ("hour", "0 to 23"),
    ("day of month", "1 to 31, L, LW"),
    ("month", "1 to 12, jan to dec"),
    ("day of week", "0 to 7, sun to sat, 5L, 5#3"),
)
_WHEN: Final = ("cron", "every", "at")
_LONGEST: Final = 200
_SHOWN: Final = 40
_LONGEST_EVERY_S: Final = 366 * 86400.0
_PROBE: Final = datetime(2024, 1, 1, tzinfo=UTC)
_CRON_HINT: Final = "minute, hour, day of month, month, day of week: `0 6 * * 1-5`"
_LATE: Final = ("trigger", "steps", "execution", "item", "index", "error")


def schedule_faults(flow: Flow, places: Places, config_fault: ConfigFault) -> Iterator[Problem]:
    """The problems of a flow's schedule, if it has one. `config_fault` says what is wrong with a reference to the config."""
    if flow.trigger.type != "schedule":
        return
    options = flow.trigger.options

    def problem(key: str, message: str, hint: str = "") -> Problem:
        ways: tuple[Way, ...] = (("trigger", "schedule", key), ("trigger", "schedule"), ("trigger",))
        return places.problem(f"flow {flow.name!r}: {message}", below=flow, ways=ways, hint=hint)

    if len([key for key in _WHEN if key in options]) != 1:
        yield problem("cron", "a schedule needs `cron`, `every` or `at`, one of them")
    for key, written in options.items():
        if isinstance(written, str) and "${{" in written:
            if fault := _expression_fault(written, config_fault):
                yield problem(key, f"`{key}`: {fault[0]}", fault[1])
            continue
        try:
            _READERS[key](written)
        except ValueError as error:
            yield problem(key, str(error), _hint(key, written))


def schedules_of(integration: Integration, config: Mapping[str, Any]) -> dict[str, Schedule]:
    """The schedules of an instance, those of its polling triggers among them, by flow. `SettingsError` names what its config makes wrong."""
    found = {}
    for flow in integration.flows.values():
        if flow.trigger.type == "schedule":
            found[flow.name] = schedule_of(flow, config)
        elif flow.trigger.every_s is not None:
            found[flow.name] = Schedule(every_s=flow.trigger.every_s)
    return found


def schedule_of(flow: Flow, config: Mapping[str, Any]) -> Schedule:
    """The schedule of a flow for an instance with this config. `SettingsError` says what is wrong with what that gives."""
    read: dict[str, Any] = {}
    for key, written in flow.trigger.options.items():
        try:
            read[_FIELD_OF[key]] = _READERS[key](_rendered(written, config))
        except ValueError as error:
            raise SettingsError(f"the schedule of flow {flow.name!r}: {error}", setting=f"flows.{flow.name}") from error
    if len([key for key in _WHEN if read.get(_FIELD_OF[key])]) != 1:
        raise SettingsError(
            f"the schedule of flow {flow.name!r} needs `cron`, `every` or `at`, one of them",
            setting=f"flows.{flow.name}",
        )
    if isinstance(read.get("at"), datetime):
        moment: datetime = read["at"]
        zone = ZoneInfo(read.get("timezone", "UTC"))
        read["at"] = (moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp()
    return Schedule(**read)


def cron_fault(cron: str) -> str:
    """What is wrong with a cron expression of five fields; empty if nothing is."""
    if len(cron) > _LONGEST:
        return f"cron: an expression has at most {_LONGEST} characters"
    fields = cron.split()
    if len(fields) != len(_FIELDS):
        return f"cron has five fields, {cron[:_SHOWN]!r} has {len(fields)}"
    for number, (written, (what, allowed)) in enumerate(zip(fields, _FIELDS, strict=True)):
        for part in written.split(","):
            if not _holds(" ".join(part if place == number else "*" for place in range(len(_FIELDS)))):
                return f"cron: {part[:_SHOWN]!r} is not a {what} ({allowed}, *, a-b, */n)"
    try:
        next(CronSim(cron, _PROBE))
    except (CronSimError, StopIteration):
        return f"cron: the time of {cron!r} never comes"
    return ""


def _holds(cron: str) -> bool:
    try:
        CronSim(cron, _PROBE)
    except (CronSimError, ValueError, AssertionError):  # a list in front of a step, or a number too long to be read
        return False
    return True


def _cron(written: Any) -> str:
    if fault := cron_fault(str(written)):
        raise ValueError(fault)
    return str(written)


def _every(written: Any) -> float:
    try:
        seconds = parse_duration(written)
    except ValueError as error:
        raise ValueError(f"`every`: {error}") from error
    if seconds < 1:
        raise ValueError("`every` must be a second or longer")
    if seconds > _LONGEST_EVERY_S:
        raise ValueError("`every` is at most 366 days")
    return seconds


def _at(written: Any) -> datetime:
    try:
        return datetime.fromisoformat(str(written))
    except ValueError as error:
        raise ValueError(
            f"`at`: {str(written)[:_SHOWN]!r} is not a time: write 2026-12-31T18:00, with +01:00 or Z where it is not meant in `timezone`"
        ) from error


def _zone(written: Any) -> str:
    try:
        ZoneInfo(str(written))
    except (ValueError, OSError, KeyError) as error:
        raise ValueError(f"there is no time zone {str(written)[:_SHOWN]!r}") from error
    return str(written)


def _jitter(written: Any) -> float:
    try:
        seconds = parse_duration(written)
    except ValueError as error:
        raise ValueError(f"`jitter`: {error}") from error
    if not math.isfinite(seconds) or seconds > 86400:
        raise ValueError("`jitter` is at most a day")
    return seconds


def _choice(key: str, kind: type[Missed] | type[Overlap]) -> Callable[[Any], Any]:
    def read(written: Any) -> Any:
        try:
            return kind(written)
        except ValueError as error:
            raise ValueError(f"`{key}` is one of {', '.join(kind)}, not {str(written)[:_SHOWN]!r}") from error

    return read


_READERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "cron": _cron,
    "every": _every,
    "at": _at,
    "timezone": _zone,
    "jitter": _jitter,
    "missed": _choice("missed", Missed),
    "overlap": _choice("overlap", Overlap),
}
_FIELD_OF: Final[Mapping[str, str]] = {
    **{key: key for key in ("cron", "at", "timezone", "missed", "overlap")},
    "every": "every_s",
    "jitter": "jitter_s",
}


def _hint(key: str, written: Any) -> str:
    match key:
        case "cron":
            return _CRON_HINT
        case "timezone":
            return hint_for(str(written), sorted(available_timezones()))
        case "missed" | "overlap":
            return hint_for(str(written), tuple(Missed if key == "missed" else Overlap))
    return ""


def _expression_fault(written: str, config_fault: ConfigFault) -> tuple[str, str] | None:
    """A message and a hint, if the expression cannot be evaluated when an instance is deployed."""
    try:
        compiled = compile_template(written)
    except ExpressionError as error:
        return error.reason or error.message, error.hint
    for root, *rest in sorted(compiled.references):
        if root == "config":
            fault = config_fault(rest)
            if fault is not None:
                return fault[0], fault[1]
        else:
            late = "a schedule is the same for all executions of an instance: it sees `config` alone"
            return f"nothing is called {root!r} here", late if root in _LATE else hint_for(root, ("config",))
    return None


def _rendered(written: Any, config: Mapping[str, Any]) -> Any:
    if not isinstance(written, str) or "${{" not in written:
        return written
    scope = Scope(roots={"config": Value(dict(config))}, now=0.0, unique=str)
    try:
        return compile_template(written).render(scope).load()
    except ExpressionError as error:
        raise ValueError(f"{written}: {error.reason or error.message}") from error
