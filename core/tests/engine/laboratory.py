"""An engine with real parts and stores in memory, run one execution at a time: what the engine's tests work with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from turnout.codec import decode_event
from turnout.connectors import ActionContext, AfterCrash, Connector, Effect, Inputs, StepError, Value
from turnout.definition.loader import load_yaml_text
from turnout.engine.backends import Backends, EngineSettings, InstanceSettings
from turnout.engine.engine import Engine
from turnout.engine.running import Running
from turnout.interfaces.clock import SystemClock
from turnout.interfaces.sandbox import Sandbox
from turnout.interfaces.secrets import Secret
from turnout.local.bundles import BundleStore
from turnout.local.file_payloads import FilePayloads
from turnout.local.memory_journal import MemoryJournal
from turnout.local.memory_queue import MemoryQueue
from turnout.local.memory_state import MemoryState
from turnout.model.events import Event, StepEnded
from turnout.services.submission import Instance, Submission

KEY = b"k" * 32


class SteppingClock(SystemClock):
    """Time that stands still but for sleeps, which take none: a test of an hour's wait ends at once."""

    def __init__(self) -> None:
        self.at = 1_800_000_000.0

    def now(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.at += max(0.0, seconds)
        await asyncio.sleep(0)


class Died(BaseException):
    """Stands for the death of the process: nothing may run after it. Raised where a test wants it."""


@dataclass
class World:
    """What the test connector's actions did, in order; `failures` makes the next calls of an action fail."""

    calls: list[tuple[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    repeated: list[bool] = field(default_factory=list)
    failures: dict[str, list[BaseException | None]] = field(default_factory=dict)

    def did(self, action: str, value: Any) -> None:
        failures = self.failures.get(action)
        failure = failures.pop(0) if failures else None
        if failure is not None and isinstance(failure, StepError):
            raise failure
        self.calls.append((action, value))
        if failure is not None:
            raise failure

    def count(self, action: str) -> int:
        return sum(name == action for name, _ in self.calls)


class Note(Inputs):
    value: Any = None


def world_connector(world: World) -> Connector:
    """`world.look` reads, `world.note` has an effect of which nobody knows, `world.keyed` takes the key, `world.compute`
    is pure."""
    connector = Connector("world", connection_required=False)

    def act(name: str, effect: Effect, after_crash: AfterCrash = AfterCrash.NONE) -> None:
        async def run(context: ActionContext, inputs: Note) -> Any:
            world.keys.append(context.idempotency_key)
            world.repeated.append(context.repeated)
            world.did(name, inputs.value)
            return {"value": inputs.value}

        run.__doc__ = f"{name}."
        run.__annotations__ = {"context": ActionContext, "inputs": Note, "return": Any}
        connector.action(effect=effect, after_crash=after_crash, name=name)(run)

    act("look", Effect.READ)
    act("note", Effect.EFFECT)
    act("keyed", Effect.EFFECT, AfterCrash.NATIVE)
    act("put", Effect.EFFECT, AfterCrash.UPSERT)
    act("compute", Effect.PURE)
    return connector


@dataclass
class Laboratory:
    """`run` accepts and runs a flow; `again` goes on with an execution as another worker would."""

    directory: Path
    sandbox: Sandbox
    clock: SteppingClock
    engine: EngineSettings = field(default_factory=EngineSettings)
    world: World = field(default_factory=World)
    config: dict[str, Any] = field(default_factory=dict)
    connections: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    connectors: dict[str, Connector] = field(default_factory=dict)
    events: list[tuple[str, Event]] = field(default_factory=list)
    queue: MemoryQueue = field(init=False)
    journal: MemoryJournal = field(default_factory=MemoryJournal)
    running: Running | None = None
    token: int = 0

    def __post_init__(self) -> None:
        self.queue = MemoryQueue(clock=self.clock)
        self.payloads = FilePayloads(self.directory / "payloads")
        self.bundles = BundleStore(self.directory)
        self.connectors.setdefault("world", world_connector(self.world))
        self.backends = Backends(
            journal=self.journal,
            payloads=self.payloads,
            state=MemoryState(clock=self.clock),
            sandbox=self.sandbox,
            connectors=self.connectors,
            bundles=self.bundles,
            instances=self,
            clock=self.clock,
            key=KEY,
            secret=self._secret,
            observe=lambda execution, event: self.events.append((execution, event)),
            callback_url=lambda execution, path: f"http://turnout.test/callbacks/{execution}/{path}",
            settings=self.engine,
        )

    async def _secret(self, written: str) -> Secret:
        return Secret(written)

    async def settings(self, tenant: str, digest: str) -> InstanceSettings:
        """As the engine asks: there is just one instance here."""
        return InstanceSettings(config=self.config, connections=self.connections)

    async def fields(self, tenant: str, settings: InstanceSettings, slot: str) -> Mapping[str, Any] | None:
        written = settings.connections.get(slot)
        assert not isinstance(written, str)
        return written

    async def deploy(self, text: str, files: Mapping[str, str] | None = None) -> Instance:
        source = self.directory / "source"
        source.mkdir(exist_ok=True)
        for name, content in (files or {}).items():
            (source / name).write_text(content)
        bundle = await self.bundles.build(load_yaml_text(text, directory=str(source)))
        return Instance(name="i", tenant="t", integration=bundle.integration, bundle=bundle.hash, settings="s")

    async def accept(
        self, text: str, body: Any = None, *, flow: str = "main", files: Mapping[str, str] | None = None
    ) -> str:
        instance = await self.deploy(text, files)
        submission = Submission(backends=self.backends, queue=self.queue)
        return (await submission.accept(instance, flow, Value({"body": body}))).id

    async def again(self, id: str, *, change: Callable[[Backends], Backends] = lambda backends: backends) -> Any:
        """Run the execution with a new token, in an engine of its own, as a worker that has just started would."""
        self.token += 1
        engine = Engine(change(self.backends))
        self.running = Running()
        try:
            return await engine.run(id, token=self.token, attempt=self.token, worker="w", running=self.running)
        finally:
            await engine.close()

    async def run(
        self, text: str, body: Any = None, *, flow: str = "main", files: Mapping[str, str] | None = None
    ) -> Any:
        return await self.again(await self.accept(text, body, flow=flow, files=files))

    def with_settings(self, **settings: Any) -> None:
        self.backends = replace(self.backends, settings=replace(self.backends.settings, **settings))

    async def history(self, id: str) -> list[Event]:
        return [decode_event(row.kind, row.body) for row in await self.journal.rows(id)]

    def ended(self, *, items: bool = False) -> list[str]:
        """Paths of the steps that were reported to have ended, in order."""
        found = [event for _, event in self.events if isinstance(event, StepEnded)]
        return [event.path for event in found if items or event.kind != "item"]
