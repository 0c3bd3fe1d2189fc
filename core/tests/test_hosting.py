"""A project's services, called one by one."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest
from turnout.config import load_settings
from turnout.definition import load_integration
from turnout.errors import NotFound
from turnout.hosting import Host
from turnout.interfaces.records import ExecutionQuery
from turnout.local.platform import Platform
from turnout.model.execution import Status
from turnout.plugins import load_plugins
from turnout.values import Value

DEFINITION = """
integration: orders
version: 1.0.0
flows:
  take:
    trigger: {webhook: {}}
    steps:
      - {id: told, code: "export default () => console.log('an order came')"}
"""
SETTINGS = """
[logs.archive]
kind = "file"
options = {path = "shipped.jsonl"}
"""


@pytest.fixture
async def root(tmp_path: Path) -> Path:
    """A project in which an execution has run, and nothing has been done about it since."""
    (tmp_path / "turnout.toml").write_text(SETTINGS)
    (tmp_path / "integration.yaml").write_text(DEFINITION)
    platform = await Platform.open(load_settings(tmp_path), load_plugins())
    instance = await platform.deploy(load_integration(tmp_path / "integration.yaml"), config={}, connections={})
    await platform.start_sandbox()
    await platform.run(instance, "take", Value({}))
    await platform.close(record=False)
    return tmp_path


def plenty() -> float:
    return 300.0


async def test_a_timer_and_a_consumer_do_what_has_gathered(root: Path, tmp_path: Path) -> None:
    host = await Host.open(root)

    await host.tick("metadata", "records", plenty)
    await host.consume("logs", "logs/archive", plenty)
    await host.close()

    platform = await Platform.open(load_settings(root), load_plugins())
    records = await platform.stores.records.search(ExecutionQuery())
    await platform.close()
    assert [record.status for record in records] == [Status.SUCCEEDED]
    lines = [json.loads(line) for line in (root / ".turnout" / "shipped.jsonl").read_text().splitlines()]
    assert [line["message"] for line in lines].count("an order came") == 1


async def test_with_no_time_left_nothing_is_given_and_nothing_lost(root: Path) -> None:
    host = await Host.open(root)
    await host.consume("logs", "logs/archive", lambda: 1.0)
    await host.tick("metadata", "records", lambda: 1.0)
    assert not (root / ".turnout" / "shipped.jsonl").exists()

    await host.consume("logs", "logs/archive", plenty)
    await host.close()

    assert "an order came" in (root / ".turnout" / "shipped.jsonl").read_text()


async def test_routes_are_an_application(root: Path) -> None:
    host = await Host.open(root)

    transport = httpx.ASGITransport(await host.application("oauth"))
    async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
        answer = await client.get("/connect/nobody")
    await host.close()

    assert answer.status_code == 404


async def test_what_there_is_not_is_named(root: Path) -> None:
    host = await Host.open(root)

    with pytest.raises(NotFound, match="no service 'metadate': did you mean 'metadata'"):
        await host.tick("metadate", "records", plenty)
    with pytest.raises(NotFound, match="no timer of 'metadata' 'record': did you mean 'records'"):
        await host.tick("metadata", "record", plenty)
    with pytest.raises(NotFound, match="no consumer of 'logs'"):
        await host.consume("logs", "archive", plenty)
    await host.close()


async def test_another_directory_takes_the_place_of_one_that_cannot_be_written(root: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"

    host = await Host.open(root, storage=elsewhere)
    await host.tick("retention", "retention", plenty)
    await host.close()

    assert elsewhere.is_dir()
