"""When a flow should have run: by its schedule, or as a rule expects it. Asks no scheduler, whose silence it is there to notice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

from turnout.config import AlertRule
from turnout.model.duration import parse_duration
from turnout.services.alerts.incidents import Scope
from turnout.services.alerts.rules import fits
from turnout.services.submission import Instance

__all__ = ["Expected", "expected_of"]

_SKEW_S: Final = 1.0
"""What two machines' clocks may differ by: a run that began this much too early is the one that was expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """A flow that should run again and again: `every_s` after the last time, or by `cron` in `timezone`."""

    scope: Scope
    every_s: float | None = None
    cron: str = ""
    timezone: str = "UTC"

    @property
    def schedule(self) -> str:
        """The same as long as it is the same schedule."""
        return f"every {self.every_s:g} s" if self.every_s is not None else f"{self.cron} {self.timezone}"

    def after(self, at: float) -> float:
        """When it should run next, after a run at `at`."""
        if self.every_s is not None:
            return at + self.every_s
        from cronsim import CronSim

        moment = datetime.fromtimestamp(at + _SKEW_S, ZoneInfo(self.timezone))
        return next(CronSim(self.cron, moment)).astimezone(UTC).timestamp()


def expected_of(rule: AlertRule, instance: Instance) -> Iterator[Expected]:
    """The flows of an instance that the rule expects to run."""
    for flow in instance.integration.flows.values():
        scope = Scope(
            customer=instance.tenant, integration=instance.integration.name, instance=instance.name, flow=flow.name
        )
        if not fits(rule, scope):
            continue
        options = flow.trigger.options
        if rule.expect_s is not None:
            yield Expected(scope=scope, every_s=rule.expect_s)
        elif flow.trigger.type == "schedule" and "every" in options:
            yield Expected(scope=scope, every_s=parse_duration(options["every"]))
        elif flow.trigger.type == "schedule" and "cron" in options:
            yield Expected(scope=scope, cron=str(options["cron"]), timezone=str(options.get("timezone", "UTC")))
