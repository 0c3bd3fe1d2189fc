"""Stand-ins, in threads since the tests beside this file block: a collector that takes OTLP over HTTP and keeps what it was sent,
decoded and raw, and a site that keeps the headers of its requests."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.dev.commands import until

__all__ = ["Collector", "Seen", "Site", "collecting", "serving_site"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One span as it arrived: ids in hex, times in nanoseconds, `failed` its status."""

    trace: str
    id: str
    parent: str
    name: str
    kind: int
    start: int
    end: int
    failed: bool
    attributes: Mapping[str, Any]
    events: tuple[tuple[str, Mapping[str, Any]], ...]
    links: tuple[tuple[str, str], ...]

    @property
    def path(self) -> str:
        return str(self.attributes.get("turnout.step.path", ""))


@dataclass
class Collector:
    """`status` is what it answers."""

    url: str = ""
    status: int = 200
    spans: list[Seen] = field(default_factory=list)
    resources: list[Mapping[str, Any]] = field(default_factory=list)
    requests: list[tuple[str, Mapping[str, str], bytes]] = field(default_factory=list)

    def take(self, path: str, headers: Mapping[str, str], body: bytes) -> None:
        plain = gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body
        self.requests.append((path, headers, plain))
        for group in ExportTraceServiceRequest.FromString(plain).resource_spans:
            self.resources.append(_attributes(group.resource.attributes))
            self.spans += [_seen(span) for scope in group.scope_spans for span in scope.spans]

    def ended(self, execution: str, *, runs: int = 1) -> list[Seen]:
        """The spans of an execution (and of what it called), once its own has arrived."""

        def found() -> Any:
            roots = [span for span in self.of(execution) if not span.path]
            return self.of(execution) if len(roots) >= runs else None

        spans: list[Seen] = until(found)
        return spans

    def of(self, execution: str) -> list[Seen]:
        return [span for span in self.spans if span.attributes["turnout.execution"] == execution]


def _seen(span: Any) -> Seen:
    return Seen(
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        name=span.name,
        kind=span.kind,
        start=span.start_time_unix_nano,
        end=span.end_time_unix_nano,
        failed=span.status.code == 2,
        attributes=_attributes(span.attributes),
        events=tuple((event.name, _attributes(event.attributes)) for event in span.events),
        links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
    )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}


@dataclass
class Site:
    """Answers GET and PUT with `{}`, or with 404 below `/missing`, and while `hold` is clear not at all."""

    url: str = ""
    requests: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    hold: threading.Event = field(default_factory=threading.Event)

    @property
    def parents(self) -> list[str]:
        return [headers.get("traceparent", "") for _, headers in self.requests]


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector on loopback."""
    collector = Collector()

    class Handler(_Quiet):
        def do_POST(self) -> None:
            body = self.body()
            if collector.status == 200:
                collector.take(self.path, self.lower_case(), body)
            self.answer(collector.status, b"")

    with _serving(Handler) as collector.url:
        yield collector


@contextmanager
def serving_site() -> Iterator[Site]:
    """A site on loopback."""
    site = Site()
    site.hold.set()

    class Handler(_Quiet):
        def do_PUT(self) -> None:
            self.body()
            site.requests.append((self.path, self.lower_case()))
            site.hold.wait(60)
            self.answer(404 if self.path.startswith("/missing") else 200, b"{}")

        do_GET = do_PUT  # noqa: N815 - names that the server looks for

    with _serving(Handler) as site.url:
        yield site


class _Quiet(BaseHTTPRequestHandler):
    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("content-length", "0")))

    def lower_case(self) -> dict[str, str]:
        return {name.lower(): value for name, value in self.headers.items()}

    def answer(self, status: int, body: bytes) -> None:
        with suppress(OSError):  # who asked may have been killed
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing: what pytest prints is for failures."""


@contextmanager
def _serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
