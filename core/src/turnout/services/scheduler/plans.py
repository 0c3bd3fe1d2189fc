"""What is kept of a schedule, and what is to be done with it at a time: values, without a store or a clock."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final

from turnout.interfaces.catalog import CatalogStore
from turnout.model.schedule import Missed, Schedule
from turnout.services.documents import Documents
from turnout.services.scheduler.ticks import latest_tick, next_tick, offset_s, ticks

__all__ = ["KIND", "Decision", "Planned", "decide", "planned_in", "replanned"]

KIND: Final = "schedule"
GRACE_S: Final = 60.0
"""A tick that is started later than this was missed."""
_COUNTED: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """The document `schedule`: tenant is the customer, the name `<instance>/<flow>`.

    `since` is what intervals count from. Everything up to `last` is decided. `pending` is a tick that is being started since
    `pending_since`: whoever finds it starts it again, which is harmless. `execution` is the one of the newest tick that was
    started, `started`. `held` ones do nothing. `missed` and `skipped` count ticks that were left out. Where it `polls`, a tick is a
    look with the `cursor`, there is `more` to be looked for at once, and `failures` counts those since the last that went well;
    `not_before` is what the other side asked for then.
    """

    integration: str
    schedule: Schedule
    since: float
    last: float
    next: float | None
    held: bool = False
    pending: float | None = None
    pending_since: float = 0.0
    execution: str = ""
    started: float | None = None
    missed: int = 0
    skipped: int = 0
    trouble: str = ""
    polls: bool = False
    cursor: Any = None
    more: bool = False
    failures: int = 0
    not_before: float = 0.0

    def due(self, whose: str) -> float | None:
        """When somebody should look at it. `whose` it is, customer, instance and flow, says how much later than its time."""
        if self.held or self.next is None:
            return None
        if self.more:
            return self.last
        return self.next + offset_s(self.schedule, whose)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The tick to start now, or None; `last` is decided up to then, and `missed` ticks are left out by that."""

    tick: float | None
    last: float
    missed: int = 0


def planned_in(catalog: CatalogStore) -> Documents[Planned]:
    """The schedules of all customers."""
    return Documents(catalog, KIND, Planned)


def decide(planned: Planned, whose: str, now: float) -> Decision:
    """What to do with a schedule that is due."""
    if planned.more:
        return Decision(tick=planned.last, last=planned.last)
    schedule, until = planned.schedule, now - offset_s(planned.schedule, whose)
    newest = latest_tick(schedule, planned.last, until, since=planned.since)
    if newest is None:
        return Decision(tick=None, last=planned.last)
    if schedule.missed is Missed.ALL:
        first = next_tick(schedule, planned.last, since=planned.since)
        assert first is not None
        return Decision(tick=first, last=first)
    before = _count(planned, newest)
    if schedule.missed is Missed.SKIP and until - newest > GRACE_S:
        return Decision(tick=None, last=newest, missed=before + 1)
    return Decision(tick=newest, last=newest, missed=before)


def _count(planned: Planned, newest: float) -> int:
    """How many ticks lie between what is decided and the newest, as far as it is worth counting."""
    between = (tick for tick in ticks(planned.schedule, planned.last, since=planned.since))
    count = 0
    for tick in islice(between, _COUNTED):
        if tick >= newest:
            break
        count += 1
    return count


def replanned(planned: Planned, *, last: float, missed: int = 0) -> Planned:
    """The same, decided up to `last`, with the tick after that."""
    return replace(
        planned,
        last=last,
        next=next_tick(planned.schedule, last, since=planned.since),
        missed=planned.missed + missed,
        pending=None,
        pending_since=0.0,
    )
