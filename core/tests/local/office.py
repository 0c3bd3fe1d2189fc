"""A whole embedded platform with a clock of the test's and a connector whose actions a test can fail, hold and kill."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from turnout.config import RetentionSettings, Settings, StorageSettings
from turnout.connectors import ActionContext, Effect, Inputs
from turnout.definition.loader import load_yaml_text
from turnout.engine.outcome import Outcome
from turnout.local.platform import Platform
from turnout.model.execution import ExecutionRecord, StepStatus
from turnout.plugins import load_plugins
from turnout.services.submission import Instance
from turnout.values import Value

from core.tests.engine.laboratory import Died, SteppingClock, World, world_connector

__all__ = ["Office", "office_in"]


@dataclass
class Office:
    """`world` is what the actions did; `world.hold` waits until `release` is set, `entered` once it began."""

    platform: Platform
    clock: SteppingClock
    world: World
    directory: Path
    entered: asyncio.Event = field(default_factory=asyncio.Event)
    release: asyncio.Event = field(default_factory=asyncio.Event)

    async def deploy(self, flows: str, version: str = "1.0.0") -> Instance:
        text = f"integration: i\nversion: {version}\nflows:\n{flows}"
        return await self.platform.deploy(
            load_yaml_text(text, directory=str(self.directory)), config={}, connections={}
        )

    async def accept(self, flows: str, body: Any = None) -> str:
        accepted = await self.platform.submission.accept(await self.deploy(flows), "main", Value({"body": body}))
        return accepted.id

    async def turn(self, id: str) -> Outcome | None:
        """One worker's turn with an execution: until it ends, waits or is parked."""
        lease = await self.platform.stores.queue.claim("w", id)
        assert lease is not None
        return await self.platform.runner.run(lease)

    async def die(self, id: str) -> None:
        """A turn in which the worker dies, and the time until its lease has run out."""
        try:
            await self.turn(id)
        except BaseException as error:
            if not isinstance(error, Died):
                raise
        else:
            raise AssertionError("it did not die")
        self.clock.at += 60

    async def ended(self, flows: str, body: Any = None) -> ExecutionRecord:
        """The record of a flow that was run to its end, its journal forgotten."""
        id = await self.accept(flows, body)
        await self.turn(id)
        record = await self.record(id)
        assert record.status.final
        assert not await self.platform.stores.journal.rows(id)
        return record

    async def record(self, id: str) -> ExecutionRecord:
        record = await self.platform.record(id)
        assert record is not None
        return record

    async def steps(self, id: str, status: StepStatus = StepStatus.SUCCEEDED) -> set[str]:
        return {step.path for step in (await self.record(id)).steps if step.status is status}

    def values(self) -> list[Any]:
        """What the actions got, in order; forgotten from here."""
        values = [value for _, value in self.world.calls]
        self.world.calls.clear()
        return values


@asynccontextmanager
async def office_in(directory: Path, **retention: int | None) -> AsyncIterator[Office]:
    storage = StorageSettings(retention=RetentionSettings(**retention))
    clock, world = SteppingClock(), World()
    platform = await Platform.open(Settings(root=directory, storage=storage), load_plugins(), clock=clock)
    office = Office(platform=platform, clock=clock, world=world, directory=directory)
    connector = world_connector(world)

    @connector.action(effect=Effect.READ)
    async def hold(context: ActionContext, inputs: Inputs) -> str:
        """Wait for the test."""
        office.entered.set()
        await office.release.wait()
        return "held"

    @connector.action(effect=Effect.READ)
    async def file(context: ActionContext, inputs: Inputs) -> Any:
        """A file of a megabyte, different each time."""
        world.did("file", None)
        return await context.files.create(bytes([len(world.calls)]) * 2**20, name="big.bin")

    connectors = {"world": connector}
    platform.backends = platform.engine.backends = replace(platform.backends, connectors=connectors)
    try:
        yield office
    finally:
        await platform.close()
