"""The jails' speed, beside bare Node and the process sandbox: `python -m benchmarks.jails.bench`, or `make bench-jail`; as root.

    --quick         two small rounds: a look, not a measurement
    --rounds N      how many rounds (default 5)
    --only NAMES    some of process chroot bubblewrap, comma-separated
    --json FILE     every figure of every round
    --record        put the report into benchmarks/RESULTS.md

The sides take turns within a round, and who goes first changes from round to round. Exit status 1 if a side did not do its
work, 0 otherwise: a missed target is a finding, not a failure.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from turnout.cli.session import run_async
from turnout.errors import BackendError
from turnout.interfaces.sandbox import CodeBundle
from turnout_ecs.jail.building import build
from turnout_ecs.jail.tree import Jail

from benchmarks.jails import figures
from benchmarks.jails.bare import echo
from benchmarks.jails.figures import QUICK, Figures, Sizes
from benchmarks.jails.report import FLOOR, Results, as_json, as_text
from benchmarks.jails.sides import Opened, Side, sides
from benchmarks.report import write_between
from benchmarks.systems import Failed

PARTS = ("process", "chroot", "bubblewrap")
_PUBLIC = 0o755


async def measure(work: Path, jail: Jail, only: Sequence[str], sizes: Sizes, say: Callable[[str], None]) -> Results:
    """All rounds. `Failed` if a side did not do its work."""
    results = Results(sizes=sizes)
    bundle = figures.code(work / "bundle")
    node = jail.root / "node"
    async with AsyncExitStack() as stack:
        floor = stack.enter_context(echo(node))

        async def bare() -> Figures:
            return figures.floor_figures(node, floor, sizes)

        compared: dict[str, Callable[[], Awaitable[Figures]]] = {FLOOR: bare}
        for side in sides(jail.root.parent):
            if side.name in only:
                opened = await _open(side, stack)
                compared[side.name] = partial(_figures, opened, bundle, sizes)
        names = list(compared)
        for number in range(sizes.rounds):
            turn = number % len(names)
            found = {name: await compared[name]() for name in (*names[turn:], *names[:turn])}
            results.rounds.append({name: found[name] for name in names})
            say(f"round {number + 1}: " + "; ".join(f"{name} {_brief(found[name])}" for name in names))
    return results


async def _open(side: Side, stack: AsyncExitStack) -> Opened:
    fresh = await stack.enter_async_context(side.started(warm_floor=0, warm_ceiling=2))
    tenant = None
    if side.reuses:
        options = {"warm_floor": 0, "warm_ceiling": 2, "reuse": "tenant"}
        tenant = await stack.enter_async_context(side.started(**options))
    return Opened(side=side, fresh=fresh, tenant=tenant)


async def _figures(opened: Opened, bundle: CodeBundle, sizes: Sizes) -> Figures:
    found = await figures.side_figures(opened, bundle, sizes)
    return found | await figures.idle_figures(opened.side, sizes.idle)


def _brief(found: Figures) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in found.items())


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two small rounds")
    parser.add_argument("--rounds", type=int, help="how many rounds (default 5)")
    parser.add_argument("--only", default=",".join(PARTS), help=f"comma-separated, of {', '.join(PARTS)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there")
    parser.add_argument("--record", action="store_true", help="put the report into benchmarks/RESULTS.md")
    options = parser.parse_args()
    options.only = tuple(options.only.split(","))
    if unknown := set(options.only) - set(PARTS):
        parser.error(f"--only: no such sandbox: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    return options


def main() -> int:
    options = _parse()
    sizes = QUICK if options.quick else Sizes()
    if options.rounds:
        sizes = dataclasses.replace(sizes, rounds=options.rounds)
    with tempfile.TemporaryDirectory(prefix="turnout-bench-jails-") as directory:
        work = Path(directory)
        work.chmod(_PUBLIC)
        (work / "jail").mkdir(mode=_PUBLIC)
        try:
            jail = build(work / "jail").jail
            results = run_async(measure(work, jail, options.only, sizes, lambda line: print(line, file=sys.stderr)))
        except (Failed, BackendError) as error:
            print(f"no figures: {error}", file=sys.stderr)
            return 1
    print(as_text(results))
    if options.json:
        options.json.write_text(json.dumps(as_json(results), indent=1))
    if options.record:
        write_between("jails", f"## The jails\n\n{as_text(results)}", Path(__file__).parent.parent / "RESULTS.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
