"""A project on Redis as it is run: `turnout serve`, several `turnout worker`, senders that go on meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from turnout_ecs.testing.servers import RedisServer

from tests.dev.commands import FLOWS, until
from tests.worker.processes import Serve, Worker

SETTINGS = """
[project]
url = "http://127.0.0.1:1"
[api]
authentication = "none"
[stores]
queue = "redis"
journal = "redis"
state = "redis"
[backends.redis]
url = "env:REDIS_URL"
prefix = "%s"
"""


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path / "redis") as server:
        yield server


@pytest.fixture
def serve(tmp_path: Path, redis: RedisServer) -> Iterator[Serve]:
    project = tmp_path / "project"
    project.mkdir()
    (project / "turnout.toml").write_text(SETTINGS % f"test-{uuid4().hex}")
    (project / "integration.yaml").write_text(FLOWS)
    with ExitStack() as stack:
        env = {"REDIS_URL": redis.url}
        for number in range(2):
            stack.enter_context(Worker(project, name=f"worker-{number}", env=env))
        yield stack.enter_context(Serve(project, name="serve", env=env))


def test_senders_that_wait_get_the_output_of_what_another_process_ran_for_seconds(serve: Serve) -> None:
    with httpx.Client(base_url=serve.client.base_url, timeout=30) as client:
        answers = [client.post("/hooks/desk/slow", params={"wait": "20s"}) for _ in range(4)]

    assert [(answer.status_code, answer.text) for answer in answers] == [(200, '"done"')] * 4


def test_stopped_under_load_it_ends_and_what_it_accepted_is_done_by_the_next_one(serve: Serve) -> None:
    accepted: list[str] = []

    def send() -> None:
        with httpx.Client(base_url=serve.client.base_url, timeout=10) as client:
            while True:
                try:
                    answer = client.post("/hooks/desk/count")
                except httpx.HTTPError:
                    return
                if answer.status_code == 202:
                    accepted.append(answer.json()["execution"])

    senders = [threading.Thread(target=send) for _ in range(4)]
    for sender in senders:
        sender.start()
    until(lambda: len(accepted) > 20)
    serve.process.terminate()
    status = serve.process.wait(timeout=20)
    for sender in senders:
        sender.join()

    with Serve(serve.directory, name="next", env=serve.env) as following:
        outputs = [until(partial(output, following, id)) for id in accepted]

    assert status == 0
    assert sorted(outputs) == list(range(1, len(accepted) + 1))


def output(serve: Serve, execution: str) -> Any:
    record = serve.client.get(f"/api/v1/executions/{execution}")
    return record.json()["output"] if record.status_code == 200 else None
