"""The targets beside each other, and the one that is recommended, with its reasons and what was assumed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from turnout.deploy.advice.costs import (
    LambdaShape,
    TaskShape,
    calls_usd,
    lambda_latency_s,
    lambda_usd,
    task_usd_per_h,
)
from turnout.deploy.advice.prices import Prices, PriceTable
from turnout.deploy.advice.scaling import DEFAULT_POLICY, Policy
from turnout.deploy.advice.simulation import Outcome, simulate
from turnout.deploy.advice.workload import DAY_S, MONTH_DAYS, Workload, quantile
from turnout.interfaces.deployment import ServiceShape

__all__ = ["TARGETS", "Advice", "Choice", "ServiceAdvice", "advise", "advise_service"]

TARGETS: Final = ("lambda-steps", "lambda", "ecs", "local")
_CALL_S: Final = 900.0
_SERVICE_S: Final = 0.1
"""What a call of a service beside the runner is taken to last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The runner on one target: dollars a month (None: a machine of one's own), the time from an execution's arrival to its end,
    and why it is so."""

    target: str
    usd_per_month: float | None
    p50_s: float
    p99_s: float
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceAdvice:
    service: str
    calls_per_month: float
    lambda_usd: float
    ecs_usd: float
    recommended: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """`within_s` is the p99 that was asked for."""

    choices: tuple[Choice, ...]
    recommended: str
    reason: str
    within_s: float
    assumptions: tuple[str, ...]


def advise(
    workload: Workload,
    table: PriceTable,
    *,
    function: LambdaShape | None = None,
    task: TaskShape | None = None,
    policy: Policy | None = None,
    within_s: float | None = None,
    seed: int = 1,
) -> Advice:
    """Compare the targets, and recommend the cheapest whose p99 is `within_s` (the work's own p99 and 10 s, if None), or the
    quickest if none is. `UserError` where SimPy is needed and missing."""
    function, task = function or LambdaShape(), task or TaskShape()
    # The default leaves as much of larger tasks free as of those it was chosen for.
    policy = policy or replace(
        DEFAULT_POLICY, target=DEFAULT_POLICY.target * task.concurrency / TaskShape().concurrency
    )
    outcome = simulate(workload, policy, task.concurrency, seed=seed)
    choices = (
        _on_lambda(workload, table.prices, function, "lambda-steps", workload.steps),
        _on_lambda(workload, table.prices, function, "lambda", 1),
        _on_ecs(workload, table.prices, task, outcome),
        _here(workload),
    )
    goal_s = quantile(workload.durations_s, 0.99) + 10 if within_s is None else within_s
    recommended, reason = _recommend(choices, goal_s, workload)
    return Advice(
        choices=choices,
        recommended=recommended,
        reason=reason,
        within_s=goal_s,
        assumptions=tuple(_assumptions(workload, table, function, task, policy, outcome)),
    )


def advise_service(shape: ServiceShape, workload: Workload, prices: Prices) -> ServiceAdvice:
    """A service beside the runner. On Lambda a timer is called once a minute at most, a consumer once an execution, and of the routes
    those of webhooks once an execution; on ECS it is a task of a quarter of a vCPU that is always there."""
    month_s = MONTH_DAYS * DAY_S
    timed = sum(month_s / max(60.0, timer.every_s) for timer in shape.timers)
    hooks = any(route.path.startswith("/hooks/") for route in shape.routes)
    calls = timed + workload.executions_per_month * (len(shape.consumers) + hooks)
    function = LambdaShape(memory_gb=0.5)
    on_lambda = calls_usd(prices, function, calls=calls, seconds=_SERVICE_S)
    on_lambda += timed * prices.scheduler_calls_per_million / 1e6
    on_lambda += 3 * workload.executions_per_month * len(shape.consumers) * prices.sqs_requests_per_million / 1e6
    on_ecs = task_usd_per_h(prices, TaskShape(vcpu=0.25, memory_gb=0.5)) * MONTH_DAYS * 24
    if shape.needs.long_lived:
        recommended, why = "ecs", "it works on between calls"
    elif shape.needs.call_s > _CALL_S:
        recommended, why = "ecs", "a call may take longer than Lambda lets it"
    elif on_lambda <= on_ecs:
        recommended, why = "lambda", "its calls cost less than a task that is always there"
    else:
        recommended, why = "ecs", "a task that is always there costs less than its calls"
    return ServiceAdvice(
        service=shape.name,
        calls_per_month=calls,
        lambda_usd=on_lambda,
        ecs_usd=on_ecs,
        recommended=recommended,
        why=why,
    )


def _on_lambda(workload: Workload, prices: Prices, function: LambdaShape, target: str, functions: int) -> Choice:
    many = f"{functions} functions an execution" if functions > 1 else "one function an execution"
    return Choice(
        target=target,
        usd_per_month=lambda_usd(prices, function, workload, functions=functions),
        p50_s=lambda_latency_s(function, workload, 0.5, functions=functions),
        p99_s=lambda_latency_s(function, workload, 0.99, functions=functions),
        why=f"{many}, each with a hop over SQS and perhaps a cold start",
    )


def _on_ecs(workload: Workload, prices: Prices, task: TaskShape, outcome: Outcome) -> Choice:
    task_h = outcome.task_h * DAY_S / outcome.span_s * MONTH_DAYS
    return Choice(
        target="ecs",
        usd_per_month=task_h * task_usd_per_h(prices, task),
        p50_s=quantile(workload.durations_s, 0.5) + outcome.wait_p50_s,
        p99_s=quantile(workload.durations_s, 0.99) + outcome.wait_p99_s,
        why=f"{task_h:,.0f} task-hours, at most {outcome.most_tasks} tasks; waits {outcome.wait_p50_s:.2g} s, p99 {outcome.wait_p99_s:.2g} s",
    )


def _here(workload: Workload) -> Choice:
    return Choice(
        target="local",
        usd_per_month=None,
        p50_s=quantile(workload.durations_s, 0.5),
        p99_s=quantile(workload.durations_s, 0.99),
        why="a machine of yours, not priced; no waiting where it is large enough",
    )


def _recommend(choices: Sequence[Choice], within_s: float, workload: Workload) -> tuple[str, str]:
    longest = max(workload.durations_s)
    priced = [
        (one.usd_per_month, one)
        for one in choices
        if one.usd_per_month is not None and (one.target == "ecs" or longest <= _CALL_S)
    ]
    excluded = f"; Lambda ends a call after 15 minutes, and one took {longest:,.0f} s" if longest > _CALL_S else ""
    quick = [pair for pair in priced if pair[1].p99_s <= within_s]
    if not quick:
        _, best = min(priced, key=lambda pair: pair[1].p99_s)
        return best.target, f"none has its p99 within {within_s:.3g} s; it is the quickest{excluded}"
    usd, best = min(quick, key=lambda pair: pair[0])
    others = ", ".join(f"{one.target} ${cost:,.2f}" for cost, one in priced if one is not best)
    compared = f" ({others})" if others else ""
    return best.target, f"the cheapest with its p99 within {within_s:.3g} s: ${usd:,.2f} a month{compared}{excluded}"


def _assumptions(
    workload: Workload, table: PriceTable, function: LambdaShape, task: TaskShape, policy: Policy, outcome: Outcome
) -> list[str]:
    how = "each execution simulated" if outcome.exact else "as a fluid, by expected numbers, not each execution"
    source = (
        f"{workload.recorded} recorded executions" if workload.recorded else "what was given, a day as offices have it"
    )
    replay = ", replayed as they came" if workload.arrivals_s and outcome.exact else ""
    return [
        f"list prices of {table.region} as looked up on {table.date}, without free tiers and discounts; stores, logs and network are not counted",
        f"{workload.executions_per_month:,.0f} executions a month of {workload.mean_s:.3g} s and {workload.steps} steps: {source}{replay}",
        f"Lambda: {function.memory_gb:g} GB, {function.cold_share:.0%} of calls cold for {function.cold_s:g} s, a hop over SQS {function.hop_s:g} s",
        (
            f"ECS: tasks of {task.vcpu:g} vCPU and {task.memory_gb:g} GB run {task.concurrency} at once, start in {policy.start_s:g} s; "
            f"{policy.target:g} executions a task, never fewer tasks than {policy.minimum}; {how}"
        ),
    ]
