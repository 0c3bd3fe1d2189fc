"""`turnout dev` with customers: their instances are named, and code of several runs only where a sandbox keeps them apart."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest
from turnout.cli.instances import deployed_instances, instance_lines
from turnout.config import RunnerSettings, Settings
from turnout.definition.loader import load_yaml_text
from turnout.local.platform import Platform
from turnout.plugins import load_plugins
from turnout.services.instances import NewInstance

from tests.dev.commands import Dev, run

PLAIN = """
integration: orders
version: 1.0.0
flows:
  take:
    trigger: webhook
    steps: [{id: out, stop: {output: "${{ trigger.body }}"}}]
"""
CODE = PLAIN.replace("steps: [", 'steps: [{id: code, code: "export default () => 1"}, ')


async def _deployed(project: Path, text: str, customers: int) -> tuple[list[str], int]:
    """Deploy it to so many; what people are shown."""
    settings = Settings(root=project, runner=RunnerSettings(allow_unsafe_sandbox=True))
    platform = await Platform.open(settings, load_plugins())
    try:
        await platform.tenants.versions.publish(load_yaml_text(text, directory=str(project)))
        for number in range(customers):
            await platform.tenants.customers.create(f"c{number:02}")
            await platform.tenants.deployments.deploy(f"c{number:02}", "orders", NewInstance(integration="orders"))
        found = await deployed_instances(platform)
        lines = [line for instance in found.shown for line in instance_lines(instance, "http://h")]
        return lines, found.more
    finally:
        await platform.close()


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    (tmp_path / "turnout.toml").write_text("")
    (tmp_path / "integration.yaml").write_text(PLAIN.replace("integration: orders", "integration: own"))
    return tmp_path


async def test_a_bounded_number_of_customers_instances_is_shown(bare: Path) -> None:
    lines, more = await _deployed(bare, PLAIN, 22)

    assert lines[:2] == ["c00/orders 1.0.0", "  POST http://h/hooks/c00/orders/take"]
    assert len(lines) == 20
    assert more == 12


def test_customers_addresses_are_told_and_answer(bare: Path) -> None:
    asyncio.run(_deployed(bare, PLAIN, 2))

    with Dev(bare) as dev:
        url = dev.ready["url"]
        assert dev.ready["hooks"] == [
            f"{url}/hooks/own/take",
            f"{url}/hooks/c00/orders/take",
            f"{url}/hooks/c01/orders/take",
        ]
        assert dev.client.post("/hooks/c01/orders/take", json=1).status_code == 202


def test_code_of_two_customers_is_refused_as_a_worker_refuses_it(bare: Path) -> None:
    asyncio.run(_deployed(bare, CODE, 2))

    refused: list[subprocess.CompletedProcess[str]] = [
        run(*command, cwd=bare) for command in (("dev", "--port", "0"), ("resume",), ("worker",))
    ]

    assert {done.returncode for done in refused} == {2}, [done.stderr for done in refused]
    assert all("more than one customer ('c00', 'c01')" in done.stderr for done in refused)
    with Dev(bare, arguments=("--allow-unsafe-sandbox",)) as dev:
        assert len(dev.ready["hooks"]) == 3
