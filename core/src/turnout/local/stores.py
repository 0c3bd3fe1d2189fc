"""The stores of one project: each backend by the name that settings give it, opened together and closed together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar, cast

from turnout.config import Settings
from turnout.deploy.queue_fit import require_turns
from turnout.errors import BackendError, NotFound, SettingsError, Unsupported
from turnout.interfaces.catalog import CatalogStore
from turnout.interfaces.clock import Clock, SystemClock
from turnout.interfaces.journal import Journal
from turnout.interfaces.keys import KeyWrapper
from turnout.interfaces.log_sink import LogSink
from turnout.interfaces.metric_sink import MetricSink
from turnout.interfaces.opening import Openable, Opening, Shared
from turnout.interfaces.payloads import PayloadStore
from turnout.interfaces.queue import Queue
from turnout.interfaces.records import RecordStore
from turnout.interfaces.sandbox import Sandbox
from turnout.interfaces.secrets import SecretStore
from turnout.interfaces.state import StateStore
from turnout.local.bundles import BundleStore
from turnout.local.file_secrets import FileSecrets
from turnout.local.keys import Keys
from turnout.local.secret_references import OpenStore, SecretReferences
from turnout.local.shared_bundles import SharedBundles
from turnout.plugins import Registry
from turnout.plugins.contracts import Kind
from turnout.services.data_keys import OpenWrapper
from turnout.services.vault import Vault

__all__ = ["Stores"]

B = TypeVar("B", bound=Openable)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """What a process of the project reads and writes. Secrets, keys and bundles are in the storage directory."""

    directory: Path
    clock: Clock
    queue: Queue
    journal: Journal
    state: StateStore
    catalog: CatalogStore
    records: RecordStore
    payloads: PayloadStore
    secrets: FileSecrets
    references: SecretReferences
    keys: Keys
    vault: Vault
    bundles: BundleStore
    _openings: _Openings
    _open: AsyncExitStack

    @classmethod
    async def open(cls, settings: Settings, registry: Registry, *, clock: Clock | None = None) -> Stores:
        """Open what is there, make what is not. `SettingsError`, `BackendError` say what is wrong; nothing stays open."""
        directory, clock = settings.storage_directory, clock or SystemClock()
        _make(directory)
        keys = Keys(directory)
        secrets = FileSecrets(directory / "secrets.json", keys)
        references = SecretReferences(secrets)
        opening = Opening(
            directory=directory,
            clock=clock,
            durability=settings.storage.durability,
            secret=references.resolve,
            lease_s=settings.queue.lease_s,
            max_attempts=settings.queue.attempts,
            policies=settings.queue.policies,
        )
        openings = _Openings(settings, registry, opening)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(opening.shared.aclose)
            references.provide(*openings.secret_stores(stack))
            stack.push_async_callback(secrets.close)
            stack.push_async_callback(references.close)
            queue = await openings.queue(opening.shared, stack)
            catalog = cast("CatalogStore", await openings.store("catalog", stack))
            payloads = cast("PayloadStore", await openings.store("payloads", stack))
            return cls(
                directory=directory,
                clock=clock,
                queue=queue,
                journal=cast("Journal", await openings.store("journal", stack)),
                state=cast("StateStore", await openings.store("state", stack)),
                catalog=catalog,
                records=cast("RecordStore", await openings.store("records", stack)),
                payloads=payloads,
                secrets=secrets,
                references=references,
                keys=keys,
                vault=await openings.vault(catalog, stack),
                bundles=_bundles(directory, payloads, catalog),
                _openings=openings,
                _open=stack.pop_all(),
            )

    @asynccontextmanager
    async def another_queue(self) -> AsyncIterator[Queue]:
        """The same queue once more, with connections of its own: for another thread's event loop."""
        async with AsyncExitStack() as stack:
            shared = Shared()
            stack.push_async_callback(shared.aclose)
            yield await self._openings.queue(shared, stack)

    async def sandbox(self) -> Sandbox:
        """The sandbox that the settings choose, not started. Whoever asks closes it, before the stores."""
        return await self._openings.sandbox()

    async def log_sink(self, name: str) -> LogSink:
        """The sink of `[logs.<name>]`. Whoever asks closes it."""
        return await self._openings.log_sink(name)

    async def metric_sink(self) -> MetricSink:
        """The sink of `[metrics]`. Whoever asks closes it."""
        return await self._openings.metric_sink()

    async def close(self) -> None:
        """Close every store, then what they shared, whether or not one of them fails to. Idempotent."""
        await self._open.aclose()


