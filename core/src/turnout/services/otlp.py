"""Traces to an OpenTelemetry collector, by OTLP over HTTP. The only module that knows OpenTelemetry, and it may be absent.

Spans wait in memory, within a bound, for a thread that sends them in batches. Nothing here can slow or break an execution: what a
collector does not take is dropped and counted, and said once.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import urlsplit

from turnout.config import TelemetrySettings
from turnout.errors import SettingsError
from turnout.interfaces.secrets import Secret
from turnout.model.span import Attribute, Span, SpanKind
from turnout.model.trace import TraceContext

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

__all__ = ["OtlpTraces", "open_traces"]

_WAITING: Final = 20_000
"""Spans that wait at most: some 20 MB."""
_BATCH: Final = 512
_GATHER_S: Final = 1.0
_SEND_S: Final = 10.0
_FLUSH_S: Final = 3.0
_LET_GO_S: Final = 0.2
_PATH: Final = "/v1/traces"
_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_TIMEOUTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT")
_VERSION: Final = version("turnout")
_log = logging.getLogger("turnout.traces")


class Sender(Protocol):
    """What sends a batch: OpenTelemetry's exporter."""

    def export(self, spans: Sequence[ReadableSpan], /) -> Any: ...

    def shutdown(self) -> None: ...


async def open_traces(settings: TelemetrySettings, secret: Callable[[str], Awaitable[Secret]]) -> OtlpTraces | None:
    """What exports traces as the settings say, or where they say nothing the variables `OTEL_EXPORTER_OTLP_…`; else None.

    `SettingsError` if the settings ask for traces and OpenTelemetry is not installed, `NotFound` for a header's reference.
    """
    if not (settings.otlp or any(map(os.environ.get, _ENDPOINTS))) or _disabled():
        return None
    headers = {name: (await secret(reference)).reveal() for name, reference in settings.headers.items()}
    try:
        return OtlpTraces(*_sender(settings, headers), resource=_resource(settings))
    except ImportError as error:
        message = f"traces need OpenTelemetry ({error.name} is missing): pip install 'turnout[otlp]'"
        if settings.otlp:
            raise SettingsError(f"telemetry.otlp: {message}", setting="telemetry.otlp") from error
        # The variable may be meant for other programs of this machine.
        _log.warning("no traces are sent: %s", message)
        return None


def _disabled() -> bool:
    """As OpenTelemetry's own variables turn it off."""
    environment = os.environ
    return (
        environment.get("OTEL_SDK_DISABLED", "").lower() == "true" or environment.get("OTEL_TRACES_EXPORTER") == "none"
    )


