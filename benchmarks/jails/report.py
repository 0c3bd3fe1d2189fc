"""What was found, beside what is wanted."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from benchmarks.jails.figures import Figures, Sizes
from benchmarks.report import machine, span, table

__all__ = ["FLOOR", "Results", "as_json", "as_text"]

FLOOR: Final = "bare node"
_PROCESS: Final = "process"
_HEADINGS: Final = {
    "small_p50_ms": "1 KB, p50, ms",
    "small_p99_ms": "1 KB, p99, ms",
    "medium_ms": "100 KB, ms",
    "large_ms": "10 MB in and out, ms",
    "steps_ms": "six steps of one execution, ms",
    "fresh_cpu_ms": "a fresh one's CPU, ms",
    "fresh_per_s": "fresh ones a second of a core",
    "idle_mb": "an idle one, MB PSS",
    "reused_per_s": "used again, jobs a second of a core",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    """`value` makes one number of a round's figures, the sandbox's and the floor's; its median is compared with `bound`."""

    title: str
    figure: str
    bound: float
    unit: str
    at_least: bool = False
    relative: bool = False

    def value(self, ours: Figures, floor: Figures) -> float:
        return ours[self.figure] / floor[self.figure] if self.relative else ours[self.figure]

    def met(self, values: Sequence[float]) -> bool:
        median = statistics.median(values)
        return median >= self.bound if self.at_least else median <= self.bound

    @property
    def wanted(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.bound:g} {self.unit}"


_TARGETS: Final = (
    _Target(title="warm dispatch to result, 1 KB, p50", figure="small_p50_ms", bound=1.5, unit="ms"),
    _Target(title="warm dispatch to result, 1 KB, p99", figure="small_p99_ms", bound=10, unit="ms"),
    _Target(title="100 KB", figure="medium_ms", bound=3, unit="ms"),
    _Target(title="10 MB in and out", figure="large_ms", bound=250, unit="ms"),
    _Target(title="a fresh jail's CPU ÷ node -e 0", figure="fresh_cpu_ms", bound=1.8, unit="×", relative=True),
    _Target(title="fresh jails", figure="fresh_per_s", bound=22, unit="a second of a core", at_least=True),
    _Target(title="an idle jail", figure="idle_mb", bound=13, unit="MB PSS"),
    _Target(title="six code steps of one execution", figure="steps_ms", bound=10, unit="ms"),
    _Target(title='reuse = "tenant"', figure="reused_per_s", bound=2000, unit="jobs a second of a core", at_least=True),
)


@dataclass(slots=True, kw_only=True)
class Results:
    """Of each round, the figures by the side's name."""

    sizes: Sizes
    rounds: list[dict[str, Figures]] = field(default_factory=list)

    def of(self, side: str, value: Callable[[Figures, Figures], float]) -> list[float]:
        return [value(figures[side], figures[FLOOR]) for figures in self.rounds]

    @property
    def sides(self) -> list[str]:
        return list(self.rounds[0])


def _figures(results: Results) -> list[tuple[str, ...]]:
    return [
        (heading, *(_cell(results, side, figure) for side in results.sides)) for figure, heading in _HEADINGS.items()
    ]


def _cell(results: Results, side: str, figure: str) -> str:
    if figure not in results.rounds[0][side]:
        return ""
    return span(results.of(side, lambda ours, _: ours[figure]))


def _judged(results: Results) -> list[tuple[str, str, str, str, str]]:
    rows = []
    for target in _TARGETS:
        for side in results.sides:
            if side not in (FLOOR, _PROCESS) and target.figure in results.rounds[0][side]:
                values = results.of(side, target.value)
                rows.append(
                    (target.title, target.wanted, side, span(values), "met" if target.met(values) else "MISSED")
                )
    return rows


def as_text(results: Results) -> str:
    """The report as Markdown."""
    how = (
        f"Median (range) of {len(results.rounds)} interleaved rounds; ratios within a round. Every result was compared with what "
        "it must be. *bare node* is the same program without a sandbox: a process that has long been hot where it answers "
        "(JSON read and written over a socketpair), `node -e 0` where it starts, an empty timer where it is idle. A second of "
        "a core is one of processor time, the supervisor's and the processes' together."
    )
    facts = "\n".join(f"- {name}: {value}" for name, value in machine().items())
    return "\n\n".join(
        (
            how,
            facts,
            table(("figure", *results.sides), _figures(results)),
            table(("target", "wanted", "sandbox", "got", ""), _judged(results)),
        )
    )


def as_json(results: Results) -> dict[str, Any]:
    """The same for programs, with every round's figures."""
    headings = ("target", "wanted", "sandbox", "got", "verdict")
    return {
        "machine": machine(),
        "rounds": results.rounds,
        "targets": [dict(zip(headings, row, strict=True)) for row in _judged(results)],
    }
