"""The standard workloads against the inline-Node floor: `python -m benchmarks.bench`, or `make bench`.

    --only w1,w4        some of w1 w2 w3 w4 memory help
    --backend redis     queue, journal and state on a Redis server that is started for it, not embedded
    --sandbox chroot    a fresh jail for each execution (as root); chroot-tenant keeps one for a tenant's executions
    --quick             two small rounds: a look, not a measurement
    --json FILE         every figure of every round
    --record            put the report into benchmarks/RESULTS.md

The floor and Turnout run at the same time as processes, take turns within a round, and change who goes first from round
to round. Exit status 1 if a side did not do its work, 0 otherwise: a missed target is a finding, not a failure.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from turnout_ecs.jail.building import build
from turnout_ecs.testing.servers import RedisServer

from benchmarks import systems
from benchmarks.memory import memory_course
from benchmarks.report import Results, as_json, as_text, write_section
from benchmarks.systems import Failed, Harness, System
from benchmarks.workloads import QUICK, WORKLOADS, Figures, Sizes, peak_memory, warm_up
from examples.orders.make_orders import orders

PARTS = (*WORKLOADS, "memory", "help")


def orders_setup(work: Path) -> dict[str, Any]:
    """The orders document of W1 and, computed here on its own, what of it the sink must receive."""
    text = "".join(orders(200))
    file = work / "orders.xml"
    file.write_text(text)
    expected: list[dict[str, Any]] = []
    for order in ElementTree.fromstring(text):
        total = sum(int(line.attrib["quantity"]) * float(line.attrib["price"]) for line in order.iter("line"))
        if total >= 100:
            expected.append({"id": order.attrib["id"], "customer": order.findtext("customer"), "total": total})
    total = sum(order["total"] for order in expected)
    return {"orders_xml": str(file), "expected": {"orders": expected, "total": total}}


def _round(world: Harness, sides: list[System], only: list[str], sizes: Sizes) -> dict[str, Figures]:
    figures: dict[str, Figures] = {side.name: {} for side in sides}
    for name in only:
        for side in sides:
            figures[side.name] |= WORKLOADS[name](world, side, sizes)
    return figures


def _measure(results: Results, world: Harness, floor: System, turnout: System, say: Callable[[str], None]) -> None:
    only = [name for name in WORKLOADS if name in results.only]
    if only:
        say("warming up")
        for side in (floor, turnout):
            warm_up(world, side, only)
    for number in range(results.sizes.rounds if only else 0):
        sides = [floor, turnout] if number % 2 == 0 else [turnout, floor]
        figures = _round(world, sides, only, results.sizes)
        results.rounds.append((figures["floor"], figures["turnout"]))
        say(f"round {number + 1}: " + _brief(figures["floor"], figures["turnout"]))
    if only:
        results.memory = (
            peak_memory(world, floor, results.sizes, only),
            peak_memory(world, turnout, results.sizes, only),
        )
    if "memory" in results.only:
        say(f"{results.sizes.memory_executions} executions for the memory")
        results.course = memory_course(world, turnout, results.sizes)


def _brief(floor: Figures, turnout: Figures) -> str:
    return ", ".join(f"{name} {turnout[name]:.4g} ({turnout[name] / floor[name]:.2f} ×)" for name in floor)


def _help_ms(times: int = 11) -> tuple[float, ...]:
    """How long `turnout --help` takes, in milliseconds, in fresh processes; the first, cold one is left out."""
    command = [str(Path(sys.executable).parent / "turnout"), "--help"]
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        taken.append((time.perf_counter() - start) * 1000)
    return tuple(taken[1:])


def _announcement(log: Path) -> str:
    """What Turnout said before it served: isolation and durability."""
    said, _, _ = log.read_text().partition("serving on ")
    return said.strip()


def run(results: Results, say: Callable[[str], None]) -> None:
    """Fill in the results. `Failed` if a side did not do its work."""
    if "help" in results.only:
        results.help_ms = _help_ms()
    if set(results.only) == {"help"}:
        return
    with tempfile.TemporaryDirectory(prefix="turnout-bench-") as folder:
        work = Path(folder)
        scripts = systems.install_packages(work)
        with (
            systems.harness(scripts, orders_setup(work)) as world,
            systems.floor(scripts, world) as floor,
            BACKENDS[results.backend](work) as stores,
            SANDBOXES[results.sandbox]() as sandbox,
            systems.turnout(work, world, settings=stores + sandbox) as turnout,
        ):
            _measure(results, world, floor, turnout, say)
            results.announcement = _announcement(turnout.log)


@contextmanager
def _process() -> Iterator[str]:
    yield ""


@contextmanager
def _chroot(more: str = "") -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="turnout-bench-jail-") as directory:
        build(Path(directory))
        yield f'[runner]\nsandbox = "chroot"\n[backends.chroot]\njail = "{directory}"\n{more}'


SANDBOXES: dict[str, Callable[[], AbstractContextManager[str]]] = {
    "process": _process,
    "chroot": _chroot,
    "chroot-tenant": partial(_chroot, 'reuse = "tenant"\n'),
}


@contextmanager
def _embedded(_: Path) -> Iterator[str]:
    yield ""


@contextmanager
def _redis(work: Path) -> Iterator[str]:
    """A server that keeps nothing on disk: durable against the death of our processes, as the embedded default is."""
    with RedisServer(work / "redis") as server:
        chosen = "\n".join(f'{store} = "redis"' for store in ("queue", "journal", "state"))
        yield f'[stores]\n{chosen}\n[backends.redis]\nurl = "{server.url}"\n'


BACKENDS = {"embedded": _embedded, "redis": _redis}


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(PARTS), help=f"comma-separated, of {', '.join(PARTS)}")
    parser.add_argument("--backend", choices=BACKENDS, default="embedded", help="what Turnout runs on")
    parser.add_argument("--sandbox", choices=SANDBOXES, default="process", help="where code steps run")
    parser.add_argument("--quick", action="store_true", help="two small rounds")
    parser.add_argument("--rounds", type=int, help="how many rounds (default 5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there")
    parser.add_argument("--record", action="store_true", help="put the report into benchmarks/RESULTS.md")
    options = parser.parse_args()
    options.only = tuple(options.only.split(","))
    if unknown := set(options.only) - set(PARTS):
        parser.error(f"--only: no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    return options


def main() -> int:
    options = _parse()
    sizes = QUICK if options.quick else Sizes()
    if options.rounds:
        sizes = dataclasses.replace(sizes, rounds=options.rounds)
    results = Results(sizes=sizes, only=options.only, backend=options.backend, sandbox=options.sandbox)
    try:
        run(results, lambda line: print(line, file=sys.stderr, flush=True))
    except Failed as error:
        print(f"no figures: {error}", file=sys.stderr)
        return 1
    print(as_text(results))
    if options.json:
        options.json.write_text(json.dumps(as_json(results), indent=1))
    if options.record:
        write_section(results, Path(__file__).parent / "RESULTS.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
