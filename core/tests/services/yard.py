"""One worker's services on embedded stores, moved by hand: what the services' tests work with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from turnout.config import Settings, StorageSettings
from turnout.engine.engine import Engine
from turnout.local.operations import Operations
from turnout.local.process_sandbox import ProcessSandbox
from turnout.local.stores import Stores
from turnout.model.execution import ExecutionRecord
from turnout.plugins import load_plugins
from turnout.services.metadata import Metadata
from turnout.services.recovery import Recovery
from turnout.services.roots import below
from turnout.services.runner import Runner
from turnout.services.submission import Submission, message_of

from core.tests.engine.laboratory import Laboratory, SteppingClock


@dataclass
class Yard:
    """`run` runs an execution once, as a worker that got its message would."""

    lab: Laboratory
    stores: Stores
    metadata: Metadata
    runner: Runner
    recovery: Recovery
    operations: Operations

    async def run(self, id: str) -> None:
        lease = await self.stores.queue.claim("w", id)
        assert lease is not None
        await self.runner.run(lease)

    async def record(self, id: str) -> ExecutionRecord:
        await self.metadata.catch_up()
        found = await self.stores.records.get(id)
        assert found is not None
        return found

    async def children(self, id: str) -> list[ExecutionRecord]:
        await self.metadata.catch_up()
        return await below(self.stores.records, id)


@asynccontextmanager
async def open_yard(tmp_path: Path, clock: Any = None) -> AsyncIterator[Yard]:
    clock = clock or SteppingClock()
    sandbox = ProcessSandbox(warm_floor=1)
    settings = Settings(root=tmp_path, storage=StorageSettings(directory="."))
    stores = await Stores.open(settings, load_plugins(), clock=clock)
    journal: Any = stores.journal
    lab = Laboratory(directory=tmp_path, sandbox=sandbox, clock=clock, journal=journal)
    queue: Any = stores.queue
    lab.queue = queue
    lab.backends = replace(lab.backends, payloads=stores.payloads, bundles=stores.bundles)
    metadata = Metadata(stores.journal, stores.records, clock)
    engine = Engine(lab.backends)
    runner = Runner(engine, stores.queue, stores.journal, clock, worker="w")
    recovery = Recovery(stores.queue, stores.journal, clock, message_of=message_of)
    submission = Submission(backends=lab.backends, queue=stores.queue)
    yield Yard(lab, stores, metadata, runner, recovery, Operations(stores, submission, metadata, runner))
    await engine.close()
    await sandbox.close()
    await stores.close()
