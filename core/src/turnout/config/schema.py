"""Which settings there are: the table that reading, error messages and the reference in the documentation share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields

from turnout.config.alerts import ALERTS
from turnout.config.api import API
from turnout.config.logs import LOG
from turnout.config.metrics import METRICS
from turnout.config.oauth import OAUTH
from turnout.config.placement import SERVICE
from turnout.config.readers import (
    address,
    base_url,
    collector,
    count,
    drain_time,
    duration,
    flag,
    one_of,
    or_unlimited,
    references,
    share,
    size,
    text,
    texts,
)
from turnout.config.settings import (
    JournalMode,
    LimitSettings,
    PluginSettings,
    ProjectSettings,
    QueueSettings,
    RetentionSettings,
    RunnerSettings,
    Settings,
    StorageSettings,
    StoresSettings,
    TelemetrySettings,
    UnreadSettings,
)
from turnout.config.shapes import Leaf, Named, Section, Setting, leaf
from turnout.model.durability import Durability

__all__ = ["SCHEMA", "SETTINGS"]

_TENANT: Mapping[str, Leaf] = {
    "weight": leaf("weight", count(1, 1000), "How many of a customer's executions are handed out in its turn."),
    "in_flight": leaf(
        "in_flight", or_unlimited(count(1, 1_000_000)), "How many of a customer's executions may run at once."
    ),
    "capacity": leaf(
        "capacity",
        or_unlimited(count(1, 1_000_000_000)),
        "How many of a customer's executions may wait before senders are told to slow down; webhooks never are.",
    ),
}

SCHEMA = Section(
    make=Settings,
    keys={
        "project": Section(
            make=ProjectSettings,
            keys={
                "name": leaf("name", text, "The project's name; its directory's without it."),
                "url": leaf(
                    "url", base_url, "Where senders reach webhooks and callbacks, for all processes of the project."
                ),
            },
        ),
        "storage": Section(
            make=StorageSettings,
            keys={
                "directory": leaf("directory", text, "Where the embedded store keeps its files."),
                "durability": leaf(
                    "durability",
                    one_of({"process": Durability.PROCESS, "full": Durability.HOST}),
                    "What a write survives: `process` SIGKILL, `full` loss of power as well.",
                ),
                "retention": Section(
                    make=RetentionSettings,
                    keys={
                        "days": leaf(
                            "days",
                            or_unlimited(count(1, 36500)),
                            "How many days records of ended executions are kept.",
                        ),
                        "size": leaf("size_bytes", or_unlimited(size), "What records may take; the oldest go first."),
                    },
                ),
                "unread": Section(
                    make=UnreadSettings,
                    keys={
                        "rows": leaf(
                            "rows",
                            count(1, 1_000_000_000),
                            "How many of the newest events are kept for a service that is down and has not read them.",
                        ),
                        "hours": leaf(
                            "hours",
                            count(1, 8760),
                            "How long after an execution's end its events are kept for such a service.",
                        ),
                    },
                ),
            },
        ),
        "stores": Section(
            make=StoresSettings,
            keys={
                "queue": leaf("queue", text, "Which queue, by the name a plugin gives it."),
                "journal": leaf("journal", text, "Which journal."),
                "records": leaf("records", text, "Which record store."),
                "state": leaf("state", text, "Which store of the values that flows keep."),
                "catalog": leaf(
                    "catalog", text, "Which store of customers, versions, instances, connections, schedules and keys."
                ),
                "payloads": leaf("payloads", text, "Which store of content too large for a row."),
                "keys": leaf("keys", text, "What wraps the keys that customers' credentials are encrypted with."),
            },
        ),
        "connectors": Named(
            field="connectors",
            section=None,
            description="Tables `[connectors.<name>]`: a connector made from a description, `source` says of which kind.",
        ),
        "backends": Named(
            field="backends",
            section=None,
            description="Tables `[backends.<name>]`: the settings of that backend, as its documentation has them.",
        ),
        "targets": Named(
            field="targets",
            section=None,
            description="Tables `[targets.<name>]`: the settings of that compute target, as its documentation has them.",
        ),
        "services": Named(
            field="services",
            section=SERVICE,
            description="Tables `[services.<name>]`: where a service runs, `target`, and what it gets there, `memory` and `processes`.",
        ),
        "queue": Section(
            make=QueueSettings,
            keys={
                "lease": leaf("lease_s", duration, "After how long a silent worker's executions are given to others."),
                "attempts": leaf(
                    "attempts",
                    count(1, 1000),
                    "How often an execution may take its worker with it before it is given up.",
                ),
                **_TENANT,
                "tenants": Named(
                    field="tenants",
                    section=Section(make=dict, keys=_TENANT),
                    description="Tables `[queue.tenants.<name>]`: `weight`, `in_flight` and `capacity` of one customer.",
                ),
            },
        ),
        "runner": Section(
            make=RunnerSettings,
            keys={
                "concurrency": leaf("concurrency", count(1, 10000), "How many executions run at once in a process."),
                "sandbox": leaf("sandbox", text, "Which sandbox runs code steps, by the name a plugin gives it."),
                "journal": leaf(
                    "journal",
                    one_of({mode.value: mode for mode in JournalMode}),
                    "`strict` waits for every step's row, `default` before effects and at the end.",
                ),
                "drain": leaf("drain_s", drain_time, "How long a worker's executions may finish after SIGTERM."),
                "health": leaf(
                    "health", address, "Where a worker serves /healthz, /readyz and /metrics; nowhere without it."
                ),
                "allow_unsafe_sandbox": leaf(
                    "allow_unsafe_sandbox",
                    flag,
                    "Run code of several customers although the sandbox does not keep them apart: for development alone.",
                ),
            },
        ),
        "limits": Section(
            make=LimitSettings,
            keys={
                "memory": leaf("memory_bytes", size, "Memory of one sandbox."),
                "result": leaf("result_bytes", size, "What a code step may return."),
                "files": leaf("files", count(1, 100_000), "How many files a code step may make."),
                "files_size": leaf("files_bytes", size, "What all files that a code step makes may hold together."),
                "log": leaf("log_bytes", size, "What a code step may log."),
                "request": leaf("request_bytes", size, "The body of a webhook's request."),
            },
        ),
        "logs": Named(
            field="logs",
            section=LOG,
            description="Tables `[logs.<name>]`: a place where logs are shipped: its `kind`, `level`, `sources`, `customers` and the "
            "kind's own `options`.",
        ),
        "oauth": OAUTH,
        "api": API,
        "telemetry": Section(
            make=TelemetrySettings,
            keys={
                "otlp": leaf(
                    "otlp",
                    collector,
                    "The base URL of the OpenTelemetry collector (OTLP over HTTP) that gets traces.",
                    private=True,
                ),
                "headers": leaf(
                    "headers", references, "Headers for the collector, each a reference to its value.", private=True
                ),
                "service_name": leaf("service_name", text, "`service.name` of the spans; `turnout` without it."),
                "sample": leaf(
                    "sample", share, "Which share of the traces that begin here is kept; others as their sender says."
                ),
            },
        ),
        "alerts": ALERTS,
        "metrics": METRICS,
        "plugins": Section(
            make=PluginSettings,
            keys={"blocked": leaf("blocked", texts, "Installed plugins that are not loaded, by name.")},
        ),
    },
)


def _settings(section: Section, path: str) -> Iterator[Setting]:
    defaults = section.make() if section.make is not Settings else None
    for key, inner in section.keys.items():
        name = f"{path}.{key}" if path else key
        match inner:
            case Section():
                yield from _settings(inner, name)
            case Named():
                yield Setting(name=name, field=inner.field, description=inner.description, default={})
            case Leaf():
                assert inner.field in {field.name for field in fields(section.make)}
                yield Setting(
                    name=name,
                    field=inner.field,
                    description=inner.description,
                    default=getattr(defaults, inner.field),
                )


SETTINGS: tuple[Setting, ...] = tuple(_settings(SCHEMA, ""))
"""Every setting there is, in the order of the reference."""
