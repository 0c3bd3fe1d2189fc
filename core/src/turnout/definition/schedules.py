"""Schedules: cron's five fields, intervals, time zones."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from turnout.definition.nearest import hint_for
from turnout.definition.places import Places, Way
from turnout.errors import Problem
from turnout.model.definition import Flow
from turnout.model.duration import parse_duration

__all__ = ["cron_fault", "schedule_faults"]

_FIELDS: Final = (("minute", 0, 59), ("hour", 0, 23), ("day of month", 1, 31), ("month", 1, 12), ("day of week", 0, 7))
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_PART: Final = re.compile(r"(?:\*|([0-9]{1,2}|[a-z]{3})(?:-([0-9]{1,2}|[a-z]{3}))?)(?:/([0-9]{1,2}))?\Z")


def schedule_faults(flow: Flow, places: Places) -> Iterator[Problem]:
    """The problems of a flow's schedule, if it has one."""
    if flow.trigger.type != "schedule":
        return
    options = flow.trigger.options

    def problem(key: str, message: str, hint: str = "") -> Problem:
        ways: tuple[Way, ...] = (("trigger", "schedule", key), ("trigger", "schedule"), ("trigger",))
        return places.problem(f"flow {flow.name!r}: {message}", below=flow, ways=ways, hint=hint)

    if ("cron" in options) == ("every" in options):
        yield problem("cron", "a schedule needs `cron` or `every`, one of them")
    if "cron" in options and (fault := cron_fault(str(options["cron"]))):
        yield problem("cron", fault, "minute, hour, day of month, month, day of week: `0 6 * * 1-5`")
    if "every" in options and (fault := _interval_fault(options["every"])):
        yield problem("every", fault)
    zone = options.get("timezone")
    if zone is not None and not _is_zone(str(zone)):
        yield problem("timezone", f"there is no time zone {zone!r}", hint_for(str(zone), sorted(available_timezones())))


def cron_fault(cron: str) -> str:
    """What is wrong with a cron expression of five fields; empty if nothing is."""
    fields = cron.lower().split()
    if len(fields) != len(_FIELDS):
        return f"cron has five fields, {cron!r} has {len(fields)}"
    for written, (what, low, high) in zip(fields, _FIELDS, strict=True):
        for part in written.split(","):
            if not _part_holds(part, what, low, high):
                return f"cron: {part!r} is not a {what} ({low} to {high}, *, a-b, */n)"
    return ""


def _part_holds(part: str, what: str, low: int, high: int) -> bool:
    match = _PART.match(part)
    if match is None:
        return False
    first, last, step = match.groups()
    ends = [_number(text, what) for text in (first, last) if text is not None]
    if any(end is None or not low <= end <= high for end in ends):
        return False
    known = [end for end in ends if end is not None]
    return known == sorted(known) and (step is None or int(step) > 0)


def _number(text: str, what: str) -> int | None:
    names = {"month": _MONTHS, "day of week": _DAYS}.get(what, ())
    if text in names:
        return names.index(text) + (what == "month")
    return int(text) if text.isdigit() else None


def _interval_fault(every: object) -> str:
    try:
        return "" if parse_duration(every) >= 1 else "`every` must be a second or longer"
    except ValueError as error:
        return f"`every`: {error}"


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        return False
    return True
