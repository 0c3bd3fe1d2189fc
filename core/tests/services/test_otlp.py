"""The exporter of traces: bounded, in a thread of its own, and of no harm to anybody whatever the collector does."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from turnout.config import TelemetrySettings
from turnout.errors import NotFound, SettingsError
from turnout.interfaces.secrets import Secret
from turnout.model.span import Span, SpanEvent, SpanKind
from turnout.model.trace import TraceContext, trace_context
from turnout.services.otlp import OtlpTraces, open_traces

CONTEXT = TraceContext(trace_id="a" * 32, span_id="b" * 16)


class Collected:
    """Takes batches; `answers` says what it does with each, in turn, and then that it took it."""

    def __init__(self, *answers: Callable[[], SpanExportResult]) -> None:
        self.answers = list(answers)
        self.batches: list[Sequence[ReadableSpan]] = []
        self.begun = threading.Event()
        self.closed = False

    def export(self, spans: Sequence[ReadableSpan], /) -> SpanExportResult:
        self.begun.set()
        answer = self.answers.pop(0)() if self.answers else SpanExportResult.SUCCESS
        self.batches.append(spans)
        return answer

    def shutdown(self) -> None:
        self.closed = True

    def names(self) -> list[str]:
        return [span.name for batch in self.batches for span in batch]


def span(name: str = "step", **more: Any) -> Span:
    return Span(**{"context": CONTEXT, "parent": None, "name": name, "started_at": 1.5, "ended_at": 2.5, **more})


def traces_to(sender: Collected, **more: Any) -> OtlpTraces:
    return OtlpTraces(sender, "http://collector", resource=Resource({}), **more)


def failing() -> SpanExportResult:
    return SpanExportResult.FAILURE


def raising() -> SpanExportResult:
    raise OSError("the collector is broken")


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_SDK_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    yield
    assert not [thread for thread in threading.enumerate() if thread.name == "turnout-traces"]


async def secret(reference: str) -> Secret:
    if reference == "env:MISSING":
        raise NotFound("secret", reference)
    return Secret(f"<{reference}>")


def test_what_waits_at_the_end_is_sent_in_its_order() -> None:
    sender = Collected()
    traces = traces_to(sender)

    for number in range(1300):
        traces.export(span(str(number)))
    traces.close()

    assert sender.names() == [str(number) for number in range(1300)]
    assert max(map(len, sender.batches)) <= 512
    assert (traces.dropped, sender.closed) == (0, True)


def test_a_span_arrives_as_it_is() -> None:
    sender, link = Collected(), trace_context(f"00-{'c' * 32}-{'d' * 16}-00", "v=1")
    traces = traces_to(sender)
    assert link is not None

    traces.export(
        span(
            parent=CONTEXT.at("e" * 16),
            remote=True,
            kind=SpanKind.CLIENT,
            attributes={"a": 1, "b": "lone \ud800"},
            failure="it failed",
            events=(SpanEvent(name="began", at=1.75, attributes={"c": True}),),
            links=(link,),
        )
    )
    traces.close()

    [[made]] = sender.batches
    assert made.context is not None
    assert made.parent is not None
    assert (made.context.trace_id, made.context.span_id) == (int("a" * 32, 16), int("b" * 16, 16))
    assert (made.parent.span_id, made.parent.is_remote) == (int("e" * 16, 16), True)
    assert (made.start_time, made.end_time, made.kind.name) == (1_500_000_000, 2_500_000_000, "CLIENT")
    assert made.attributes == {"a": 1, "b": "lone \ufffd"}
    assert (made.status.status_code.name, made.status.description) == ("ERROR", "it failed")
    assert [(event.name, event.timestamp) for event in made.events] == [("began", 1_750_000_000)]
    assert made.links[0].context.trace_state.to_header() == "v=1"


def test_where_too_many_wait_more_are_dropped_and_nobody_waits() -> None:
    go_on = threading.Event()
    sender = Collected(lambda: SpanExportResult.SUCCESS if go_on.wait(30) else SpanExportResult.FAILURE)
    traces = traces_to(sender, waiting=10)
    for number in range(3):
        traces.export(span(str(number)))
    assert sender.begun.wait(30)

    for number in range(3, 20):
        traces.export(span(str(number)))
    go_on.set()
    traces.close()

    assert sender.names() == [str(number) for number in range(13)]
    assert traces.dropped == 7


def test_a_collector_that_does_not_answer_does_not_hold_up_the_end(caplog: pytest.LogCaptureFixture) -> None:
    go_on = threading.Event()
    sender = Collected(lambda: SpanExportResult.SUCCESS if go_on.wait(30) else SpanExportResult.FAILURE)
    traces = traces_to(sender)
    traces.export(span())
    assert sender.begun.wait(30)
    traces.export(span())

    traces.close(flush_s=0.05)

    assert "1 spans did not reach http://collector" in caplog.text
    go_on.set()
    for thread in threading.enumerate():
        if thread.name == "turnout-traces":
            thread.join(30)


@pytest.mark.parametrize("answer", [failing, raising])
def test_a_failure_is_told_once_and_so_is_its_end(
    caplog: pytest.LogCaptureFixture, answer: Callable[[], SpanExportResult]
) -> None:
    caplog.set_level(logging.INFO, logger="turnout.traces")
    sender = Collected(answer, answer)
    traces = traces_to(sender)

    for _ in range(3 * 512):
        traces.export(span())
    traces.close()

    told = [record.getMessage().partition(":")[0] for record in caplog.records if record.name == "turnout.traces"]
    assert [text[:24] for text in told] == ["traces do not reach http", "traces reach http", "1024 spans did not reach"]
    assert traces.dropped == 1024


def test_closing_twice_is_harmless_and_later_spans_are_dropped() -> None:
    traces = traces_to(Collected())

    traces.close()
    traces.export(span())
    traces.close()

    assert traces.dropped == 1


async def test_without_a_collector_there_is_nothing() -> None:
    assert await open_traces(TelemetrySettings(), secret) is None


async def test_a_missing_installation_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)

    with pytest.raises(SettingsError, match=r"pip install 'turnout\[otlp\]'") as refused:
        await open_traces(TelemetrySettings(otlp="http://127.0.0.1:1"), secret)

    assert refused.value.setting == "telemetry.otlp"


async def test_a_variable_for_other_programs_does_no_harm(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")

    assert await open_traces(TelemetrySettings(), secret) is None

    assert "pip install 'turnout[otlp]'" in caplog.text


@pytest.mark.parametrize(("name", "value"), [("OTEL_SDK_DISABLED", "TRUE"), ("OTEL_TRACES_EXPORTER", "none")])
async def test_opentelemetrys_own_variables_turn_it_off(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)

    assert await open_traces(TelemetrySettings(otlp="http://127.0.0.1:1"), secret) is None


async def test_a_header_whose_reference_is_missing_is_named() -> None:
    settings = TelemetrySettings(otlp="http://127.0.0.1:1", headers={"x": "env:MISSING"})

    with pytest.raises(NotFound, match="MISSING"):
        await open_traces(settings, secret)
