"""`turnout worker` as a process: it drains, hands back, dies and is succeeded; it says how it is."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from turnout.model.execution import Status

from tests.dev.commands import run, until
from tests.worker.processes import OneService, Project, Serve, Worker, project_in


@pytest.fixture
async def project(tmp_path: Path) -> AsyncIterator[Project]:
    async with project_in(tmp_path, "[queue]\nattempts = 2\n") as made:
        yield made


async def eventually(what: Callable[[], Any]) -> Any:
    return await asyncio.to_thread(until, what)


async def ended(project: Project, id: str, status: Status = Status.SUCCEEDED) -> Any:
    deadline = time.monotonic() + 30
    while (record := await project.record(id)) is None or not record.status.final:
        assert time.monotonic() < deadline, record
        await asyncio.sleep(0.02)
    assert record.status is status, record
    return record


def output(record: Any) -> Any:
    return json.loads(record.output.json)


async def test_what_another_process_sends_is_run(project: Project) -> None:
    with Worker(project.directory):
        id = await project.send("quick", "hello")

        record = await ended(project, id)

    assert output(record) == "hello"


async def test_sigterm_lets_what_runs_finish_and_takes_nothing_more(project: Project, tmp_path: Path) -> None:
    with Worker(project.directory) as worker:
        running = await project.send("gate", str(tmp_path / "open"))
        await eventually(lambda: worker.metrics()["turnout_worker_executions_running"] == 1)

        worker.process.send_signal(signal.SIGTERM)
        await eventually(lambda: worker.events("draining"))
        ready = worker.client.get("/readyz")
        late = await project.send("quick")
        alive = worker.client.get("/healthz")
        (tmp_path / "open").touch()
        status = await asyncio.to_thread(worker.process.wait, 30)

    assert (ready.status_code, ready.json()["status"]) == (503, "draining")
    assert alive.status_code == 200
    assert (status, worker.events("stopped")[0]["handed_back"]) == (0, 0), worker.log()
    assert (await ended(project, running)).attempts == 1
    assert (await project.record(late)).status is Status.QUEUED


@pytest.mark.parametrize(("drain", "signals"), [("200ms", 1), ("110s", 2)])
async def test_what_takes_longer_is_handed_back_and_goes_on_elsewhere(
    project: Project, tmp_path: Path, drain: str, signals: int
) -> None:
    with Worker(project.directory, ("--drain", drain), name="first") as first:
        id = await project.send("gate", str(tmp_path / "open"))
        await eventually(lambda: first.metrics()["turnout_worker_executions_running"] == 1)
        began = time.monotonic()
        for _ in range(signals):
            first.process.send_signal(signal.SIGTERM)
            await eventually(lambda: first.process.poll() is not None or first.events("draining"))
        status = await asyncio.to_thread(first.process.wait, 30)
        took_s = time.monotonic() - began
    stats = await project.platform.stores.queue.stats()
    (tmp_path / "open").touch()

    with Worker(project.directory, name="second"):
        record = await ended(project, id)

    assert (status, first.events("stopped")[0]["handed_back"]) == (0, 1), first.log()
    assert took_s < 10
    assert (stats.ready, stats.leased) == (1, 0)
    assert output(record) == {"counted": 1, "work": "through"}


async def test_what_a_killed_worker_ran_goes_on_at_another_long_before_its_lease_runs_out(
    project: Project, tmp_path: Path
) -> None:
    with Worker(project.directory, name="first") as first, Worker(project.directory, name="second") as second:
        id = await project.send("gate", str(tmp_path / "open"))
        holder = await eventually(
            lambda: next(
                (one for one in (first, second) if one.metrics()["turnout_worker_executions_running"] == 1), None
            )
        )
        other = second if holder is first else first

        holder.process.kill()
        began = time.monotonic()
        await eventually(lambda: other.metrics()["turnout_worker_executions_running"] == 1)
        took_s = time.monotonic() - began
        (tmp_path / "open").touch()
        record = await ended(project, id)

    assert took_s < 15  # the lease lasts 30 s
    assert output(record) == {"counted": 1, "work": "through"}


async def test_metrics_say_what_happened(project: Project, tmp_path: Path) -> None:
    with Worker(project.directory, ("--concurrency", "3")) as worker:
        for number in range(5):
            await ended(project, await project.send("quick", number))
        await project.send("gate", str(tmp_path / "open"))
        await eventually(lambda: worker.metrics()["turnout_worker_executions_running"] == 1)
        reported = 'turnout_step_duration_seconds_count{kind="action",status="succeeded"}'
        found = await eventually(lambda: (now := worker.metrics()).get(reported) == 1 and now)
        kind = worker.client.get("/metrics").headers["content-type"]

    expected = {
        'turnout_executions_ended_total{status="succeeded"}': 5,
        'turnout_executions_ended_total{status="failed"}': 0,
        'turnout_step_duration_seconds_count{kind="stop",status="succeeded"}': 5,
        'turnout_sandbox_processes{state="busy"}': 1,
        'turnout_execution_duration_seconds_count{status="succeeded"}': 5,
        "turnout_dispatch_latency_seconds_count": 5,
        'turnout_queue_messages{shard="0",state="leased"}': 1,
        'turnout_queue_messages{shard="0",state="ready"}': 0,
        "turnout_queue_up": 1,
        "turnout_queue_workers": 1,
        "turnout_worker_concurrency": 3,
        "turnout_worker_leases_held": 1,
        "turnout_worker_draining": 0,
        "turnout_worker_heartbeat_failures_total": 0,
        'turnout_worker_failures_total{of="queue"}': 0,
    }
    assert {name: found.get(name) for name in expected} == expected
    assert found["turnout_worker_heartbeat_lag_seconds"] < 10
    assert kind.startswith("text/plain; version=0.0.4")


async def test_a_poison_execution_is_given_up_and_blocks_nobody(project: Project, tmp_path: Path) -> None:
    poison = await project.send("poison", str(tmp_path / "healed"))
    for name in ("first", "second"):
        try:
            with Worker(project.directory, name=name) as worker:
                await asyncio.to_thread(worker.process.wait, 30)
        except (AssertionError, httpx.HTTPError):
            assert worker.process.poll() == -signal.SIGKILL  # before it could say that it was ready

    with Worker(project.directory, name="third"):
        quick = await ended(project, await project.send("quick", 1))
        failed = await ended(project, poison, Status.FAILED)
        listed = await asyncio.to_thread(run, "queue", "dead", "list", "--json", cwd=project.directory)
        (tmp_path / "healed").touch()
        retried = await asyncio.to_thread(run, "queue", "dead", "retry", poison, cwd=project.directory)
        deadline = time.monotonic() + 30
        while (record := await project.record(poison)).status is not Status.SUCCEEDED:
            assert time.monotonic() < deadline, record
            await asyncio.sleep(0.02)

    assert output(quick) == 1
    assert failed.error.kind == "dead_letter"
    (letter,) = json.loads(listed.stdout)
    assert (letter["execution"], letter["attempts"], letter["flow"]) == (poison, 2, "poison")
    assert retried.returncode == 0, retried.stderr
    assert output(record) == 1  # `count` was not repeated
    assert list(await project.platform.stores.queue.dead()) == []


async def test_each_service_runs_in_a_process_of_its_own(project: Project) -> None:
    definition = project.directory / "integration.yaml"
    definition.write_text(definition.read_text().replace("  quick:\n", "  quick:\n    trigger: {webhook: {}}\n"))
    names = ("ingress", "metadata", "api")
    with ExitStack() as stack:
        stack.enter_context(Worker(project.directory))
        ingress, _, api = (
            stack.enter_context(OneService(project.directory, arguments=(name,), name=name)) for name in names
        )
        answer = ingress.client.post("/hooks/desk/quick?wait=30s", json={"a": 1})
        elsewhere = api.client.post("/hooks/desk/quick", json={"a": 1})
        listed = api.client.get("/api/v1/executions").json()["items"]

    assert (answer.status_code, answer.json(), elsewhere.status_code) == (200, {"a": 1}, 404)
    assert [one["status"] for one in listed] == ["succeeded"]


async def test_webhooks_that_one_process_serves_are_run_by_another(project: Project) -> None:
    definition = project.directory / "integration.yaml"
    definition.write_text(definition.read_text().replace("  quick:\n", "  quick:\n    trigger: {webhook: {}}\n"))
    with Worker(project.directory), Serve(project.directory, name="serve") as serve:
        answer = serve.client.post("/hooks/desk/quick?wait=30s", json={"a": 1})
        listed = serve.client.get("/api/v1/executions").json()["items"]

    assert (answer.status_code, answer.json()) == (200, {"a": 1})
    assert [one["status"] for one in listed] == ["succeeded"]
