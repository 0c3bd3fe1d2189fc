"""What executions cost on each target, in dollars a month, and how long those on Lambda take: arithmetic on values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from turnout.deploy.advice.prices import Prices
from turnout.deploy.advice.workload import Workload, quantile

__all__ = ["LambdaShape", "TaskShape", "calls_usd", "lambda_latency_s", "lambda_usd", "task_usd_per_h"]

_CHUNK_BYTES: Final = 64 * 1024
"""SQS counts each 64 KB of a message as a request."""
_REQUESTS: Final = 3
"""A message is sent, received and deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LambdaShape:
    """A function: `cold_s` is what a cold start takes, and is paid for; `cold_share` how many calls have one; `hop_s` the time from
    sending a message to the function's start."""

    memory_gb: float = 1.0
    arm: bool = False
    cold_s: float = 1.5
    cold_share: float = 0.01
    hop_s: float = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskShape:
    """A Fargate task, which runs `concurrency` executions at once."""

    vcpu: float = 1.0
    memory_gb: float = 2.0
    arm: bool = False
    concurrency: int = 8


def calls_usd(prices: Prices, shape: LambdaShape, *, calls: float, seconds: float) -> float:
    """What calls of a function cost that take `seconds` each, cold starts beside them."""
    gb_s = prices.lambda_arm_per_gb_s if shape.arm else prices.lambda_x86_per_gb_s
    billed_s = seconds + shape.cold_share * shape.cold_s
    return calls * (prices.lambda_requests_per_million / 1e6 + billed_s * shape.memory_gb * gb_s)


def lambda_usd(prices: Prices, shape: LambdaShape, workload: Workload, *, functions: int) -> float:
    """A month in which each execution is `functions` functions, one after the other, each called over SQS."""
    calls = workload.executions_per_month * functions
    chunks = max(1, math.ceil(workload.payload_bytes / _CHUNK_BYTES))
    # A message is sent and received in chunks; its deletion names it alone.
    requests = calls * ((_REQUESTS - 1) * chunks + 1)
    messages = requests * prices.sqs_requests_per_million / 1e6
    return messages + calls_usd(prices, shape, calls=calls, seconds=workload.mean_s / functions)


def lambda_latency_s(shape: LambdaShape, workload: Workload, share: float, *, functions: int) -> float:
    """The time that `share` of executions do not exceed, as the sum of each part's own: the work, a hop a function, and as many
    cold starts as `share` of executions do not exceed, each function's being independent of the others'."""
    cold = _binomial_quantile(functions, shape.cold_share, share)
    return quantile(workload.durations_s, share) + functions * shape.hop_s + cold * shape.cold_s


def task_usd_per_h(prices: Prices, shape: TaskShape) -> float:
    vcpu = prices.fargate_arm_per_vcpu_h if shape.arm else prices.fargate_x86_per_vcpu_h
    gb = prices.fargate_arm_per_gb_h if shape.arm else prices.fargate_x86_per_gb_h
    return shape.vcpu * vcpu + shape.memory_gb * gb


def _binomial_quantile(tries: int, chance: float, share: float) -> int:
    total = 0.0
    for hits in range(tries + 1):
        total += math.comb(tries, hits) * chance**hits * (1 - chance) ** (tries - hits)
        if total >= share:
            return hits
    return tries
