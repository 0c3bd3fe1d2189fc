"""Definitions as people write them from the issue's words alone: each runs to the record that its `case.yaml` names.

`case.yaml` holds what is given (`flow`, `payload`, `config`, `connections`; `SERVER` stands for the counterpart's URL) and
what is expected: `status`, `output`, `error` (the fields named), `steps` (the status of each path named), `logs` (all), or
`refused`: every text of the list stands in the refusal. A folder with `integration.py` is the same in Python.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml
from jsonschema import Draft202012Validator
from turnout.cli.definitions import checked, chosen_flow
from turnout.cli.project import load_project, load_registry
from turnout.definition import json_schema
from turnout.definition.nodes import plain
from turnout.definition.yaml_source import read_file
from turnout.errors import TurnoutError, UserError
from turnout.local.platform import Platform
from turnout.services.record_json import record_json
from turnout.values import Value
from turnout_connectors.standins.serving import serving

from tests.acceptance.counterpart import counterpart

DEFINITIONS = Path(__file__).parent / "definitions"
CASES = sorted(path.parent.name for path in DEFINITIONS.glob("*/case.yaml"))
SCHEMA = Draft202012Validator(json_schema())
RECORD = {"id", "integration", "version", "flow", "status", "output", "error", "started_at", "duration_ms", "steps"}
STEP = {"path", "status", "attempts", "started_at", "duration_ms", "error"}


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    platform: Platform
    server: str

    async def run(self, folder: Path, case: dict[str, Any]) -> dict[str, Any]:
        """As `turnout run` does: check, deploy, run; the record."""
        integration = checked(_definition(folder), self.platform)
        flow = chosen_flow(integration, case.get("flow"))
        config = case.get("config", {})
        if "server" in integration.config:
            config = {"server": self.server, **config}
        instance = await self.platform.deploy(integration, config=config, connections=case.get("connections", {}))
        await self.platform.check_connections(instance, flow.name)
        trigger = Value({"body": case.get("payload"), "headers": {}, "query": {}, "method": "RUN"})
        record = await self.platform.record(await self.platform.run(instance, flow.name, trigger))
        assert record is not None
        return await record_json(record, self.platform.stores.payloads)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    project = tmp_path_factory.mktemp("project")
    (project / "turnout.toml").touch()
    settings = load_project(project)
    async with serving(counterpart()) as server:
        platform = await Platform.open(settings, load_registry(settings))
        await platform.start_sandbox()
        await platform.runner.start_beating()
        yield World(platform=platform, server=server)
        await platform.close()


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", CASES)
async def test_a_definition_of_the_kind_that_people_write(name: str, world: World) -> None:
    folder = DEFINITIONS / name
    text = (folder / "case.yaml").read_text().replace("SERVER", world.server)
    case = yaml.safe_load(text) or {}

    if "refused" in case:
        with pytest.raises(UserError) as refusal:
            await world.run(folder, case)
        for part in case["refused"]:
            assert part in str(refusal.value)
        return
    try:
        record = await world.run(folder, case)
    except TurnoutError as error:
        pytest.fail(str(error))

    assert set(record) >= RECORD
    assert all(set(step) >= STEP for step in record["steps"])
    assert record["status"] == case.get("status", "succeeded"), record["error"]
    assert json.loads(json.dumps(record)) == record
    if "output" in case:
        assert record["output"] == case["output"]
    for field, expected in case.get("error", {}).items():
        assert record["error"][field] == expected
    found = {step["path"]: step["status"] for step in record["steps"]}
    assert {path: found.get(path) for path in case.get("steps", {})} == case.get("steps", {})
    if "logs" in case:
        lines = await world.platform.stores.records.logs(record["id"])
        assert [[line.level, line.message] for _, line in lines] == case["logs"]


@pytest.mark.parametrize("name", [name for name in CASES if (DEFINITIONS / name / "integration.yaml").exists()])
def test_the_schema_accepts_what_the_loader_does(name: str) -> None:
    case = yaml.safe_load((DEFINITIONS / name / "case.yaml").read_text()) or {}
    definition = plain(read_file(DEFINITIONS / name / "integration.yaml"))

    faults = [fault.message for fault in SCHEMA.iter_errors(definition)]

    assert not faults or "refused" in case


def _definition(folder: Path) -> Path:
    return next(path for path in sorted(folder.glob("integration.*")) if path.suffix in (".yaml", ".py"))
