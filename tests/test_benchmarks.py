"""The benchmarks' own honesty: what is wrong must not become a figure."""

from __future__ import annotations

import http.client
import json
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import systems
from benchmarks.bench import orders_setup
from benchmarks.memory import MemoryCourse
from benchmarks.processes import cpu_s, pss_bytes, tree
from benchmarks.report import Results, as_json, as_text, write_section
from benchmarks.systems import TOKEN, Failed, Harness, System
from benchmarks.targets import TARGETS
from benchmarks.workloads import WORKLOADS, Sizes

SMALL = Sizes(rounds=1, latency_runs=2, throughput_runs=8, concurrency=4, few_items=3, many_items=6)


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return systems.install_packages(tmp_path_factory.mktemp("bench"))


@pytest.fixture
def world(scripts: Path) -> Iterator[Harness]:
    with systems.harness(scripts, orders_setup(scripts.parent)) as world:
        yield world


@pytest.fixture
def floor(scripts: Path, world: Harness) -> Iterator[System]:
    with systems.floor(scripts, world) as floor:
        yield floor


def post(world: Harness, path: str, body: object, token: str = TOKEN) -> int:
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(world.url).netloc)
    connection.request("POST", path, json.dumps(body), {"authorization": f"Bearer {token}"})
    status = connection.getresponse().status
    connection.close()
    return status


@pytest.mark.parametrize("workload", WORKLOADS)
def test_the_floor_does_the_work_of_every_workload(world: Harness, floor: System, workload: str) -> None:
    figures = WORKLOADS[workload](world, floor, SMALL)

    assert figures
    assert all(value >= 0 for value in figures.values())


def test_a_post_that_comes_twice_is_reported(world: Harness) -> None:
    body = {"run": "r", "item": 1, "size": 2048, "head": "item 1".ljust(12)}

    for _ in range(2):
        post(world, "/w2", body)

    assert world.ask("report") == {"received": 1, "repeated": ["r/1 ×2"], "wrong": []}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/w1", {"run": "r", "batch": 1, "total": 1, "orders": []}),
        ("/w2", {"run": "r", "item": 1, "size": 2047, "head": "item 1".ljust(12)}),
        ("/w4?run=r", {"name": "big", "rows": []}),
    ],
)
def test_a_post_with_the_wrong_content_is_reported(world: Harness, path: str, body: object) -> None:
    post(world, path, body)

    assert len(world.ask("report")["wrong"]) == 1


def test_a_post_without_the_credential_is_not_counted(world: Harness) -> None:
    status = post(world, "/w2", {"run": "r", "item": 1}, token="another")

    assert status == 401
    assert world.ask("report")["received"] == 0


def test_there_are_no_figures_where_a_post_is_missing(world: Harness, floor: System) -> None:
    post(world, "/w2", {"run": "other", "item": 1, "size": 2048, "head": "item 1".ljust(12)})

    with pytest.raises(Failed, match="3 POSTs expected"):
        WORKLOADS["w2"](world, floor, SMALL)


def test_processes_are_measured_with_all_that_run_below_them(world: Harness, floor: System) -> None:
    before = cpu_s(floor.pid)

    WORKLOADS["w3"](world, floor, SMALL)

    assert cpu_s(floor.pid) - before > 0.1  # ten times fibonacci(33)
    assert pss_bytes(floor.pid) > 10_000_000
    assert tree(floor.pid)[0] == floor.pid


def rounds(**turnout: float) -> list[tuple[dict[str, float], dict[str, float]]]:
    return [(dict.fromkeys(turnout, 1.0), {name: value + step for name, value in turnout.items()}) for step in range(3)]


@pytest.mark.parametrize(("value", "met"), [(1.9, True), (2.1, False)])
def test_a_target_judges_the_median_of_the_rounds(value: float, met: bool) -> None:
    [target] = [target for target in TARGETS if target.title == "W1 p50 ÷ floor"]

    assert target.median(rounds(w1_p50_ms=value)) == pytest.approx(value + 1)
    assert target.met(rounds(w1_p50_ms=value)) is met


def test_a_throughput_target_is_met_from_above() -> None:
    [target] = [target for target in TARGETS if target.at_least]

    assert target.met(rounds(w1_runs_per_s=19.5))
    assert not target.met(rounds(w1_runs_per_s=18.5))


def test_memory_that_grows_with_each_execution_shows_and_a_start_up_does_not() -> None:
    counts = tuple(range(250, 10_001, 250))
    leaking = MemoryCourse(executions=counts, server_bytes=tuple(100_000_000 + 5000 * count for count in counts))
    flat = MemoryCourse(executions=counts, server_bytes=(50_000_000, 80_000_000, *[100_000_000] * 38))

    assert leaking.bytes_per_execution == 5000
    assert leaking.growth > 1.05
    assert (flat.bytes_per_execution, flat.growth) == (0, 1)


def test_the_report_replaces_the_one_that_was_recorded_before(tmp_path: Path) -> None:
    file = tmp_path / "RESULTS.md"
    file.write_text("Words.\n<!-- embedded: begin -->\nold\n<!-- embedded: end -->\nMore words.\n")
    results = Results(sizes=SMALL, only=("w4",), announcement="durability: process")
    results.rounds = [({"w4_ms": 100.0}, {"w4_ms": 250.0})]

    write_section(results, file)

    text = file.read_text()
    assert text.startswith("Words.\n")
    assert text.endswith("More words.\n")
    assert "old" not in text
    assert as_text(results) in text
    assert as_json(results)["targets"] == [{"target": "W4 ÷ floor", "wanted": "≤ 4 ×", "got": "2.50", "verdict": "met"}]
