"""The part of the grammar that says when a flow is started by the clock."""

from __future__ import annotations

from typing import Final

from turnout.definition.shapes import Choice, Duration, Key, Shape, Text
from turnout.model.schedule import Missed, Overlap

__all__ = ["SCHEDULE"]

SCHEDULE: Final = Shape(
    "`schedule`",
    (
        Key(name="cron", type=Text(), doc="Five fields: minute, hour, day of month, month, day of week."),
        Key(name="every", type=Duration(expression=True), doc="The time from one start to the next."),
        Key(name="at", type=Text(), doc="One moment: `2026-12-31T18:00`, in `timezone` unless it ends with an offset."),
        Key(
            name="timezone",
            type=Text(),
            doc="An IANA name such as `Europe/Berlin`, for `cron` and `at`; UTC unless said.",
        ),
        Key(
            name="missed",
            type=Choice(tuple(Missed), "missed"),
            doc="What becomes of starts that nothing could make in time: `skip` them, `once` for all of them, or `all`; `once` unless said.",
        ),
        Key(
            name="overlap",
            type=Choice(tuple(Overlap), "overlap"),
            doc="Whether a start is left out (`skip`) while the execution before it runs; `allow` unless said.",
        ),
        Key(
            name="jitter",
            type=Duration(),
            doc="Each instance starts up to so much later, always by the same, so that not all start at once.",
        ),
    ),
)
