"""`python -m tests.chaos`: the long form, `make chaos`. It shows what goes on, then a table, and fails if a rule was broken."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.chaos.backends import BACKENDS
from tests.chaos.campaign import FAULTS, Campaign, Outcome, run_backend
from tests.chaos.checker import RULES

_COLUMNS = (
    "backend",
    "executions",
    "kills",
    "at points",
    "faults",
    "effects",
    "lost or without end",
    "repeated",
    "duplicates",
    "other findings",
    "seconds",
)
_COUNTED = {
    "every accepted execution ends": "lost or without end",
    "what was reported is not done again": "repeated",
    "no effect happens twice": "duplicates",
}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--executions", type=int, default=10_000, help="sent in all, at least (%(default)s)")
    parser.add_argument("--kills", type=int, default=500, help="SIGKILLs in all, at least (%(default)s)")
    parser.add_argument("--minutes", type=float, default=120, help="the most that sending may take (%(default)s)")
    parser.add_argument("--seed", type=int, help="of traffic and faults; shown, so that a run can be repeated")
    parser.add_argument("--only", choices=FAULTS, help="this fault alone")
    parser.add_argument("--backend", action="append", choices=BACKENDS, help="this one; may be given again (all)")
    parser.add_argument("--outage", type=float, default=10.0, help="seconds that a server is away for (%(default)s)")
    parser.add_argument("--json", action="store_true", help="the results as JSON, to stdout")
    parser.add_argument("--directory", type=Path, help="where the clusters live, and stay; a temporary one without it")
    return parser.parse_args()


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - progress is what a person waits with


async def _run(options: argparse.Namespace, seed: int, directory: Path) -> list[Outcome]:
    chosen = options.backend or list(BACKENDS)
    campaign = Campaign(
        executions=-(-options.executions // len(chosen)),
        kills=-(-options.kills // len(chosen)),
        seed=seed,
        minutes=options.minutes / len(chosen),
        outage_s=options.outage,
        only=options.only or "",
    )
    outcomes = []
    for name in chosen:
        outcomes.append(await run_backend(name, campaign, directory / name.replace(" ", "-"), _tell))
        for finding in outcomes[-1].findings:
            _tell(f"{name}: FOUND {finding}")
    return outcomes


def _row(outcome: Outcome) -> dict[str, Any]:
    found = Counter(_COUNTED.get(finding.rule, "other findings") for finding in outcome.findings)
    return {
        "backend": outcome.backend,
        "executions": outcome.executions,
        "kills": outcome.killed,
        "at points": sum(times for name, times in outcome.kills.items() if name.endswith(("/before", "/after"))),
        "faults": sum(outcome.faults.values()),
        "effects": outcome.effects,
        **{name: found[name] for name in (*_COUNTED.values(), "other findings")},
        "seconds": round(outcome.seconds),
    }


def _table(rows: Sequence[dict[str, Any]]) -> str:
    total = {name: sum(row[name] for row in rows) for name in _COLUMNS[1:]}
    cells = [list(_COLUMNS), *([str(row[name]) for name in _COLUMNS] for row in [*rows, {"backend": "all", **total}])]
    widths = [max(len(row[index]) for row in cells) for index in range(len(_COLUMNS))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in cells
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def main() -> int:
    options = _options()
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(10**6)
    directory = options.directory or Path(tempfile.mkdtemp(prefix="turnout-chaos-"))
    _tell(f"seed {seed}, in {directory}")
    outcomes = asyncio.run(_run(options, seed, directory))
    rows = [_row(outcome) for outcome in outcomes]
    broken = [str(finding) for outcome in outcomes for finding in outcome.findings]
    if options.json:
        details = [
            {**row, "killed_by": outcome.kills, "faults_done": outcome.faults}
            for row, outcome in zip(rows, outcomes, strict=True)
        ]
        print(json.dumps({"seed": seed, "rules": list(RULES), "backends": details, "findings": broken}))  # noqa: T201
    else:
        print(_table(rows))  # noqa: T201
        print(f"seed {seed}; {len(RULES)} rules, {len(broken)} findings")  # noqa: T201
    if broken:
        _tell(f"what happened is in {directory}")
    elif options.directory is None:
        shutil.rmtree(directory)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
