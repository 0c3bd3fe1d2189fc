"""Executions that come, wait, and run on tasks that the scaling policy starts and stops: each one by SimPy, or as a fluid.

The fluid is for what is too many to simulate one by one. It counts executions in steps of time, by their expected numbers and with
durations as if exponential; what chance does within a step it does not see. A test compares both where both run.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from turnout.deploy.advice.scaling import Policy, Scaler
from turnout.deploy.advice.workload import DAY_S, Workload, quantile
from turnout.errors import UserError

if TYPE_CHECKING:
    import simpy

__all__ = ["MOST_EXACT", "Outcome", "poisson_arrivals", "simulate", "simulate_each", "simulate_fluid"]

MOST_EXACT: Final = 50_000
"""Executions a day that are simulated one by one."""
_BILLED_S: Final = 60.0
"""A task is paid for a minute at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """`task_h` are the hours that tasks were paid for in `span_s`, their starts included; `exact` says whether each execution was
    simulated."""

    wait_p50_s: float
    wait_p99_s: float
    task_h: float
    most_tasks: int
    executions: float
    span_s: float
    exact: bool


def simulate(workload: Workload, policy: Policy, concurrency: int, *, seed: int = 1) -> Outcome:
    """A day of the workload, or what was recorded of it, one by one up to `MOST_EXACT` executions, as a fluid above. `UserError`
    where SimPy is needed and missing."""
    if workload.executions_per_month / 30 > MOST_EXACT:
        return simulate_fluid(workload, policy, concurrency)
    chance = random.Random(seed)  # noqa: S311  # nobody is to be kept from guessing it
    arrivals = workload.arrivals_s or tuple(poisson_arrivals(workload, DAY_S, chance))
    span_s = max(DAY_S, arrivals[-1] if arrivals else 0.0)
    durations = (chance.choice(workload.durations_s) for _ in arrivals)
    return simulate_each(arrivals, durations, policy, concurrency, span_s=span_s)


def poisson_arrivals(workload: Workload, span_s: float, chance: random.Random) -> Iterator[float]:
    """Seconds at which executions come by chance, at the workload's rate of each minute."""
    start = 0.0
    while start < span_s:
        end, rate = min(start + 60.0, span_s), workload.rate(start)
        at = start
        while rate > 0 and (at := at + chance.expovariate(rate)) < end:
            yield at
        start = end


def simulate_each(
    arrivals: Sequence[float], durations: Iterable[float], policy: Policy, concurrency: int, *, span_s: float
) -> Outcome:
    """Simulate every execution until `span_s`, and what is left until it has begun."""
    try:
        import simpy
    except ModuleNotFoundError as error:
        raise UserError("the simulation needs SimPy: pip install 'turnout[advise]'") from error
    fleet = _Fleet(simpy.Environment(), policy, concurrency)
    fleet.env.process(fleet.arrive(arrivals, durations))
    fleet.env.process(fleet.scale())
    fleet.env.run(until=span_s)
    while fleet.waiting:
        fleet.env.run(until=fleet.env.now + policy.look_s)
    paid_s = fleet.paid_s + sum(max(_BILLED_S, fleet.env.now - task.started_s) for task in fleet.tasks)
    return Outcome(
        wait_p50_s=quantile(fleet.waits, 0.5),
        wait_p99_s=quantile(fleet.waits, 0.99),
        task_h=paid_s / 3600,
        most_tasks=fleet.most,
        executions=len(fleet.waits),
        span_s=span_s,
        exact=True,
    )


@dataclass(slots=True, kw_only=True, eq=False)
class _Task:
    started_s: float
    running: int = 0
    draining: bool = False


