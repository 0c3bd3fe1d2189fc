"""The live view: each event shown as it comes, into a pipe and on a terminal."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from turnout.cli.live import LiveView
from turnout.model.events import Attempted, Began, Ended, Event, Intended, Logged, StepEnded, StepRunning, Waiting
from turnout.model.execution import ErrorInfo, Status, StepStatus

START = 1_700_000_000.0
REFUSED = ErrorInfo(kind="http_503", message="Service Unavailable", step="post")


def ended(path: str, took_ms: float, status: str = "succeeded", **more: Any) -> StepEnded:
    given_: dict[str, Any] = {"kind": "action", **more}
    return StepEnded(at=START, path=path, status=StepStatus(status), started_at=START, duration_ms=took_ms, **given_)


def logged(message: str, level: str = "info", path: str = "parse") -> Logged:
    return Logged(at=START, level=level, message=message, path=path)


def fed(*events: Event, terminal: bool = False) -> str:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=80, height=20, color_system=None, legacy_windows=False)
    with LiveView(console, now=lambda: START + 5) as view:
        for event in events:
            view.feed(event)
    return out.getvalue()


def test_into_a_pipe_each_step_that_ended_is_one_line_with_its_logs_before() -> None:
    shown = fed(
        Began(at=START, worker="w", token=1, attempt=1),
        ended("fetch", 120.4),
        logged("3 orders\nof 5"),
        ended("parse", 45),
        ended("large", 0, "skipped"),
        ended("post", 1500, attempts=3),
        Ended(at=START, status=Status.SUCCEEDED),
    )

    assert shown.splitlines() == [
        "✓ fetch                              succeeded   120 ms",
        "    info    parse: 3 orders",
        "            of 5",
        "✓ parse                              succeeded    45 ms",
        "– large                              skipped",
        "✓ post                               succeeded   1.50 s  3 attempts",
    ]


def test_a_failed_step_shows_its_error_and_stack_once() -> None:
    error = ErrorInfo(kind="TypeError", message="no total", step="each[0].x", stack="TypeError: no total\n at a.js:1:2")

    shown = fed(ended("each[0].x", 3, "failed", error=error), ended("each", 4, "failed", error=error))

    assert shown.splitlines() == [
        "✗ each[0].x                          failed      3.0 ms",
        "    TypeError: no total",
        "      at a.js:1:2",
        "✗ each                               failed      4.0 ms",
    ]


def test_a_loop_shows_its_first_items_its_failures_and_how_many_there_were() -> None:
    events: list[Event] = []
    for index in range(500):
        status = "failed" if index == 77 else "succeeded"
        events += [ended(f"each[{index}].post", 1, status), ended(f"each[{index}]", 1, kind="item")]

    lines = fed(*events, ended("each", 500)).splitlines()

    assert [line.split()[1] for line in lines] == [
        "each[0].post",
        "each[1].post",
        "each[2].post",
        "each[77].post",
        "each",
    ]
    assert lines[-1].endswith("(500 items)")


def test_logs_beyond_a_number_are_left_to_the_log() -> None:
    lines = fed(*[logged(f"line {number}") for number in range(10_000)]).splitlines()

    assert len(lines) == 201
    assert lines[-1].strip() == "more is logged; `turnout executions logs` shows all of it"


def test_an_execution_that_another_worker_goes_on_with_says_so() -> None:
    assert "attempt 2" in fed(Began(at=START, worker="w", token=2, attempt=2))


@pytest.mark.parametrize(
    ("event", "shown"),
    [
        (StepRunning(at=START, path="slow", kind="code", started_at=START + 3), "▸ slow"),
        (Intended(at=START, path="post", attempt=1, key="k"), "running     5.00 s"),
        (Waiting(at=START, path="approve", until=None, callback=True, started_at=START), "for a callback"),
        (Attempted(at=START, path="post", attempt=2, error=REFUSED, next_at=START), "attempt 3"),
        (ended("each[9]", 1, kind="item"), "each: 1 item done"),
    ],
)
def test_on_a_terminal_what_goes_on_is_drawn_below_what_has_ended(event: Event, shown: str) -> None:
    assert shown in fed(event, terminal=True)
    assert fed(event) == ""


def test_a_step_that_has_ended_is_no_longer_drawn_as_running() -> None:
    running = StepRunning(at=START, path="slow.inner", kind="code", started_at=START)

    after = fed(running, ended("slow", 5), terminal=True).rpartition("slow ")[2]

    assert "running" not in after


def test_the_step_that_must_be_running_is_drawn_before_it_is_announced() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80, color_system=None, legacy_windows=False)

    with LiveView(console, now=lambda: START + 5) as view:
        view.expect(["fetch", "parse", "post"])
        view.feed(Began(at=START + 3, worker="w", token=1, attempt=1))
        first = out.getvalue()
        view.feed(ended("fetch", 10))
    second = out.getvalue().removeprefix(first)

    assert "▸ fetch                              running     2.00 s" in first
    assert "▸ parse                              running" in second
    assert "post" not in second


HOSTILE = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\x1b[]\n\r\t\x00\u202e"), max_size=40)


@given(HOSTILE, HOSTILE)
def test_hostile_names_and_messages_cannot_leave_their_place(name: str, message: str) -> None:
    error = ErrorInfo(kind=name, message=message, step=name, stack=message)

    shown = fed(ended(name, 1, "failed", error=error), logged(message, level=name, path=name))

    assert all(line.isprintable() for line in shown.split("\n"))
    assert sum(line.startswith(("✓", "✗")) for line in shown.split("\n")) == 1
