"""W3C Trace Context: what is read, what is refused, and what is passed on. Source: https://www.w3.org/TR/trace-context-2/."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased
from turnout.model.execution import ExecutionInfo
from turnout.model.payload import Encoded
from turnout.model.trace import TraceContext, derived_span_id, execution_context, is_sampled, trace_context

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
VALID = f"00-{TRACE}-{SPAN}-01"

TRACE_IDS = st.text("0123456789abcdef", min_size=32, max_size=32).filter(lambda id: id.strip("0"))
SPAN_IDS = st.text("0123456789abcdef", min_size=16, max_size=16).filter(lambda id: id.strip("0"))
CONTEXTS = st.builds(
    TraceContext, trace_id=TRACE_IDS, span_id=SPAN_IDS, sampled=st.booleans(), random=st.booleans(), state=st.just("")
)


def info(**more: str) -> ExecutionInfo:
    about = dict.fromkeys(("id", "tenant", "instance", "integration", "version", "bundle", "flow", "settings"), "x")
    return ExecutionInfo(**{**about, **more}, trigger=Encoded(json=b"null"), created_at=1.0)  # type: ignore[arg-type]


@given(CONTEXTS)
def test_what_is_written_is_read_as_it_was(context: TraceContext) -> None:
    assert trace_context(context.traceparent) == context


@given(st.text())
def test_any_text_is_read_or_refused_and_what_is_read_is_valid(text: str) -> None:
    found = trace_context(text, text)

    assert found is None or trace_context(found.traceparent, found.state) == found


@given(st.integers(0, 255), st.integers(0, 255), TRACE_IDS, SPAN_IDS, st.sampled_from(["", "-", "-more", "-a-b"]))
def test_later_versions_are_read_as_far_as_they_are_known(
    version: int, flags: int, trace_id: str, span_id: str, more: str
) -> None:
    found = trace_context(f"{version:02x}-{trace_id}-{span_id}-{flags:02x}{more}")

    if version == 255 or (version == 0 and more):
        assert found is None
    else:
        assert found is not None
        assert (found.trace_id, found.span_id, found.sampled) == (trace_id, span_id, flags % 2 == 1)
        assert found.traceparent[:3] == "00-"


@pytest.mark.parametrize(
    "header",
    [
        "",
        "00",
        VALID[:-1],
        VALID + "0",
        VALID + "-",
        VALID.upper(),
        VALID.replace("-", "_"),
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"01-{TRACE}-{SPAN}-01more",
        f"00-{TRACE[:-1]}g-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-0x",
        f"{VALID}, {VALID}",
        f"00-{'٣' * 32}-{SPAN}-01",
        f"01-{TRACE}-{SPAN}-01-" + "x" * 100_000,
    ],
)
def test_what_is_no_traceparent_is_refused(header: str) -> None:
    assert trace_context(header, "a=1") is None


def test_white_space_around_a_header_counts_for_nothing() -> None:
    assert trace_context(f" \t{VALID} ", " a=1 ,\tb=2 ") == TraceContext(trace_id=TRACE, span_id=SPAN, state="a=1,b=2")


@pytest.mark.parametrize(
    ("state", "passed_on"),
    [
        ("vendor=value", "vendor=value"),
        ("a=1,,b=2", "a=1,b=2"),
        ("tenant@vendor=x y,0k/_-*=!~", "tenant@vendor=x y,0k/_-*=!~"),
        ("a=1,a=2", ""),
        ("A=1", ""),
        ("a", ""),
        ("a=", ""),
        ("a=1=2", ""),
        ("a=ü", ""),
        ("a=1\x00", ""),
        ("a=1\r\nx-injected: 1", ""),
        (",".join(f"k{number}=1" for number in range(32)), ",".join(f"k{number}=1" for number in range(32))),
        (",".join(f"k{number}=1" for number in range(33)), ""),
        ("a=" + "1" * 8200, ""),
        (f"a={'1' * 130},b={'2' * 120},c={'3' * 200},d={'4' * 90}", f"b={'2' * 120},d={'4' * 90}"),
        (
            ",".join(f"{key}={key * 120}" for key in "abcde"),
            ",".join(f"{key}={key * 120}" for key in "abcd"),
        ),
    ],
)
def test_a_tracestate_is_passed_on_within_its_limits(state: str, passed_on: str) -> None:
    found = trace_context(VALID, state)

    assert found is not None
    assert found.state == passed_on
    assert found.headers == {"traceparent": VALID} | ({"tracestate": passed_on} if passed_on else {})


@given(st.text(), st.text())
def test_no_header_can_be_made_to_hold_another(parent: str, state: str) -> None:
    found = trace_context(VALID, state)

    assert found is not None
    assert found.state.isprintable()
    assert found.state.isascii()
    assert len(found.state) <= 512
    again = trace_context(parent)
    assert again is None or len(again.traceparent) == 55


def test_an_execution_belongs_to_the_trace_that_started_it() -> None:
    own, inside = (
        execution_context(info(id="e1")),
        execution_context(info(id="e1", traceparent=VALID, tracestate="a=1")),
    )

    assert (inside.trace_id, inside.state, inside.span_id) == (TRACE, "a=1", own.span_id)
    assert own == execution_context(info(id="e1", traceparent="nonsense"))
    assert own.trace_id != execution_context(info(id="e2")).trace_id
    assert trace_context(own.traceparent) == own


@given(st.lists(st.text(), min_size=1), st.lists(st.text(), min_size=1))
def test_span_ids_are_functions_of_what_they_stand_for(one: list[str], other: list[str]) -> None:
    assert len(derived_span_id(*one)) == 16
    assert (derived_span_id(*one) == derived_span_id(*other)) == ("\0".join(one) == "\0".join(other))


@given(TRACE_IDS, st.floats(0, 1), st.floats(0, 1))
def test_who_keeps_more_traces_keeps_those_that_others_keep(trace_id: str, one: float, other: float) -> None:
    fewer, more = sorted((one, other))

    assert is_sampled(trace_id, 1.0)
    assert not is_sampled(trace_id, 0.0)
    assert is_sampled(trace_id, more) or not is_sampled(trace_id, fewer)


def test_it_samples_as_opentelemetry_does() -> None:
    for number in range(200):
        trace_id = execution_context(info(id=str(number))).trace_id
        theirs = TraceIdRatioBased(0.3).should_sample(None, int(trace_id, 16), "name")

        assert (theirs.decision is Decision.RECORD_AND_SAMPLE) == is_sampled(trace_id, 0.3)


def test_an_unknown_flag_is_not_passed_on_and_the_random_one_is() -> None:
    found = trace_context(f"00-{TRACE}-{SPAN}-ff")

    assert found is not None
    assert found.traceparent.endswith("-03")
    assert dataclasses.replace(found, sampled=False).traceparent.endswith("-02")
