"""`turnout queue`: what operators see of it and do to it, from another process than the workers'."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from turnout.model.execution import Status

from tests.dev.commands import TURNOUT, environment, run
from tests.worker.processes import Project, project_in


@pytest.fixture
async def project(tmp_path: Path) -> AsyncIterator[Project]:
    async with project_in(tmp_path, "[queue]\nattempts = 1\n") as made:
        yield made


async def queue(project: Project, *arguments: str) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(run, "queue", *arguments, cwd=project.directory)


async def told(project: Project, *arguments: str) -> Any:
    done = await queue(project, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


async def given_up(project: Project) -> str:
    """An execution that failed as often as it may, of a fault that is not its own."""
    id = await project.send("quick", 1)
    lease = await project.platform.stores.queue.claim("w", id)
    assert lease is not None
    assert await project.platform.stores.queue.fail(lease, reason="the disk was full")
    return id


async def test_stats_count_what_is_due_waits_runs_and_was_given_up(project: Project) -> None:
    for number in range(3):
        await project.send("quick", number)
    await project.platform.stores.queue.take("w1", wait_s=0)
    await given_up(project)

    stats = await told(project, "stats")
    shown = await queue(project, "stats")

    counts = {state: stats[state] for state in ("ready", "delayed", "held", "leased", "dead")}
    assert counts == {"ready": 2, "delayed": 0, "held": 0, "leased": 1, "dead": 1}
    assert stats["workers"] == ["w1"]
    assert stats["oldest_ready_s"] > 0
    assert "\x1b" not in shown.stdout
    assert [line.split()[:2] for line in shown.stdout.splitlines()[1:3]] == [["ready", "2"], ["held", "0"]]


async def test_watching_prints_a_line_of_json_again_and_again(project: Project) -> None:
    process = await asyncio.create_subprocess_exec(
        TURNOUT, "queue", "stats", "--watch", "--json", cwd=project.directory, env=environment(), stdout=-1, stderr=-1
    )
    assert process.stdout is not None

    first, second = json.loads(await process.stdout.readline()), json.loads(await process.stdout.readline())
    process.terminate()
    await process.communicate()

    assert (first["ready"], second["ready"]) == (0, 0)


async def test_draining_says_what_is_left_when_its_time_is_over(project: Project) -> None:
    empty = await queue(project, "drain")
    await project.send("quick", 1)

    done = await queue(project, "drain", "--timeout", "100ms", "--json")

    assert empty.returncode == 0
    assert done.returncode == 1
    left = json.loads(done.stdout)
    assert (left["drained"], left["ready"]) == (False, 1)


async def test_a_dead_letter_is_listed_shown_and_dropped_and_its_record_stays(project: Project) -> None:
    id = await given_up(project)

    (letter,) = await told(project, "dead", "list")
    shown = await told(project, "dead", "show", id)
    dropped = await told(project, "dead", "drop", id)

    expected = {"execution": id, "attempts": 1, "reason": "the disk was full", "instance": "desk", "flow": "quick"}
    assert {key: letter[key] for key in expected} == expected
    assert shown["record"]["error"]["kind"] == "dead_letter"
    assert dropped == [{"execution": id, "outcome": "dropped"}]
    assert await told(project, "dead", "list") == []
    assert (await project.record(id)).status is Status.FAILED


async def test_retrying_all_queues_every_execution_again_with_its_record(project: Project) -> None:
    ids = [await given_up(project) for _ in range(2)]

    retried = await told(project, "dead", "retry", "--all")

    assert {one["execution"] for one in retried} == set(ids)
    assert (await told(project, "stats"))["ready"] == 2
    assert [(await project.record(id)).status for id in ids] == [Status.QUEUED] * 2


@pytest.mark.parametrize(
    "arguments", [("retry",), ("retry", "x", "--all"), ("retry", "nonsense"), ("drop", "nonsense")]
)
async def test_a_wrong_choice_changes_nothing(project: Project, arguments: tuple[str, ...]) -> None:
    await given_up(project)

    done = await queue(project, "dead", *arguments)

    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert (await told(project, "stats"))["dead"] == 1
