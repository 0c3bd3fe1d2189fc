"""What Turnout wants to reach on the standard workloads, as judgements of measured rounds."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.workloads import Figures

__all__ = ["TARGETS", "Target"]

Rounds = Sequence[tuple[Figures, Figures]]
"""Of each round, the floor's figures and Turnout's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """`value` makes one number of one round; its median over the rounds is compared with `bound`."""

    workload: str
    title: str
    bound: float
    value: Callable[[Figures, Figures], float]
    at_least: bool = False
    unit: str = "×"

    def median(self, rounds: Rounds) -> float:
        return statistics.median(self.value(floor, turnout) for floor, turnout in rounds)

    def met(self, rounds: Rounds) -> bool:
        median = self.median(rounds)
        return median >= self.bound if self.at_least else median <= self.bound

    @property
    def wanted(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.bound:g} {self.unit}"


def _ratio(figure: str) -> Callable[[Figures, Figures], float]:
    return lambda floor, turnout: turnout[figure] / floor[figure]


TARGETS = (
    Target(workload="w1", title="W1 p50 ÷ floor", bound=3, value=_ratio("w1_p50_ms")),
    Target(workload="w1", title="W1 p50 ÷ floor, with pauses", bound=3, value=_ratio("w1_spaced_p50_ms")),
    Target(
        workload="w1",
        title="W1 throughput at 16",
        bound=20,
        value=lambda floor, turnout: turnout["w1_runs_per_s"],
        at_least=True,
        unit="runs/s",
    ),
    Target(workload="w2", title="W2 ÷ floor", bound=2, value=_ratio("w2_ms")),
    Target(workload="w2", title="W2 long ÷ floor", bound=2, value=_ratio("w2_long_ms")),
    Target(
        workload="w2",
        title="W2 cost of an item, long ÷ short",
        bound=1.1,
        value=lambda floor, turnout: turnout["w2_growth"],
    ),
    Target(
        workload="w3",
        title="W3 40 short steps, above floor",
        bound=15,
        value=lambda floor, turnout: turnout["w3_short_ms"] - floor["w3_short_ms"],
        unit="ms",
    ),
    Target(workload="w3", title="W3 10 long steps ÷ floor", bound=1.15, value=_ratio("w3_long_ms")),
    Target(workload="w4", title="W4 ÷ floor", bound=4, value=_ratio("w4_ms")),
)