def _sender(settings: TelemetrySettings, headers: Mapping[str, str]) -> tuple[Sender, str]:
    """The exporter, and where it sends to, as it may be shown."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    endpoint = None
    if settings.otlp:
        base = settings.otlp.rstrip("/")
        endpoint = base if base.endswith(_PATH) else base + _PATH
    # What it says of failures is said here, once. Its time-out is its own variable's to set.
    timeout = None if any(map(os.environ.get, _TIMEOUTS)) else _SEND_S
    logging.getLogger(OTLPSpanExporter.__module__).addFilter(_unsaid)
    shown = _shown(endpoint or next(filter(None, map(os.environ.get, _ENDPOINTS))))
    return OTLPSpanExporter(endpoint=endpoint, headers=dict(headers) or None, timeout=timeout), shown


def _shown(url: str) -> str:
    """A collector's URL as it may be shown: a variable's may hold credentials."""
    try:
        parts = urlsplit(url)
        return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")
    except ValueError:
        return "the collector, whose URL is not one"


def _unsaid(_: logging.LogRecord) -> bool:
    return False


def _resource(settings: TelemetrySettings) -> Any:
    from opentelemetry.sdk.resources import Resource

    attributes: dict[str, Attribute] = {
        "service.instance.id": f"{socket.gethostname()}:{os.getpid()}",
        "service.version": _VERSION,
    }
    named = "OTEL_SERVICE_NAME" in os.environ or "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    if settings.service_name or not named:
        attributes["service.name"] = settings.service_name or "turnout"
    return Resource.create(attributes)


class OtlpTraces:
    """Takes finished spans and sends them from a thread of its own. Close it at the end.

    `dropped` counts the spans that nobody got: because too many waited, or the collector did not take them.
    """

    def __init__(self, sender: Sender, where: str, *, resource: Any, waiting: int = _WAITING) -> None:
        self.dropped = 0
        self._sender = sender
        self._where = where
        self._resource = resource
        self._room = waiting
        self._spans: deque[Span] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="turnout-traces", daemon=True)
        self._thread.start()

    def export(self, span: Span) -> None:
        """Take a span. Returns at once; where too many wait, it is dropped."""
        with self._changed:
            if len(self._spans) >= self._room or self._closing:
                self.dropped += 1
                return
            self._spans.append(span)
            if len(self._spans) in (1, _BATCH):
                self._changed.notify()

    def close(self, *, flush_s: float = _FLUSH_S) -> None:
        """Send what waits, for no longer than `flush_s`, and end. Blocks; idempotent."""
        with self._changed:
            if self._closing:
                return
            self._closing = True
            self._changed.notify()
        self._thread.join(flush_s)
        self._sender.shutdown()  # a batch that is being tried again is given up
        self._thread.join(_LET_GO_S)
        with self._changed:
            self.dropped += len(self._spans)
            self._spans.clear()
        if self.dropped:
            _log.warning("%d spans did not reach %s", self.dropped, self._where)

    def _run(self) -> None:
        while batch := self._batch():
            try:
                sent = self._sender.export([_readable(span, self._resource) for span in batch])
                delivered = sent.name == "SUCCESS"
            except Exception as error:  # whatever it is, executions go on
                _log.debug("a batch of spans cannot be sent", exc_info=error)
                delivered = False
            self._tell(delivered, len(batch))

    def _batch(self) -> list[Span]:
        """The next spans, gathered for a moment; none at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._spans or self._closing)
            until = time.monotonic() + _GATHER_S
            while len(self._spans) < _BATCH and not self._closing and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)
            return [self._spans.popleft() for _ in range(min(_BATCH, len(self._spans)))]

    def _tell(self, delivered: bool, count: int) -> None:
        """Say once that the collector does not take spans, and once that it does again."""
        if not delivered:
            with self._changed:
                self.dropped += count
        if delivered == self._failing:
            self._failing = not delivered
            if delivered:
                _log.info("traces reach %s again; %d spans were dropped", self._where, self.dropped)
            else:
                _log.warning(
                    "traces do not reach %s: spans are dropped until it answers; nothing else suffers", self._where
                )


def _readable(span: Span, resource: Any) -> ReadableSpan:
    from opentelemetry.sdk.trace import Event, ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import Link, Status, StatusCode
    from opentelemetry.trace import SpanKind as OtelKind

    kinds = {
        SpanKind.INTERNAL: OtelKind.INTERNAL,
        SpanKind.CLIENT: OtelKind.CLIENT,
        SpanKind.CONSUMER: OtelKind.CONSUMER,
    }
    status = Status() if span.failure is None else Status(StatusCode.ERROR, _unicode(span.failure))
    return ReadableSpan(
        _unicode(span.name),
        context=_context(span.context, remote=False),
        parent=None if span.parent is None else _context(span.parent, remote=span.remote),
        resource=resource,
        attributes=_attributes(span.attributes),
        events=[Event(event.name, _attributes(event.attributes), _ns(event.at)) for event in span.events],
        links=[Link(_context(link, remote=True)) for link in span.links],
        kind=kinds[span.kind],
        status=status,
        start_time=_ns(span.started_at),
        end_time=_ns(span.ended_at),
        instrumentation_scope=InstrumentationScope("turnout", _VERSION),
    )


def _context(context: TraceContext, *, remote: bool) -> Any:
    from opentelemetry.trace import SpanContext, TraceFlags, TraceState

    return SpanContext(
        int(context.trace_id, 16),
        int(context.span_id, 16),
        is_remote=remote,
        trace_flags=TraceFlags(TraceFlags.SAMPLED if context.sampled else TraceFlags.DEFAULT),
        trace_state=TraceState.from_header([context.state]) if context.state else None,
    )


def _attributes(attributes: Mapping[str, Attribute]) -> dict[str, Attribute]:
    return {name: _unicode(value) if isinstance(value, str) else value for name, value in attributes.items()}


def _unicode(text: str) -> str:
    """OTLP is UTF-8: somebody's lone surrogate becomes U+FFFD, and the other spans of the batch still arrive."""
    return text if text.isascii() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _ns(at: float) -> int:
    return int(at * 1_000_000_000)
