"""Limits of flows under `turnout dev`, as a process: webhooks at the same moment, in order, again, and through a SIGKILL."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.dev.commands import Dev, run

FLOWS = """
integration: desk
version: 1.0.0
flows:
  single:
    trigger: webhook
    limits: {concurrency: 1}
    steps: &work
      - {id: pause, code: "export default () => new Promise((resolve) => setTimeout(resolve, 60))"}
      - {id: done, stop: {output: "${{ trigger.body }}"}}
  ordered:
    trigger: webhook
    limits: {order: "${{ trigger.body.order }}"}
    steps: *work
  newest:
    trigger: webhook
    limits: {debounce: {wait: 400ms, key: "${{ trigger.body.account }}"}}
    steps: *work
  once:
    trigger: webhook
    limits: {deduplicate: "${{ trigger.body.id }}"}
    steps: *work
  rated:
    trigger: webhook
    limits: {rate: {most: 2, window: 1h}}
    steps: *work
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "turnout.toml").write_text("")
    (tmp_path / "integration.yaml").write_text(FLOWS)
    return tmp_path


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def span(record: dict[str, Any]) -> tuple[float, float]:
    """When it ran, to the millisecond."""
    assert record["status"] == "succeeded", record["error"]
    return at(record["started_at"]), at(record["ended_at"])


def accepted(dev: Dev, flow: str, body: Any) -> str:
    answer = dev.post(flow, wait="", json=body)
    assert answer.status_code == 202
    execution: str = answer.json()["execution"]
    return execution


def one_after_the_other(spans: list[tuple[float, float]]) -> bool:
    return all(end <= start for (_, end), (start, _) in pairwise(spans))


def test_webhooks_at_the_same_moment_run_one_at_a_time_and_all_run(shop: Path) -> None:
    with Dev(shop) as dev:
        with ThreadPoolExecutor(8) as senders:
            executions = list(senders.map(lambda number: accepted(dev, "single", number), range(8)))

        spans = sorted(span(dev.record(execution)) for execution in executions)

    assert one_after_the_other(spans), spans


def test_equal_orders_keep_their_order_through_a_sigkill_and_others_go_on(shop: Path) -> None:
    with Dev(shop) as dev:
        executions = [accepted(dev, "ordered", {"order": order, "n": n}) for n in range(4) for order in ("a", "b")]
        dev.record(executions[0])
        dev.kill()

    with Dev(shop) as dev:
        spans = [span(dev.record(execution)) for execution in executions]

    for order in (spans[0::2], spans[1::2]):
        # Where one was killed its start is the first worker's: ends are what keeps the order.
        ends = [end for _, end in order]
        assert ends == sorted(ends)
        assert one_after_the_other(order[2:])
    assert spans[1][0] < spans[6][0]


def test_the_newest_of_a_burst_runs_and_the_others_say_what_took_their_place(shop: Path) -> None:
    with Dev(shop) as dev:
        first, second, newest = (accepted(dev, "newest", {"account": 1, "n": n}) for n in range(3))
        other = accepted(dev, "newest", {"account": 2})

        assert dev.record(newest)["output"] == {"account": 1, "n": 2}
        assert dev.record(other)["status"] == "succeeded"
        for execution, after in ((first, second), (second, newest)):
            record = dev.record(execution)
            assert (record["status"], record["steps"], record["started_at"]) == ("cancelled", [], None)
            assert record["error"]["kind"] == "debounced"
            assert f"execution {after} took its place" in record["error"]["message"]
    shown = run("executions", "show", first, cwd=shop).stdout
    assert "cancelled" in shown
    assert f"execution {second} took its place" in shown


def test_the_same_request_is_one_execution_after_a_sigkill_too(shop: Path) -> None:
    with Dev(shop) as dev:
        first = accepted(dev, "once", {"id": 1})
        dev.record(first)
        dev.kill()

    with Dev(shop) as dev:
        again = dev.post("once", wait="", json={"id": 1, "try": 2})
        asking = dev.client.post("/hooks/desk/once", params={"wait": "10s"}, json={"id": 1})
        other = accepted(dev, "once", {"id": 2})

        assert dev.record(other)["status"] == "succeeded"
        executions = dev.client.get("/api/v1/executions").json()["items"]
    assert again.status_code == 202
    assert again.json() == {"execution": first, "follow": f"/api/v1/executions/{first}", "duplicate": True}
    assert (asking.status_code, asking.headers["turnout-execution"]) == (200, first)
    assert {one["id"] for one in executions} == {first, other}


def test_what_has_begun_counts_after_a_restart_and_a_run_by_hand_does_not_wait(shop: Path) -> None:
    with Dev(shop) as dev:
        executions = [accepted(dev, "rated", number) for number in range(3)]
        for execution in executions[:2]:
            dev.record(execution)
        dev.kill()

    with Dev(shop) as dev:
        by_hand = run("run", ".", "--flow", "rated", "--json", cwd=shop)

        assert by_hand.returncode == 0, by_hand.stderr
        waiting = dev.client.get(f"/api/v1/executions/{executions[2]}").json()
    assert (waiting["status"], waiting["started_at"]) == ("queued", None)


def test_a_customer_whose_queue_is_full_is_told_at_the_terminal_and_its_webhooks_are_taken(shop: Path) -> None:
    (shop / "turnout.toml").write_text("[queue]\ncapacity = 1\n")
    with Dev(shop) as dev:
        executions = [accepted(dev, "rated", number) for number in range(4)]
        dev.record(executions[1])

        refused = run("run", ".", "--flow", "single", cwd=shop)
        replayed = dev.client.post(f"/api/v1/executions/{executions[0]}/replay")

    assert refused.returncode == 3
    assert "as many executions waiting as its `capacity` allows: nothing was accepted" in refused.stderr
    assert replayed.status_code == 429
    assert int(replayed.headers["retry-after"]) > 0