@dataclass(frozen=True, slots=True)
class _Openings:
    """Opens backends as the settings choose them."""

    settings: Settings
    registry: Registry
    opening: Opening

    async def queue(self, shared: Shared, stack: AsyncExitStack) -> Queue:
        """With a catalog of its own, if it wants one: it may be for another event loop than the project's."""

        async def catalog() -> CatalogStore:
            return cast("CatalogStore", await self.store("catalog", stack, shared))

        name = self.settings.stores.queue
        openings = replace(self, opening=replace(self.opening, catalog=catalog))
        kind = self._find(Kind.QUEUES, name, "stores.queue")
        require_turns(self.settings, cast("type[Queue]", kind))
        queue = await openings._connect(kind, name, shared, "stores.queue")
        stack.push_async_callback(queue.close)
        return cast("Queue", queue)

    async def store(self, kind: str, stack: AsyncExitStack, shared: Shared | None = None) -> Openable:
        name = getattr(self.settings.stores, kind)
        setting = f"stores.{kind}"
        found = self._find(Kind.STORES, f"{kind}:{name}", setting)
        store = await self._connect(found, name, shared or self.opening.shared, setting)
        stack.push_async_callback(store.close)
        return store

    async def vault(self, catalog: CatalogStore, stack: AsyncExitStack) -> Vault:
        """Data keys may have been wrapped by another backend than the one that is chosen now: that is opened when needed."""
        wrapper = self._on_demand("keys", "stores.keys", stack)
        chosen = self.settings.stores.keys
        return Vault(
            catalog,
            cast("KeyWrapper", await wrapper(chosen)),
            name=chosen,
            open_wrapper=cast("OpenWrapper", wrapper),
            clock=self.opening.clock,
        )

    def secret_stores(self, stack: AsyncExitStack) -> tuple[frozenset[str], OpenStore]:
        """Those of plugins: their schemes, each also the name of its store, and what opens one."""
        opened = self._on_demand("secrets", "stores", stack)
        kinds = [kind for kind in self.registry.stores.values() if issubclass(kind, SecretStore)]
        schemes = frozenset(kind.scheme for kind in kinds if f"secrets:{kind.scheme}" in self.registry.stores)

        async def open_store(scheme: str) -> SecretStore | None:
            return cast("SecretStore", await opened(scheme)) if scheme in schemes else None

        return schemes, open_store

    def _on_demand(self, kind: str, setting: str, stack: AsyncExitStack) -> Callable[[str], Awaitable[Openable]]:
        """Opens stores of a kind by their names when they are asked for, each once; closed with the rest."""
        opened: dict[str, Openable] = {}
        closing, one_at_a_time = AsyncExitStack(), asyncio.Lock()
        stack.push_async_callback(closing.aclose)

        async def open_one(name: str) -> Openable:
            async with one_at_a_time:
                if name not in opened:
                    found = self._find(Kind.STORES, f"{kind}:{name}", setting)
                    opened[name] = await self._connect(found, name, self.opening.shared, setting)
                    closing.push_async_callback(opened[name].close)
                return opened[name]

        return open_one

    async def sandbox(self) -> Sandbox:
        name, setting = self.settings.runner.sandbox, "runner.sandbox"
        sandbox = await self._connect(self._find(Kind.SANDBOXES, name, setting), name, self.opening.shared, setting)
        return cast("Sandbox", sandbox)

    async def log_sink(self, name: str) -> LogSink:
        chosen, setting = self.settings.logs[name], f"logs.{name}"
        if not chosen.kind:
            raise SettingsError(f"{setting}.kind: it must be set: `file`, `datadog`, `otlp`", setting=f"{setting}.kind")
        sink = self._find(Kind.STORES, f"logs:{chosen.kind}", f"{setting}.kind")
        opening = replace(self.opening, table="logs", name=f"{name}.options", options=chosen.options, shared=Shared())
        try:
            return cast("LogSink", await sink.connect(opening))
        except NotFound as error:  # of what a reference names
            raise SettingsError(f"{setting}.options: {error}", setting=f"{setting}.options") from error

    async def metric_sink(self) -> MetricSink:
        chosen = self.settings.metrics
        sink = self._find(Kind.STORES, f"metrics:{chosen.kind}", "metrics.kind")
        opening = replace(self.opening, table="metrics", name="options", options=chosen.options, shared=Shared())
        try:
            return cast("MetricSink", await sink.connect(opening))
        except NotFound as error:  # of what a reference names
            raise SettingsError(f"metrics.options: {error}", setting="metrics.options") from error

    def _find(self, kind: Kind, name: str, setting: str) -> type[Openable]:
        try:
            found: type[Openable] = self.registry.find(kind, name)
        except NotFound as error:
            raise SettingsError(f"{setting}: {error}", setting=setting) from error
        return found

    async def _connect(self, backend: type[B], name: str, shared: Shared, setting: str) -> B:
        options = self.settings.backends.get(name, {})
        try:
            return await backend.connect(replace(self.opening, name=name, options=options, shared=shared))
        except Unsupported as error:
            message = f"{setting}: {name!r} cannot be chosen: a {backend.__name__} lives in one process, for tests"
            raise SettingsError(message, setting=setting) from error
        except NotFound as error:  # of what a reference names
            raise SettingsError(f"backends.{name}: {error}", setting=f"backends.{name}") from error


def _bundles(directory: Path, payloads: PayloadStore, catalog: CatalogStore) -> BundleStore:
    """Shared where other machines see the stores."""
    alone = payloads.on_this_machine or catalog.on_this_machine
    return BundleStore(directory, None if alone else SharedBundles(directory, payloads, catalog))


def _make(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        ignore = directory / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n")
    except OSError as error:
        raise BackendError(f"{directory}: executions cannot be kept there: {error.strerror}") from error
