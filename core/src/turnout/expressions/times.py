"""Times in expressions: ISO 8601 text in UTC with milliseconds, or seconds since the epoch. No locale, no patterns."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from turnout.expressions.faults import Refusal
from turnout.values import type_name

__all__ = ["add", "epoch", "formatted", "iso", "parsed"]

_CODES: Final = frozenset("YmdHMSfjyaAbBpIzZGVu%")
"""strftime codes that mean the same on every platform."""

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_DURATION: Final = re.compile(r"(\d{1,12}(?:\.\d{1,9})?)(ms|s|m|h|d|w)")
_MAX_CHARACTERS: Final = 200


def iso(seconds: float) -> str:
    """Seconds since the epoch as ISO 8601 text in UTC with milliseconds. `Refusal` outside the years 1 to 9999."""
    return _iso(_moment(seconds))


def epoch(time: Any) -> float:
    """A time as seconds since the epoch, whole ones as an integer."""
    seconds = _moment(time).timestamp()
    return int(seconds) if seconds.is_integer() else seconds


def add(time: Any, duration: Any) -> str:
    """The time moved by the duration, as ISO 8601 text."""
    try:
        return _iso(_moment(time) + timedelta(seconds=_seconds(duration)))
    except OverflowError as error:
        raise Refusal("the time is outside the years 1 to 9999") from error


def formatted(time: Any, form: Any, zone: Any = "UTC") -> str:
    """The time as text in the zone."""
    try:
        return _moment(time).astimezone(_zone(zone)).strftime(_format(form))
    except (OverflowError, ValueError) as error:
        raise Refusal("the time is outside what can be written in that format") from error


def parsed(value: Any, form: Any, zone: Any = "UTC") -> str:
    """Text read by the format, as ISO 8601 text."""
    codes = _format(form)
    try:
        moment = datetime.strptime(_text(value, "the text"), codes)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=_zone(zone))
        return _iso(moment.astimezone(UTC))
    except (OverflowError, ValueError) as error:
        raise Refusal(f"the text is not a time in the format {codes!r}") from error


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def _moment(time: Any) -> datetime:
    """The time in UTC. Text without an offset is in UTC."""
    try:
        if isinstance(time, int | float) and not isinstance(time, bool):
            return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=time)
        moment = datetime.fromisoformat(_text(time, "a time"))
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise Refusal("a time must be ISO 8601 text or seconds since the epoch, in the years 1 to 9999") from error


def _seconds(duration: Any) -> float:
    if isinstance(duration, int | float) and not isinstance(duration, bool):
        return float(duration)
    written = _text(duration, "a duration")
    sign, rest = (-1.0, written[1:]) if written[:1] == "-" else (1.0, written)
    parts = _DURATION.findall(rest)
    if not parts or "".join(number + unit for number, unit in parts) != rest:
        raise Refusal("a duration must be seconds or text such as `90s`, `1h30m`, `-2d`")
    return sign * sum(float(number) * _UNITS[unit] for number, unit in parts)


def _format(form: Any) -> str:
    codes = _text(form, "the format")
    for position, code in enumerate(codes.replace("%%", "  ").split("%")):
        if position and code[:1] not in _CODES:
            raise Refusal(f"unknown code %{code[:1]} in the format", hint=f"there are: %{', %'.join(sorted(_CODES))}")
    return codes


def _zone(name: Any) -> ZoneInfo:
    try:
        return ZoneInfo(_text(name, "the zone"))
    except (KeyError, ValueError, OSError) as error:
        raise Refusal(
            f"unknown time zone {str(name)[:60]!r}", hint="write an IANA name such as Europe/Berlin"
        ) from error


def _text(data: Any, what: str) -> str:
    if not isinstance(data, str):
        raise Refusal(f"{what} must be text, not {type_name(data)}")
    if len(data) > _MAX_CHARACTERS:
        raise Refusal(f"{what} is longer than {_MAX_CHARACTERS} characters")
    return data
