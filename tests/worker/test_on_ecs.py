"""What a task definition says is run: the commands start, and its checks of health tell who is well from who is not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from turnout.interfaces.deployment import Deployment, Placed, RouteShape, ServiceShape
from turnout_ecs.fargate.description import describe

from tests.dev.commands import TURNOUT, environment, until

SERVICES = (
    ServiceShape(name="runner"),
    ServiceShape(name="metadata", routes=(RouteShape(method="GET", path="/executions"),)),
)
PORTS = {"runner": "8480", "metadata": "8400"}


def container(service: str) -> Any:
    deployment = Deployment(
        project="shop", environment="", root=Path("/x"), target="ecs", services=tuple(Placed(shape=s) for s in SERVICES)
    )
    resources = describe(deployment).resources
    [task] = [one for one in resources if one.id == f"{service.capitalize()}Task"]
    return task.properties["ContainerDefinitions"][0]


def well(check: str, port: int, service: str) -> bool:
    source = check.replace(PORTS[service], str(port))
    return subprocess.run([sys.executable, "-c", source], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("service", ["runner", "metadata"])
def test_the_command_of_a_task_starts_and_its_check_says_so(service: str, tmp_path: Path) -> None:
    (tmp_path / "turnout.toml").write_text('[api]\nauthentication = "none"\n')
    told = tmp_path / "told"
    made = container(service)
    # A free port in place of the task's own.
    command = [argument.replace(PORTS[service], "0") for argument in made["Command"]]
    [_, _, _, check] = made["HealthCheck"]["Command"]

    with told.open("wb") as out:
        process = subprocess.Popen(
            [TURNOUT, *command, "--json"], cwd=tmp_path, env=environment(), stdout=out, stderr=out
        )
    try:
        event = "listening" if service == "runner" else "ready"
        until(lambda: process.poll() is not None or f'"{event}"' in told.read_text(), seconds=60)
        assert process.poll() is None, told.read_text()
        lines = [json.loads(line) for line in told.read_text().splitlines() if line.startswith("{")]
        [url] = [line["url"] for line in lines if line["event"] == event]
        port = httpx.URL(url).port
        assert port is not None
        until(lambda: well(check, port, service), seconds=30)
        process.terminate()
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        process.wait()
    assert not well(check, port, service)
