"""A whole platform in one process: the embedded stores, the engine, the services, for one project."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

from turnout.config import JournalMode, Settings
from turnout.definition import resolve_config
from turnout.definition.schedules import schedules_of
from turnout.engine.backends import Backends, EngineSettings
from turnout.engine.connections import connect, connection_type, slots_used
from turnout.engine.egress import hosts_of
from turnout.engine.engine import Engine
from turnout.engine.history import History
from turnout.engine.outcome import Finished, Suspended
from turnout.engine.tracing import Tracing
from turnout.errors import SettingsError, StepError
from turnout.interfaces.clock import Clock
from turnout.interfaces.connector import Connector
from turnout.interfaces.sandbox import Limits, Sandbox
from turnout.interfaces.service import Service
from turnout.local.admission import Admission
from turnout.local.alerting import Alerting
from turnout.local.dead_letters import DeadLetters
from turnout.local.instances import LocalInstances
from turnout.local.oauth import oauth_of
from turnout.local.operations import Operations
from turnout.local.retention import Retention
from turnout.local.scheduling import scheduler_of
from turnout.local.services import consumer_names, services_of
from turnout.local.stores import Stores
from turnout.local.stream import EventStream
from turnout.local.tenancy import Tenancy
from turnout.local.tenants import Tenants
from turnout.local.timers import Timers
from turnout.local.workers import WorkerLock, any_ended, is_alive, sweep
from turnout.model.definition import Integration
from turnout.model.durability import Durability
from turnout.model.events import Event
from turnout.model.execution import ExecutionRecord
from turnout.plugins import Registry
from turnout.services.api_keys import ApiKeys
from turnout.services.connections import Connections
from turnout.services.consumers import Consumers
from turnout.services.customers import LOCAL_TENANT
from turnout.services.ingress import CallbackUrls, Ingress, may_start
from turnout.services.instance_settings import SettingsStore
from turnout.services.logs.counts import LogCounts
from turnout.services.logs.service import Logs
from turnout.services.metadata import Metadata
from turnout.services.otlp import OtlpTraces, open_traces
from turnout.services.queue_time import QueueTime
from turnout.services.recovery import Recovery
from turnout.services.runner import Runner, RunnerOptions, RunnerWatch
from turnout.services.submission import Instance, Submission, message_of
from turnout.services.sweep import Readers
from turnout.services.waiting import Endings
from turnout.values import Value

__all__ = ["LOCAL_TENANT", "Platform"]

_HOLD_S = 60.0
_POLL_S = 0.2
_DRAIN_S = 3.0
"""Somebody at a terminal waits for the end: what takes longer is handed back, to go on at the next start."""

Observer = Callable[[str, Event], None]


class Platform:
    """Open it with `Platform.open`; close it at the end. Nothing runs until `start` or `run`."""

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        stores: Stores,
        sandbox: Sandbox,
        *,
        public_url: str,
        observers: tuple[Observer, ...],
        traces: OtlpTraces | None = None,
        drain_s: float = _DRAIN_S,
        watch: RunnerWatch | None = None,
    ) -> None:
        self.settings = settings
        self.registry = registry
        self.stores = stores
        self._traces = traces
        self._workers = stores.directory / "workers"
        self._lock = WorkerLock(self._workers)
        self._observers = (*registry.observers, *observers)
        self._sandbox = sandbox
        self._tenancy = Tenancy(
            sandbox, settings.runner.sandbox, stores.directory, allowed=settings.runner.allow_unsafe_sandbox
        )
        self.instances = LocalInstances(self._tenancy.check_instances)
        self.connections = Connections(
            stores.catalog,
            stores.vault,
            stores.clock,
            registry.connectors,
            schemes=stores.references.schemes,
            secret=stores.references.resolve,
        )
        self.oauth = oauth_of(settings, stores, self.connections, public_url)
        self.instance_settings = SettingsStore(
            stores.catalog, stores.vault, self.connections, stores.keys.derive("instances")
        )
        self.endings = Endings()
        consumers = Consumers(stores.catalog)
        readers = Readers(consumers=consumers, names=self.consumer_names, unread=settings.storage.unread)
        self.metadata = Metadata(stores.journal, stores.records, stores.clock, readers=readers)
        self.consumers = consumers
        self.stream = EventStream(
            stores.journal,
            consumers,
            stores.clock,
            owner=self._lock.name,
            is_alive=lambda owner: is_alive(self._workers, owner),
        )
        self.callbacks = CallbackUrls(public_url, stores.keys.derive("callbacks"))
        self._time = QueueTime(stores.clock, settings.queue.lease_s)
        self.backends = self._backends(registry.connectors)
        self.engine = Engine(self.backends)
        self.submission = Submission(backends=self.backends, queue=stores.queue)
        self.admission = Admission(settings, stores.queue, sandbox, self.engine)
        self.recovery = Recovery(
            stores.queue,
            stores.journal,
            self._time,
            message_of=message_of,
            observe=self._observe,
            tracing=self.backends.tracing,
            dead_workers=self._dead_workers,
            any_ended=lambda: any_ended(self._workers),
        )
        self.runner = Runner(
            self.engine,
            stores.queue,
            stores.journal,
            self._time,
            worker=self._lock.name,
            options=RunnerOptions(
                concurrency=settings.runner.concurrency,
                lease_s=settings.queue.lease_s,
                drain_s=drain_s,
                # Half of the attempts in company: what was killed by chance goes on at full speed.
                suspect_attempt=max(2, settings.queue.attempts // 2 + 1),
            ),
            open_queue=stores.another_queue if stores.queue.durability is not Durability.MEMORY else None,
            given=self._time.given,
            given_up=self.recovery.bury,
            watch=watch,
        )
        self.operations = Operations(stores, self.submission, self.metadata, self.runner)
        self.dead_letters = DeadLetters(stores.queue, stores.records, self.metadata, self.recovery, self.operations)
        self.tenants = Tenants.of(self, self._tenancy)
        self.ingress = Ingress(
            self.backends,
            self.submission,
            stores.queue,
            self.endings,
            self.callbacks,
            self.tenants.deployments.get,
            stores.records.get,
            keys=may_start(ApiKeys(stores.catalog, stores.clock)),
        )
        self.logs = Logs(settings.logs, stores.log_sink, LogCounts(stores.catalog), stores.clock)
        self.retention = Retention(stores, self.metadata, settings.storage.retention)
        self.alerting = Alerting(
            settings,
            registry,
            stores,
            instances=self.tenants.deployments.active,
            instance=self.tenants.deployments.get,
            connections=self.connections,
            catch_up=self.metadata.catch_up,
        )
        self.scheduler = scheduler_of(self)
        self._started: list[Service | Timers] = []
        self._consumer_names: tuple[str, ...] | None = None

    @classmethod
    async def open(
        cls,
        settings: Settings,
        registry: Registry,
        *,
        clock: Clock | None = None,
        public_url: str = "http://127.0.0.1:8400",
        observers: tuple[Observer, ...] = (),
        drain_s: float = _DRAIN_S,
        watch: RunnerWatch | None = None,
    ) -> Platform:
        """Open the project's stores and connect its sandbox. `BackendError`, `SettingsError`, `NotFound` say what is wrong.
        The runner drains for `drain_s`, and tells `watch` how it does."""
        stores = await Stores.open(settings, registry, clock=clock)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(stores.close)
            sandbox = await stores.sandbox()
            stack.push_async_callback(sandbox.close)
            traces = await open_traces(settings.telemetry, stores.references.look_up)
            platform = cls(
                settings,
                registry,
                stores,
                sandbox,
                public_url=public_url,
                observers=observers,
                traces=traces,
                drain_s=drain_s,
                watch=watch,
            )
            stack.pop_all()
            return platform

    def _backends(self, connectors: Mapping[str, Connector]) -> Backends:
        stores, traces = self.stores, self._traces
        return Backends(
            journal=stores.journal,
            payloads=stores.payloads,
            state=stores.state,
            sandbox=self._sandbox,
            connectors=connectors,
            bundles=stores.bundles,
            instances=self.instance_settings,
            clock=self._time,
            key=stores.keys.derive("executions"),
            secret=stores.references.resolve,
            observe=self._observe,
            callback_url=self.callbacks.url,
            admit=self._tenancy.admit,
            settings=_engine_settings(self.settings),
            tracing=None if traces is None else Tracing(export=traces.export, sample=self.settings.telemetry.sample),
        )

    def _observe(self, execution: str, event: Event) -> None:
        self.endings.observe(execution, event)
        self.metadata.nudge()
        self.stream.nudge()
        for observer in self._observers:
            observer(execution, event)

    def services(self, *names: str) -> tuple[Service, ...]:
        """The services of those names, or everything that `turnout dev` serves, in the order of their start."""
        return tuple(service for service in services_of(self) if not names or service.name in names)

    async def consumer_names(self) -> tuple[str, ...]:
        """Of every consumer that is configured."""
        if self._consumer_names is None:
            self._consumer_names = await consumer_names(self)
        return self._consumer_names

    async def check_tenancy(self) -> None:
        """`SettingsError` if executions or instances of several customers have code that the sandbox does not keep apart."""
        await self.tenants.check()
        await self._tenancy.check_history(self.stores.records, self.stores.bundles)

    async def start_sandbox(self) -> tuple[str, ...]:
        """Get the sandbox ready; what it does not isolate, for people."""
        return tuple(await self._sandbox.start())

    async def deploy(
        self,
        integration: Integration,
        *,
        config: Mapping[str, Any],
        connections: Mapping[str, Mapping[str, Any]],
        name: str = "",
        tenant: str = LOCAL_TENANT,
    ) -> Instance:
        """Make an instance of the integration, of its own name unless `name` is given.

        `SettingsError` names every config value and connection that is missing or wrong. Connections that flows use and
        that have no values are found when a step needs them.
        """
        for slot in connections:
            if slot not in integration.connections:
                known = ", ".join(integration.connections) or "none"
                raise SettingsError(f"connection {slot!r} is not one of {integration.name!r}: {known}", setting=slot)
        self.admission.check(integration)
        for slot in integration.connections:
            connection_type(integration, self.backends.connectors, slot, connections.get(slot))
        resolved = resolve_config(integration, config)
        hosts_of(integration, resolved)
        schedules_of(integration, resolved)
        bundle = await self.stores.bundles.build(integration)
        self.admission.check_bundle(bundle)
        instance = Instance(
            name=name or integration.name,
            tenant=tenant,
            integration=bundle.integration,
            bundle=bundle.hash,
            settings=await self.instance_settings.save(tenant, resolved, connections),
        )
        self.instances.deploy(instance)
        return instance

    async def check_connections(self, instance: Instance, flow: str) -> None:
        """Make every connection that the flow may use, once. `SettingsError` names all that are missing or wrong."""
        settings = await self.instance_settings.settings(instance.tenant, instance.settings)
        integration, connectors, secret = instance.integration, self.backends.connectors, self.backends.secret
        wrong: dict[str, str] = {}
        for slot in slots_used(integration, flow):
            try:
                written = await self.instance_settings.fields(instance.tenant, settings, slot)
                await connect(integration, connectors, secret, slot, written)
            except StepError as error:
                wrong[slot] = error.message
        if wrong:
            raise SettingsError("; ".join(wrong.values()), setting=next(iter(wrong)))

    async def run(self, instance: Instance, flow: str, trigger: Value) -> str:
        """Run a flow here and now until it ends, is parked, or cannot go on; its id.

        Waits are waited out here. The execution is in the queue all the while: if this process dies, `turnout resume`
        or `turnout dev` goes on with it. It begins at once whatever the flow's limits, and counts with the others while
        it runs. `Overloaded` if the customer has as many executions waiting as it may.
        """
        accepted = await self.submission.accept(instance, flow, trigger, hold_s=_HOLD_S, capped=True)
        await self.follow(accepted.id)
        return accepted.id

    async def follow(self, id: str) -> None:
        """Run an execution that is in the queue until it ends or is parked, or is seen to have ended elsewhere."""
        while True:
            lease = await self.stores.queue.claim(self._lock.name, id)
            outcome = None if lease is None else await self.runner.run(lease)
            match outcome:
                case Finished():
                    return
                case Suspended(until=until):
                    await self._sleep(id, until)
                case None:
                    history = History.of(await self.stores.journal.rows(id))
                    if history.info is None or history.ended is not None:
                        return
                    await self.stores.clock.sleep(_POLL_S)

    async def _sleep(self, id: str, until: float | None) -> None:
        """Until the time has come, or something from outside is new in the journal."""
        clock, journal = self.stores.clock, self.stores.journal
        known = len(await journal.rows(id))
        while until is None or clock.now() < until:
            left = _POLL_S if until is None else min(_POLL_S, until - clock.now())
            await clock.sleep(max(left, 0.001))
            if len(await journal.rows(id)) != known:
                return

    def _dead_workers(self, workers: Sequence[str]) -> list[str]:
        dead = [worker for worker in workers if not is_alive(self._workers, worker)]
        sweep(self._workers)  # who held no lease left nothing to look for
        return dead

    async def recover(self) -> int:
        """As `Recovery.recover`, for the start of a process that serves this machine alone."""
        return await self.recovery.recover()

    async def record(self, id: str) -> ExecutionRecord | None:
        """The record as of now."""
        await self.metadata.catch_up()
        return await self.stores.records.get(id)

    async def drained(self) -> None:
        """Return once the queue has nothing more that is due or running."""
        while True:
            stats = await self.stores.queue.stats()
            if not stats.ready and not stats.leased:
                return
            await self.stores.clock.sleep(0.05)

    async def start(self, *services: Service) -> None:
        """Start the services and what they do by the clock; their routes and consumers are a target's to drive."""
        for service in services:
            self._started.append(service)
            await service.start()
        timers = Timers([timer for service in services for timer in service.timers()], self.stores.clock)
        timers.start()
        self._started.append(timers)

    async def close(self, *, record: bool = True) -> None:
        """Stop what runs, the last started first, and let go of everything, whether or not one part fails to; with
        `record`, bring the records up to date."""
        async with AsyncExitStack() as stack:  # closed from the last line up
            stack.push_async_callback(self.stores.close)
            stack.callback(self._lock.release)
            stack.push_async_callback(self.logs.stop)  # its sinks may be open without its having been started
            stack.push_async_callback(self._sandbox.close)
            stack.push_async_callback(self.oauth.close)
            if self._traces is not None:
                stack.push_async_callback(asyncio.to_thread, self._traces.close)
            stack.push_async_callback(self.engine.close)
            if record:
                stack.push_async_callback(self.metadata.finish)
            stack.push_async_callback(self.runner.stop)  # it may beat without having been started
            for started in self._started:
                stack.push_async_callback(started.stop)
            self._started.clear()


def _engine_settings(settings: Settings) -> EngineSettings:
    limits = settings.limits
    return EngineSettings(
        strict=settings.runner.journal is JournalMode.STRICT,
        limits=Limits(
            memory_bytes=limits.memory_bytes,
            result_bytes=limits.result_bytes,
            files=limits.files,
            files_bytes=limits.files_bytes,
            log_bytes=limits.log_bytes,
        ),
    )
