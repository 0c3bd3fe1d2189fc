"""Logs to an OpenTelemetry collector: OTLP over HTTP, as JSON, which needs nothing that is not there anyway.

The protocol: https://opentelemetry.io/docs/specs/otlp/#otlphttp. 429, 502, 503 and 504 are to be sent again, what a partial success
refuses is not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from turnout.interfaces.log_lines import fields_of, fitted, unicode
from turnout.interfaces.log_sink import LogEntry, LogSink, Shipped
from turnout.interfaces.opening import Opening
from turnout.services.logs.sending import Answer, HttpIntake, Line

__all__ = ["OtlpLogs"]

_PATH: Final = "/v1/logs"
_MOST: Final = 1000
_MOST_BYTES: Final = 4_000_000
"""A collector's receiver takes 20 MiB by itself; proxies in front of it often less."""
_RECORD_BYTES: Final = 1_000_000
_SEVERITIES: Final = {"debug": (5, "DEBUG"), "info": (9, "INFO"), "warning": (13, "WARN"), "error": (17, "ERROR")}


def _endpoint(given: str) -> str:
    url = urlsplit(given)
    if url.scheme not in ("http", "https") or not url.hostname or "@" in url.netloc:
        raise ValueError("the base URL of a collector is expected, without credentials: they are headers")
    base = given.rstrip("/")
    return base if base.endswith(_PATH) else base + _PATH


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid")

    url: Annotated[str, AfterValidator(_endpoint)]
    headers: Mapping[str, str] = Field(default_factory=dict)
    service: str = Field(default="turnout", min_length=1)


class OtlpLogs(LogSink):
    """Ships to the collector at `url`; each header is a reference to its value."""

    def __init__(self, options: _Options, headers: Mapping[str, str]) -> None:
        self._options = options
        resource = json.dumps({"attributes": [_attribute("service.name", options.service)]}).encode()
        head = b'{"resourceLogs":[{"resource":' + resource + b',"scopeLogs":[{"scope":{"name":"turnout"},"logRecords":['
        self._intake = HttpIntake(
            name="the collector",
            url=options.url,
            headers=headers,
            client=HttpIntake.connect(),
            frame=lambda lines: head + b",".join(lines) + b"]}]}]}",
            most=_MOST,
            most_bytes=_MOST_BYTES,
            read=_read,
        )

    @classmethod
    async def connect(cls, opening: Opening) -> Self:
        options = opening.read(_Options)
        headers = {name: (await opening.secret(written)).reveal() for name, written in options.headers.items()}
        return cls(options, headers)

    def describe(self) -> str:
        return f"logs to {self._options.url}"

    async def write(self, entries: Sequence[LogEntry]) -> Shipped:
        return await self._intake.send([Line(entry.id, _record(entry)) for entry in entries])

    async def close(self) -> None:
        await self._intake.client.aclose()


def _record(entry: LogEntry) -> bytes:
    number, text = _SEVERITIES[entry.level]
    said = fields_of(entry)
    attributes = {
        f"turnout.{name}": value
        for name, value in said.items()
        if name not in ("time", "level", "trace_id", "span_id", "attributes")
    }
    attributes |= {f"turnout.{name}": value for name, value in entry.attributes.items()}
    record: dict[str, Any] = {
        "timeUnixNano": str(int(entry.at * 1_000_000_000)),
        "severityNumber": number,
        "severityText": text,
        "attributes": [_attribute(name, value) for name, value in attributes.items()],
    }
    if entry.trace_id and entry.span_id:
        record |= {"traceId": entry.trace_id, "spanId": entry.span_id}
    return fitted(entry.message, lambda message: {**record, "body": {"stringValue": message}}, _RECORD_BYTES)


def _attribute(name: str, value: str | int | float | bool) -> dict[str, Any]:
    match value:
        case bool():
            return {"key": name, "value": {"boolValue": value}}
        case int():
            return {"key": name, "value": {"intValue": str(value)}}  # proto3's JSON has 64-bit numbers as text
        case float():
            return {"key": name, "value": {"doubleValue": value}}
        case _:
            return {"key": name, "value": {"stringValue": unicode(value)}}


def _read(body: bytes) -> Answer:
    """A partial success, where the answer tells of one."""
    try:
        partial = json.loads(body).get("partialSuccess") or {}
        return Answer(int(partial.get("rejectedLogRecords", 0)), str(partial.get("errorMessage", "")))
    except (ValueError, AttributeError, TypeError):
        return Answer()
