"""What the `local` backend provides, registered through the same entry point group as anybody's plugin.

The hooks import what they return: `turnout --help` loads this module and must not load a database, a server or Node.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from turnout.hookspecs import hookimpl

if TYPE_CHECKING:
    from turnout.interfaces.queue import Queue
    from turnout.interfaces.sandbox import Sandbox
    from turnout.interfaces.target import Target

__all__: list[str] = []


@hookimpl
def turnout_queues() -> Mapping[str, type[Queue]]:
    from turnout.local.memory_queue import MemoryQueue
    from turnout.local.sqlite_queue import SQLiteQueue

    return {"memory": MemoryQueue, "sqlite": SQLiteQueue}


@hookimpl
def turnout_sandboxes() -> Mapping[str, type[Sandbox]]:
    from turnout.local.process_sandbox import ProcessSandbox

    return {"process": ProcessSandbox}


@hookimpl
def turnout_stores() -> Mapping[str, type]:
    from turnout.local.environment_secrets import EnvironmentSecrets
    from turnout.local.file_payloads import FilePayloads
    from turnout.local.file_secrets import FileSecrets
    from turnout.local.local_key_wrapper import LocalKeyWrapper
    from turnout.local.sqlite_catalog import SQLiteCatalog
    from turnout.local.sqlite_journal import SQLiteJournal
    from turnout.local.sqlite_records import SQLiteRecords
    from turnout.local.sqlite_state import SQLiteState
    from turnout.services.alerts.pagerduty import PagerDutyNotifier
    from turnout.services.alerts.slack import SlackNotifier
    from turnout.services.alerts.smtp import SmtpNotifier
    from turnout.services.alerts.webhook import WebhookNotifier
    from turnout.services.logs.datadog import DatadogLogs
    from turnout.services.logs.file_sink import FileLogs
    from turnout.services.logs.otlp_logs import OtlpLogs

    return {
        "alerts:pagerduty": PagerDutyNotifier,
        "alerts:slack": SlackNotifier,
        "alerts:smtp": SmtpNotifier,
        "alerts:webhook": WebhookNotifier,
        "catalog:sqlite": SQLiteCatalog,
        "journal:sqlite": SQLiteJournal,
        "keys:local": LocalKeyWrapper,
        "logs:datadog": DatadogLogs,
        "logs:file": FileLogs,
        "logs:otlp": OtlpLogs,
        "records:sqlite": SQLiteRecords,
        "payloads:file": FilePayloads,
        "secrets:env": EnvironmentSecrets,
        "secrets:file": FileSecrets,
        "state:sqlite": SQLiteState,
    }


@hookimpl
def turnout_targets() -> Mapping[str, type[Target]]:
    from turnout.local.target import LocalTarget

    return {"local": LocalTarget}