@dataclass(slots=True)
class _Fleet:
    """The tasks and the queue before them. A slot of a task that drains is passed over when it comes up."""

    env: simpy.Environment
    policy: Policy
    concurrency: int
    tasks: list[_Task] = field(default_factory=list)
    slots: list[_Task] = field(default_factory=list)
    waiting: deque[tuple[float, float]] = field(default_factory=deque)
    waits: list[float] = field(default_factory=list)
    running: int = 0
    paid_s: float = 0.0
    most: int = 0

    def arrive(self, arrivals: Iterable[float], durations: Iterable[float]) -> Generator[simpy.Event, Any, None]:
        for at, takes_s in zip(arrivals, durations, strict=True):
            yield self.env.timeout(at - self.env.now)
            self.waiting.append((at, takes_s))
            self.hand_out()

    def scale(self) -> Generator[simpy.Event, Any, None]:
        scaler = Scaler(self.policy)
        for _ in range(self.policy.minimum):
            self.ready(self.new_task())
        while True:
            alive = [task for task in self.tasks if not task.draining]
            desired = scaler.desired(self.env.now, len(self.waiting) + self.running, len(alive))
            for _ in range(desired - len(alive)):
                self.env.process(self.start(self.new_task()))
            for task in alive[desired:]:
                task.draining = True
                self.end_if_idle(task)
            yield self.env.timeout(self.policy.look_s)

    def new_task(self) -> _Task:
        task = _Task(started_s=self.env.now)
        self.tasks.append(task)
        self.most = max(self.most, len(self.tasks))
        return task

    def start(self, task: _Task) -> Generator[simpy.Event, Any, None]:
        yield self.env.timeout(self.policy.start_s)
        if not task.draining:
            self.ready(task)

    def ready(self, task: _Task) -> None:
        self.slots += [task] * self.concurrency
        self.hand_out()

    def hand_out(self) -> None:
        while self.waiting and self.slots:
            task = self.slots.pop()
            if task.draining:
                continue
            came, takes_s = self.waiting.popleft()
            self.waits.append(self.env.now - came)
            task.running += 1
            self.running += 1
            self.env.process(self.run(task, takes_s))

    def run(self, task: _Task, takes_s: float) -> Generator[simpy.Event, Any, None]:
        yield self.env.timeout(takes_s)
        task.running -= 1
        self.running -= 1
        self.slots.append(task)
        self.end_if_idle(task)
        self.hand_out()

    def end_if_idle(self, task: _Task) -> None:
        if task.draining and not task.running:
            self.tasks.remove(task)
            self.paid_s += max(_BILLED_S, self.env.now - task.started_s)


def simulate_fluid(
    workload: Workload, policy: Policy, concurrency: int, *, span_s: float = DAY_S, step_s: float = 2.0
) -> Outcome:
    """The same by expected numbers, in steps of `step_s`: its effort does not grow with the number of executions."""
    scaler = Scaler(policy)
    ended = 1 - math.exp(-step_s / workload.mean_s)
    first = workload.rate(60.0) * workload.mean_s  # a day before was like this one
    tasks = most = max(policy.minimum, math.ceil(first / policy.target))
    starting: deque[tuple[float, int]] = deque()
    waiting: deque[list[float]] = deque()
    waits: dict[float, float] = {}
    running = first
    queued = paid_s = now_s = look_at = 0.0
    while now_s < span_s:
        while starting and starting[0][0] <= now_s:
            tasks += starting.popleft()[1]
        if now_s >= look_at:
            look_at += policy.look_s
            all_tasks = tasks + sum(count for _, count in starting)
            desired = scaler.desired(now_s, queued + running, all_tasks)
            if desired > all_tasks:
                starting.append((now_s + policy.start_s, desired - all_tasks))
            tasks -= max(0, min(tasks - policy.minimum, all_tasks - desired))
            most = max(most, desired)
        came = workload.rate(now_s) * step_s
        waiting.append([now_s, came])
        queued += came
        running -= running * ended
        # What comes is spread over the step; of its own arrivals a share has ended by its end.
        begin = min(queued, max(0.0, tasks * concurrency - running))
        running += begin * (1 - ended / 2)
        queued -= begin
        _begin(waiting, begin, now_s, waits)
        paid_s += step_s * (tasks + sum(count for _, count in starting))
        now_s += step_s
    for at, count in waiting:
        waits[now_s - at] = waits.get(now_s - at, 0.0) + count
    return Outcome(
        wait_p50_s=_weighted(waits, 0.5),
        wait_p99_s=_weighted(waits, 0.99),
        task_h=paid_s / 3600,
        most_tasks=most,
        executions=sum(waits.values()),
        span_s=span_s,
        exact=False,
    )


def _begin(waiting: deque[list[float]], count: float, now_s: float, waits: dict[float, float]) -> None:
    """Take so many from the head of the queue, and note how long they waited."""
    while waiting and count > 0:
        at, there = waiting[0]
        taken = min(there, count)
        waits[now_s - at] = waits.get(now_s - at, 0.0) + taken
        count -= taken
        if taken < there:
            waiting[0][1] = there - taken
        else:
            waiting.popleft()


def _weighted(waits: dict[float, float], share: float) -> float:
    left = share * sum(waits.values())
    for wait in sorted(waits):
        left -= waits[wait]
        if left <= 0:
            return wait
    return max(waits, default=0.0)
