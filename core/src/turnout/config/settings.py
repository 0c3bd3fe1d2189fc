"""What settings are once they are read: values, with their defaults. Every default works on one machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from turnout.config.alerts import AlertSettings
from turnout.config.api import ApiSettings
from turnout.config.logs import LogSettings
from turnout.config.metrics import MetricSettings
from turnout.config.oauth import OAuthSettings
from turnout.config.placement import ServiceSettings
from turnout.model.durability import Durability
from turnout.model.tenancy import Policies, TenantPolicy

__all__ = [
    "JournalMode",
    "LimitSettings",
    "PluginSettings",
    "ProjectSettings",
    "QueueSettings",
    "RetentionSettings",
    "RunnerSettings",
    "Settings",
    "StorageSettings",
    "StoresSettings",
    "TelemetrySettings",
    "UnreadSettings",
]

_MEGABYTE = 1000 * 1000


class JournalMode(StrEnum):
    """When a step's row is waited for: `default` before effects and at the end, `strict` after every step."""

    DEFAULT = "default"
    STRICT = "strict"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectSettings:
    """`name` is what people see; the directory's name stands for it where it is empty. `url` is where senders reach webhooks
    and callbacks; empty: where they are served."""

    name: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionSettings:
    """How long records of ended executions are kept, and how much space they may take; None: no bound."""

    days: int | None = 30
    size_bytes: int | None = 1000 * _MEGABYTE


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadSettings:
    """How much of the event stream is kept for a service that does not read: the newest `rows`, for `hours` after an
    execution's end."""

    rows: int = 500_000
    hours: int = 72

    @property
    def kept_s(self) -> float:
        return self.hours * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageSettings:
    """The embedded store. `durability` is `PROCESS`, or `HOST` where each write is synced to the disk."""

    directory: str = ".turnout"
    durability: Durability = Durability.PROCESS
    retention: RetentionSettings = field(default_factory=RetentionSettings)
    unread: UnreadSettings = field(default_factory=UnreadSettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoresSettings:
    """Which backends the project works with, by the names that plugins give them."""

    queue: str = "sqlite"
    journal: str = "sqlite"
    records: str = "sqlite"
    state: str = "sqlite"
    catalog: str = "sqlite"
    payloads: str = "file"
    keys: str = "local"


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSettings:
    """How long a lease lasts that nobody renews, how often an execution may kill its worker, and how customers share the
    queue: `weight`, `in_flight` and `capacity` are each customer's; `tenants` has what is different for one of them."""

    lease_s: float = 30.0
    attempts: int = 5
    weight: int = 1
    in_flight: int | None = None
    capacity: int | None = None
    tenants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def policies(self) -> Policies:
        default = TenantPolicy(weight=self.weight, in_flight=self.in_flight, capacity=self.capacity)
        return Policies(
            default=default, tenants={name: replace(default, **changed) for name, changed in self.tenants.items()}
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerSettings:
    """`concurrency` is how many executions run at once in a process; `sandbox` a name that a plugin provides, which isolates
    customers from each other unless `allow_unsafe_sandbox`. A worker that
    is told to stop lets them run on for `drain_s`, and serves health and metrics on `health`, HOST:PORT, or nowhere."""

    concurrency: int = 16
    sandbox: str = "process"
    allow_unsafe_sandbox: bool = False
    journal: JournalMode = JournalMode.DEFAULT
    drain_s: float = 60.0
    health: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSettings:
    """Of one sandbox (`memory`, `result`, `log`, the `files` that a code step makes), and of the body of a webhook's request."""

    memory_bytes: int = 256 * _MEGABYTE
    result_bytes: int = 500 * _MEGABYTE
    files: int = 1000
    files_bytes: int = 2000 * _MEGABYTE
    log_bytes: int = _MEGABYTE
    request_bytes: int = 500 * _MEGABYTE


@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetrySettings:
    """Where traces go: `otlp` is the collector's base URL, `headers` references to what it wants to be sent. `sample` is the
    share, 0 to 1, of the traces that begin here."""

    otlp: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    service_name: str = ""
    sample: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginSettings:
    """`blocked` are names of installed plugins that are not loaded."""

    blocked: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of a project in one environment. `root` is the project's directory, absolute; `file` the
    `turnout.toml` they were read from, or None where there is none. `connectors`, `backends` and `targets` have each one's own
    table, unread."""

    root: Path
    file: Path | None = None
    environment: str = ""
    project: ProjectSettings = field(default_factory=ProjectSettings)
    storage: StorageSettings = field(default_factory=StorageSettings)
    stores: StoresSettings = field(default_factory=StoresSettings)
    connectors: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    backends: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    targets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    services: Mapping[str, ServiceSettings] = field(default_factory=dict)
    queue: QueueSettings = field(default_factory=QueueSettings)
    runner: RunnerSettings = field(default_factory=RunnerSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    logs: Mapping[str, LogSettings] = field(default_factory=dict)
    oauth: OAuthSettings = field(default_factory=OAuthSettings)
    api: ApiSettings = field(default_factory=ApiSettings)
    telemetry: TelemetrySettings = field(default_factory=TelemetrySettings)
    alerts: AlertSettings = field(default_factory=AlertSettings)
    metrics: MetricSettings = field(default_factory=MetricSettings)
    plugins: PluginSettings = field(default_factory=PluginSettings)

    @property
    def name(self) -> str:
        """The project's name: its directory's where none is set."""
        return self.project.name or self.root.name

    @property
    def deployment(self) -> str:
        """What is named after the project and the environment together."""
        return f"{self.name}-{self.environment}" if self.environment else self.name

    def service(self, name: str) -> ServiceSettings:
        """Where a service is placed."""
        return self.services.get(name, ServiceSettings())

    @property
    def storage_directory(self) -> Path:
        return self.root / self.storage.directory
