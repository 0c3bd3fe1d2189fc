"""Records as JSON: what the HTTP API answers and `--json` prints."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from turnout.engine.content import Content
from turnout.errors import BackendError
from turnout.interfaces.payloads import PayloadStore
from turnout.model.execution import ErrorInfo, ExecutionRecord, SandboxReceipt, StepRecord
from turnout.model.limits import ExecutionLimits
from turnout.model.payload import Encoded, File
from turnout.model.trace import execution_context

__all__ = ["error_json", "record_json", "time_text", "value_json"]


def time_text(at: float | None) -> str | None:
    """ISO 8601 in UTC with milliseconds."""
    if at is None:
        return None
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


async def record_json(record: ExecutionRecord, payloads: PayloadStore) -> dict[str, Any]:
    """`id, integration, version, flow, status, output, error, started_at, duration_ms, steps`, then what else is known.

    Times are ISO 8601 in UTC, durations milliseconds.
    """
    info = record.info
    return {
        "id": info.id,
        "integration": info.integration,
        "version": info.version,
        "flow": info.flow,
        "status": record.status.value,
        "output": await value_json(record.output, payloads, info.tenant),
        "error": error_json(record.error),
        "started_at": time_text(record.started_at),
        "duration_ms": _rounded(record.duration_ms),
        "steps": [_step_json(step) for step in record.steps],
        "instance": info.instance,
        "customer": info.tenant,
        "created_at": time_text(info.created_at),
        "ended_at": time_text(record.ended_at),
        "attempts": record.attempts,
        "parent": info.parent or None,
        "replay_of": info.replay_of or None,
        "limits": _limits_json(info.limits),
        "trace_id": execution_context(info).trace_id,
        "sandboxes": [_receipt_json(receipt) for receipt in record.sandboxes],
    }


def _step_json(step: StepRecord) -> dict[str, Any]:
    return {
        "path": step.path,
        "status": step.status.value,
        "attempts": step.attempts,
        "started_at": time_text(step.started_at),
        "duration_ms": _rounded(step.duration_ms),
        "error": error_json(step.error),
        "kind": step.kind,
    }


def _receipt_json(receipt: SandboxReceipt) -> dict[str, Any]:
    return {
        "sandbox": receipt.sandbox,
        "layers": list(receipt.layers),
        "uid": None if receipt.uid < 0 else receipt.uid,
        "memory_bytes": receipt.memory_bytes,
        "peak_memory_bytes": receipt.peak_memory_bytes,
        "cpu_ms": _rounded(receipt.cpu_ms),
        "jobs": receipt.jobs,
        "hosts": list(receipt.hosts),
    }


def _limits_json(limits: ExecutionLimits | None) -> dict[str, Any] | None:
    if limits is None:
        return None
    return {key: list(item) if isinstance(item, tuple) else item for key, item in asdict(limits).items()}


def error_json(error: ErrorInfo | None) -> dict[str, Any] | None:
    if error is None:
        return None
    return {"kind": error.kind, "message": error.message, "step": error.step or None, "stack": error.stack or None}


async def value_json(encoded: Encoded | None, payloads: PayloadStore, tenant: str) -> Any:
    """A value as JSON-like data; a file is shown by what is known of it. Content that retention removed says so."""
    if encoded is None:
        return None
    try:
        value = await Content(payloads, tenant).unpack(encoded)
    except BackendError as error:
        return {"removed": str(error)}
    return _shown(value.load()) if encoded.files else value.load()


def _shown(data: Any) -> Any:
    if isinstance(data, File):
        return {"name": data.name, "size": data.size, "content_type": data.content_type, "sha256": data.sha256}
    if isinstance(data, dict):
        return {key: _shown(item) for key, item in data.items()}
    if isinstance(data, list):
        return [_shown(item) for item in data]
    return data


def _rounded(duration_ms: float | None) -> float | None:
    return None if duration_ms is None else round(duration_ms, 3)
