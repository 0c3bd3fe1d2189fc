"""W5, the queue alone, beside SAQ and Celery on the same Redis: `python -m benchmarks.queues.w5`, or `make bench-queue`.

    --quick     a small round: a look, not a measurement
    --record    put the report into benchmarks/RESULTS.md

The sides take turns within a round, and who goes first changes from round to round. Each side has one worker process.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from turnout_ecs.testing.servers import RedisServer

from benchmarks.queues import sides
from benchmarks.queues.sides import Drained, Side
from benchmarks.report import machine, span, table, write_between
from benchmarks.systems import Failed

BUSY_S = 0.005
"""How long each of the noisy tenant's executions occupies the worker."""

NOISY = 10_000

BIG_BYTES = 10_000_000
_SLOW_US = 500
"""Commands that hold up the server for longer are looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    rounds: int = 5
    drained: int = 10_000
    peers_drained: int = 3_000
    dispatched: int = 300
    modest: int = 100
    big: int = 20


QUICK = Sizes(rounds=1, drained=2_000, peers_drained=500, dispatched=50, modest=20, big=3)


@dataclass(slots=True)
class Measured:
    """Of one side, a figure a round."""

    per_s: list[float] = field(default_factory=list)
    p50_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)

    def add(self, drained: Drained, dispatched: Drained) -> None:
        self.per_s.append(len(drained.ms) / drained.s)
        self.p50_ms.append(statistics.median(dispatched.ms))
        self.p99_ms.append(_p99(dispatched.ms))


@dataclass(slots=True)
class Results:
    sides: dict[str, Measured] = field(default_factory=dict)
    modest_ms: list[float] = field(default_factory=list)
    bound_ms: list[float] = field(default_factory=list)
    passing_p99_ms: list[float] = field(default_factory=list)
    slowest_us: list[float] = field(default_factory=list)


def _p99(values: Sequence[float]) -> float:
    return sorted(values)[int(len(values) * 0.99)]


def measure(server: RedisServer, work: Path, python: str, sizes: Sizes, say: Callable[[str], None]) -> Results:
    results = Results()
    queue = sides.turnout_queue(server.url)
    compared = [
        queue,
        sides.turnout_executions(work / "project", server.url),
        sides.saq(python, server.url),
        sides.celery(python, server.url),
    ]
    for number in range(sizes.rounds):
        turn = number % len(compared)
        for side in (*compared[turn:], *compared[:turn]):
            server.command("FLUSHALL")
            count = sizes.drained if side is queue else sizes.peers_drained
            drained = side.drain(count)
            server.command("FLUSHALL")
            dispatched = side.dispatch(sizes.dispatched, pause_s=0.01)
            measured = results.sides.setdefault(side.name, Measured())
            measured.add(drained, dispatched)
            say(f"round {number + 1}: {side.name} {measured.per_s[-1]:.0f}/s, dispatch {measured.p50_ms[-1]:.2f} ms")
        server.command("FLUSHALL")
        modest = _beside_noise(queue, sizes)
        results.modest_ms.append(_p99(modest.ms))
        results.bound_ms.append(2 * results.sides[queue.name].p99_ms[-1] + _p99(modest.busy_ms))
        server.command("FLUSHALL")
        dispatched, slowest_us = _beside_big_payload(server, work / "big", queue, sizes)
        results.passing_p99_ms.append(_p99(dispatched.ms))
        results.slowest_us.append(slowest_us)
    return results


def _beside_noise(side: Side, sizes: Sizes) -> Drained:
    """A modest tenant's dispatch while a noisy one has 10,000 waiting and a worker takes one at a time."""
    side.fill(NOISY)
    working = side.start(sizes.modest, [str(BUSY_S)])
    working.await_ready()
    side.fill(sizes.modest, pause_s=0.03, more=["modest"])
    return working.result()


def _beside_big_payload(server: RedisServer, project: Path, side: Side, sizes: Sizes) -> tuple[Drained, float]:
    """Dispatch while executions of six steps pass 10 MB on; and the slowest command that the server had meanwhile, in µs."""
    big = sides.turnout_executions(project, server.url, sides.SIX_STEPS)
    server.command("CONFIG", "SET", "slowlog-log-slower-than", _SLOW_US)
    server.command("SLOWLOG", "RESET")
    carrying = big.start(sizes.big)
    carrying.await_ready()
    submitting = big.start_filling(sizes.big, more=[str(BIG_BYTES)])
    dispatched = side.dispatch(sizes.dispatched, pause_s=0.01)
    submitting.wait()
    carrying.result()
    slow = server.command("SLOWLOG", "GET", 128)
    return dispatched, max((float(entry[2]) for entry in slow), default=_SLOW_US)


def as_text(results: Results) -> str:
    """The report as Markdown."""
    rows = [(name, span(one.per_s), span(one.p50_ms), span(one.p99_ms)) for name, one in results.sides.items()]
    turnout = results.sides["Turnout"]
    ratios = {
        name: [ours / theirs for ours, theirs in zip(turnout.per_s, results.sides[name].per_s, strict=True)]
        for name in ("SAQ", "Celery")
    }
    judged = [
        ("drain ÷ SAQ", "≥ 5 ×", span(ratios["SAQ"]), statistics.median(ratios["SAQ"]) >= 5),
        ("drain ÷ Celery", "≥ 10 ×", span(ratios["Celery"]), statistics.median(ratios["Celery"]) >= 10),
        ("dispatch to an idle worker, p50", "< 1 ms", span(turnout.p50_ms), statistics.median(turnout.p50_ms) < 1),
        ("dispatch to an idle worker, p99", "< 5 ms", span(turnout.p99_ms), statistics.median(turnout.p99_ms) < 5),
        (
            "beside 10,000 of a noisy tenant, p99",
            f"≤ {statistics.median(results.bound_ms):.1f} ms",
            span(results.modest_ms),
            statistics.median(results.modest_ms) <= statistics.median(results.bound_ms),
        ),
    ]
    passing = (
        f"While executions of six steps pass 10 MB on: dispatch of another tenant p99 {span(results.passing_p99_ms)} ms "
        f"({span(turnout.p99_ms)} ms without); the slowest command of the server {span(results.slowest_us)} µs."
    )
    targets = [(title, wanted, got, "met" if met else "MISSED") for title, wanted, got, met in judged]
    rounds = f"Median (range) of {len(turnout.per_s)} interleaved rounds; ratios within a round."
    facts = "\n".join(f"- {name}: {value}" for name, value in machine().items())
    return "\n\n".join(
        (
            rounds,
            facts,
            table(("one worker process each", "drained/s", "dispatch p50, ms", "p99, ms"), rows),
            table(("target", "wanted", "got", ""), targets),
            passing,
        )
    )


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--quick", action="store_true")
    arguments.add_argument("--record", action="store_true")
    given = arguments.parse_args()
    sizes = QUICK if given.quick else Sizes()
    python = sides.peers_python(sides.ROOT / ".tools")
    with tempfile.TemporaryDirectory() as directory, RedisServer(Path(directory) / "redis") as server:
        try:
            results = measure(server, Path(directory), python, sizes, lambda text: print(text, file=sys.stderr))
        except Failed as failed:
            print(failed, file=sys.stderr)
            return 1
    print(as_text(results))
    if given.record:
        write_between("w5", f"## W5, the queue alone\n\n{as_text(results)}", sides.HERE.parent / "RESULTS.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
