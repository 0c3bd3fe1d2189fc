"""What the engine works with: every store, sandbox and connector of a worker, in one frozen value."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol

from turnout.engine.tracing import Tracing
from turnout.interfaces.clock import Clock
from turnout.interfaces.connector import Connector
from turnout.interfaces.journal import Journal
from turnout.interfaces.payloads import PayloadStore
from turnout.interfaces.sandbox import CodeBundle, Limits, Sandbox
from turnout.interfaces.secrets import Secret
from turnout.interfaces.state import StateStore
from turnout.model.definition import Integration
from turnout.model.events import Event

__all__ = ["Backends", "Bundle", "Bundles", "EngineSettings", "InstanceSettings", "Instances"]


class Bundle(Protocol):
    """One version of an integration with its code, immutable, named by the hash of its content."""

    @property
    def hash(self) -> str: ...

    @property
    def integration(self) -> Integration: ...

    @property
    def code(self) -> CodeBundle: ...

    def module_of(self, flow: str, step: Any) -> str:
        """The entry file of a code step, relative to the bundle's directory."""


class Bundles(Protocol):
    async def load(self, hash: str) -> Bundle:
        """`NotFound` if there is no such bundle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceSettings:
    """What an instance runs with: resolved config values; for each connection its fields as written, secrets by reference, or
    the name of a connection that the customer keeps, whose fields may change while executions run."""

    config: Mapping[str, Any] = field(default_factory=dict)
    connections: Mapping[str, Mapping[str, Any] | str] = field(default_factory=dict)


class Instances(Protocol):
    async def settings(self, tenant: str, digest: str) -> InstanceSettings:
        """The customer's settings of that digest, as they were when the execution was accepted. `NotFound` if they are gone."""

    async def fields(self, tenant: str, settings: InstanceSettings, slot: str) -> Mapping[str, Any] | None:
        """A connection's fields as they are now, an access token among them that does not expire at once; None where the
        settings have none. The same object as before where nothing has changed. `StepError` of kind `connection` says what
        is wrong and never what is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """How the engine runs every execution.

    `strict` waits for every step's row to be durable. A retry or a wait that is longer than `suspend_after` leaves the
    worker. A code step without a time-out of its own gets `code_timeout`, and one that ran longer than `long_code` has
    its result written at once. `lanes` bounds the sandboxes that one execution uses at the same time.
    """

    strict: bool = False
    suspend_after: timedelta = timedelta(seconds=10)
    code_timeout: timedelta = timedelta(minutes=5)
    long_code: timedelta = timedelta(milliseconds=50)
    report_every: timedelta = timedelta(milliseconds=200)
    lanes: int = 4
    log_lines: int = 10_000
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backends:
    """`secret` resolves a reference such as `env:ERP_TOKEN`; `key` makes idempotency keys; `observe` sees each event
    once it is durable; `callback_url` is the address that ends a waiting step; without `tracing` no spans are made.
    `admit` is asked before a customer's code runs: `SettingsError` if it must not run beside others'."""

    journal: Journal
    payloads: PayloadStore
    state: StateStore
    sandbox: Sandbox
    connectors: Mapping[str, Connector]
    bundles: Bundles
    instances: Instances
    clock: Clock
    key: bytes
    secret: Callable[[str], Awaitable[Secret]]
    observe: Callable[[str, Event], None]
    callback_url: Callable[[str, str], str]
    settings: EngineSettings = EngineSettings()
    tracing: Tracing | None = None
    admit: Callable[[str], None] = lambda tenant: None
