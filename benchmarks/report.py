"""Results as people and programs read them: a table, JSON, and the section of RESULTS.md."""

from __future__ import annotations

import datetime
import os
import platform
import re
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.memory import MemoryCourse
from benchmarks.systems import node
from benchmarks.targets import TARGETS, Rounds
from benchmarks.workloads import Figures, Sizes

__all__ = ["Results", "as_json", "as_text", "machine", "span", "table", "write_between", "write_section"]

_HEADINGS = {
    "w1_p50_ms": ("W1 p50", "ms"),
    "w1_p99_ms": ("W1 p99", "ms"),
    "w1_spaced_p50_ms": ("W1 p50, with pauses", "ms"),
    "w1_runs_per_s": ("W1 throughput at 16", "runs/s"),
    "w1_cpu_s_per_run": ("W1 CPU a run", "s"),
    "w1_pss_mb": ("W1 peak PSS", "MB"),
    "w2_ms": ("W2", "ms"),
    "w2_item_us": ("W2 an item", "µs"),
    "w2_long_ms": ("W2 long", "ms"),
    "w2_long_item_us": ("W2 long, an item", "µs"),
    "w2_growth": ("W2 item, long ÷ short", ""),
    "w3_short_ms": ("W3 40 short steps", "ms"),
    "w3_long_ms": ("W3 10 long steps", "ms"),
    "w4_ms": ("W4", "ms"),
    "w4_pss_mb": ("W4 peak PSS", "MB"),
}


@dataclass(slots=True, kw_only=True)
class Results:
    """Everything that one call of the benchmark found out. `announcement` is what Turnout said at its start."""

    sizes: Sizes
    only: tuple[str, ...]
    backend: str = "embedded"
    sandbox: str = "process"
    rounds: list[tuple[Figures, Figures]] = field(default_factory=list)
    memory: tuple[Figures, Figures] | None = None
    course: MemoryCourse | None = None
    help_ms: tuple[float, ...] = ()
    announcement: str = ""
    started_at: str = field(default_factory=lambda: datetime.datetime.now(datetime.UTC).isoformat(timespec="minutes"))

    @property
    def section(self) -> str:
        """The name of its section: `redis, chroot`."""
        return self.backend if self.sandbox == "process" else f"{self.backend}, {self.sandbox}"


def machine() -> dict[str, str]:
    """What was measured on."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
    done = subprocess.run([str(node()), "--version"], capture_output=True, text=True, check=True)
    return {
        "processor": f"{os.cpu_count()} × {model[1] if model else platform.machine()}",
        "memory": f"{int(memory[1]) // 1024**2 if memory else 0} GB",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "node": done.stdout.strip(),
        "turnout": version("turnout"),
    }


def span(values: Sequence[float]) -> str:
    """Median and range."""
    median = statistics.median(values)
    digits = 4 if median < 0.1 else 2 if median < 10 else 1 if median < 100 else 0
    return f"{median:.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def _rows(rounds: Rounds) -> list[tuple[str, str, str, str]]:
    rows = []
    for figure, (title, unit) in _HEADINGS.items():
        pairs = [(floor[figure], turnout[figure]) for floor, turnout in rounds if figure in floor]
        if not pairs:
            continue
        heading = f"{title}, {unit}" if unit else title
        ratios = [turnout / floor if floor else float("inf") for floor, turnout in pairs]
        rows.append((heading, span([a for a, _ in pairs]), span([b for _, b in pairs]), span(ratios)))
    return rows


def _verdicts(results: Results) -> list[tuple[str, str, str, str]]:
    rows = [
        (target.title, target.wanted, f"{target.median(results.rounds):.2f}", _word(met=target.met(results.rounds)))
        for target in TARGETS
        if target.workload in results.only and results.rounds
    ]
    if results.course:
        growth = results.course.growth
        rows.append(
            ("memory of the server, last ÷ first quarter", "≤ 1.05 ×", f"{growth:.3f}", _word(met=growth <= 1.05))
        )
    if results.help_ms:
        best = statistics.median(results.help_ms)
        rows.append(("turnout --help", "< 150 ms", f"{best:.0f}", _word(met=best < 150)))
    return rows


def _word(*, met: bool) -> str:
    return "met" if met else "MISSED"


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns line up."""
    widths = [max(len(row[column]) for row in [headings, *rows]) for column in range(len(headings))]
    lines = [headings, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) + " |" for line in lines
    )


def as_text(results: Results) -> str:
    """The whole report as Markdown."""
    how = (
        f"Median (range) of {len(results.rounds)} interleaved rounds; a ratio is taken within a round, so that both sides "
        "ran in the same minute. Every POST of every run was received exactly once with the right content, and every "
        "execution ended `succeeded`; otherwise there would be no figures."
    )
    sides = (
        "What is compared: *floor* is one Node process inline, with keep-alive `fetch`, no isolation, no durability, no "
        f"history. *turnout* is `turnout dev` ({results.section}), which said at its start:"
    )
    facts = "\n".join(f"- {name}: {value}" for name, value in machine().items())
    parts = [facts]
    if results.announcement:
        said = f"```\n{results.announcement}\n```"
        parts = [how, facts, sides, said] if results.rounds else [facts, said]
    rounds = list(results.rounds)
    memory = _rows([results.memory]) if results.memory else []
    if rounds or memory:
        parts.append(table(("figure", "floor", "turnout", "ratio"), _rows(rounds) + memory))
    if results.course:
        course = results.course
        parts.append(
            f"Memory of the server process over {course.executions[-1]} executions of W1: "
            f"{min(course.server_bytes) / 1e6:.1f}–{max(course.server_bytes) / 1e6:.1f} MB PSS, "
            f"{course.bytes_per_execution:+.0f} bytes an execution once settled."
        )
    parts.append(table(("target", "wanted", "got", ""), _verdicts(results)))
    return "\n\n".join(parts)


def as_json(results: Results) -> dict[str, Any]:
    """The same for programs, with every round's figures."""
    return {
        "started_at": results.started_at,
        "machine": machine(),
        "announcement": results.announcement,
        "rounds": [{"floor": floor, "turnout": turnout} for floor, turnout in results.rounds],
        "memory": {"floor": results.memory[0], "turnout": results.memory[1]} if results.memory else None,
        "course": (
            {"executions": results.course.executions, "server_bytes": results.course.server_bytes}
            if results.course
            else None
        ),
        "help_ms": results.help_ms,
        "targets": [dict(zip(("target", "wanted", "got", "verdict"), row, strict=True)) for row in _verdicts(results)],
    }


def write_section(results: Results, file: Path) -> None:
    """Put the report between its markers in RESULTS.md, in place of the one that stands there."""
    write_between(results.section, f"## Measured {results.started_at}, {results.section}\n\n{as_text(results)}", file)


def write_between(name: str, text: str, file: Path) -> None:
    """Put a text between the markers of that name, in place of what stands there."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, rest = file.read_text().split(begin)
    after = rest.split(end)[1]
    file.write_text(f"{before}{begin}\n{text}\n\n{end}{after}")
