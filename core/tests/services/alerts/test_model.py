"""Any sequence of events, repeated, out of order, in batches, taken by processes that begin anew in between, beside looks and the
passing of time: each rule has the same incidents as a model that knows nothing of catalogs, revisions and messages."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st
from turnout.config import AlertKind, AlertRule
from turnout.interfaces.service import Delivery, Invocation
from turnout.model.execution import ErrorInfo
from turnout.services.alerts.incidents import Alert

from core.tests.services.alerts.alert_yard import AlertYard, ended, failed, info_of, logged

T = 1_700_000_000.0
QUIET_S = 900.0
RULES = {
    "failed": AlertRule(channels=("ops",), throttle_s=0),
    "often": AlertRule(channels=("ops",), throttle_s=0, at_least=3, of=5),
    "slow": AlertRule(kind=AlertKind.DURATION, longer_than_s=60, channels=("ops",), throttle_s=0),
    "dead": AlertRule(kind=AlertKind.DEAD_LETTER, channels=("ops",), throttle_s=0),
    "logs": AlertRule(kind=AlertKind.LOG, channels=("ops",), throttle_s=0, resolve_after_s=QUIET_S),
}
FLOWS = ("import", "export")


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """An execution's end, and what it logged before. A resumed one has several ends."""

    id: int
    flow: str
    at: int
    how: str

    @property
    def deliveries(self) -> Sequence[Delivery]:
        info = info_of(f"e{self.id}", T + 1000.0 * self.id % 7, flow=self.flow)
        at = info.created_at + (61.0 + self.at if self.how == "slow" else 1.0 + self.at / 100)
        error = {"bad": failed(), "dead": ErrorInfo(kind="dead_letter", message="given up")}.get(self.how)
        if self.how == "log":
            return [logged(info, at, "no", id=f"log {self}")]
        return [ended(info, at, error=error)]


@dataclass
class Model:
    """One rule over one flow. `seen` is the newest of each cause."""

    rule: str
    seen: dict[str, tuple[float, bool]] = field(default_factory=dict)
    cleared: tuple[float, str] | None = None
    opened: list[float] = field(default_factory=list)
    open: bool = False
    last_s: float = 0.0

    def take(self, marks: Iterable[tuple[float, str, bool]], now: float) -> None:
        for at, cause, bad in sorted(marks):
            if self.seen.get(cause, (-1.0, False)) >= (at, bad):
                continue
            self.seen[cause] = (at, bad)
            if bad and self._counts(at, cause):
                self.last_s = now
            held = self._bad()
            if len(held) >= RULES[self.rule].at_least and not self.open:
                self.open = True
                self.opened.append(held[0])
                self.last_s = now
            elif len(held) < RULES[self.rule].at_least and self.open:
                self._close()

    def look(self, now: float) -> None:
        if self.open and self.rule == "logs" and now >= self.last_s + QUIET_S:
            self._close()

    def _close(self) -> None:
        self.open = False
        self.cleared = max((at, cause) for cause, (at, _) in self.seen.items())

    def _counts(self, at: float, cause: str) -> bool:
        return self.cleared is None or (at, cause) > self.cleared

    def _bad(self) -> list[float]:
        counted = sorted((at, cause, bad) for cause, (at, bad) in self.seen.items() if self._counts(at, cause))
        if self.rule not in ("logs", "dead"):
            counted = counted[-RULES[self.rule].of :]
        return [at for at, _, bad in counted if bad]


def marks_for(rule: str, one: Happened) -> Iterable[tuple[float, str, bool]]:
    [delivery] = one.deliveries
    cause, at = delivery.info.id, delivery.event.at
    if (rule == "logs") != (one.how == "log"):
        return []
    bad = {
        "failed": one.how in ("bad", "dead"),
        "often": one.how in ("bad", "dead"),
        "slow": at > delivery.info.created_at + 60,
        "dead": one.how == "dead",
        "logs": True,
    }[rule]
    return [(at, delivery.id if rule == "logs" else cause, bad)]


HAPPENED = st.builds(
    Happened,
    id=st.integers(0, 7),
    flow=st.just("import"),
    at=st.integers(0, 20),
    how=st.sampled_from(["good", "bad", "bad", "slow", "dead", "log"]),
).map(lambda one: Happened(id=one.id, flow=FLOWS[one.id % 2], at=one.at, how=one.how))
STEP = st.one_of(
    st.lists(HAPPENED, min_size=1, max_size=4),
    st.sampled_from(["look", "restart", "wait", "again"]),
)


async def both(steps: Sequence[list[Happened] | str]) -> tuple[AlertYard, dict[tuple[str, str], Model]]:
    yard = AlertYard(rules=RULES)
    for id in range(8):  # whatever may be given up is there: nobody takes it out of the queue
        await yard.bury(f"e{id}")
    service = yard.service
    models = {(rule, flow): Model(rule) for rule in RULES for flow in FLOWS}
    batches: list[list[Happened]] = []
    for step in steps:
        if step == "restart":
            service = yard.another()[0]
        elif step == "wait":
            yard.clock.advance(400)
        elif step == "look":
            await service.look(Invocation())
            for model in models.values():
                model.look(yard.clock.now())
        else:
            batch = step if isinstance(step, list) else batches[0] if batches else []
            batches.append(batch)
            deliveries = [delivery for one in batch for delivery in one.deliveries]
            assert list(await service.handle(deliveries, Invocation())) == []
            for (rule, flow), model in models.items():
                marks = [mark for one in batch if one.flow == flow for mark in marks_for(rule, one)]
                model.take(marks, yard.clock.now())
    await yard.send()
    return yard, models


@settings(max_examples=300)
@given(st.lists(STEP, max_size=12))
def test_each_rule_has_the_incidents_of_the_model(steps: list[list[Happened] | str]) -> None:
    yard, models = asyncio.run(both(steps))

    alerts = {(alert.rule, alert.scope.flow): alert for alert in asyncio.run(_alerts(yard))}
    for key, model in models.items():
        alert = alerts.get(key)
        found = [] if alert is None else [past.opened_at for past in alert.past]
        if alert is not None and alert.incident is not None:
            found.append(alert.incident.opened_at)
        assert found == model.opened[-len(found) :] if len(model.opened) > 20 else found == model.opened
        assert (alert is not None and alert.incident is not None) == model.open
        sent = [one for one in yard.ops.sent if (one.details["rule"], one.details["flow"]) == key]
        assert len({one.id for one in sent}) == len(sent)
        phases = [one.phase.value for one in sent]
        assert phases.count("opened") == len(model.opened)
        assert phases.count("resolved") == len(model.opened) - model.open


async def _alerts(yard: AlertYard) -> list[Alert]:
    return await yard.alerts()


def test_of_two_ends_at_one_moment_the_bad_one_comes_last_however_they_are_handed_in() -> None:
    good, bad = (Happened(id=1, flow="export", at=0, how=how) for how in ("good", "bad"))
    before = Happened(id=3, flow="export", at=0, how="bad")

    for batch in ([good, bad], [bad, good]):
        yard, models = asyncio.run(both([[before], batch]))
        [alert] = [one for one in asyncio.run(_alerts(yard)) if one.rule == "failed"]
        assert (alert.incident is not None) == models["failed", "export"].open
