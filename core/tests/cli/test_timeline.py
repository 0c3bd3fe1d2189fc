"""The timeline and the table of executions: what people see, to the letter, 80 columns wide."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from turnout.cli.executions_table import executions_table
from turnout.cli.timeline import Layout, timeline
from turnout.cli.wording import duration
from turnout.model.execution import (
    ErrorInfo,
    ExecutionInfo,
    ExecutionRecord,
    SandboxReceipt,
    Status,
    StepRecord,
    StepStatus,
)
from turnout.model.payload import Encoded, File

START = 1_700_000_000.0
INFO = ExecutionInfo(
    id="01m84x2txkgp9tqmwga61sa6n8",
    tenant="acme",
    instance="orders-to-erp",
    integration="orders-to-erp",
    version="1.0.0",
    bundle="b",
    flow="sync-orders",
    settings="s",
    trigger=Encoded(),
    created_at=START,
)


def step(path: str, at_ms: float, took_ms: float, status: str = "succeeded", **more: Any) -> StepRecord:
    return StepRecord(
        path=path,
        kind="action",
        status=StepStatus(status),
        started_at=START + at_ms / 1000,
        duration_ms=took_ms,
        **more,
    )


def record(*steps: StepRecord, status: Status = Status.SUCCEEDED, **more: Any) -> ExecutionRecord:
    given_: dict[str, Any] = {"started_at": START, "ended_at": START + 2, "attempts": 1, **more}
    return ExecutionRecord(info=INFO, status=status, steps=steps, **given_)


def drawn(shown: ExecutionRecord, **layout: Any) -> list[str]:
    return [line.plain for line in timeline(shown, Layout(**{"now": START + 2, **layout}))]


SIX = (
    step("fetch", 0, 500),
    step("parse", 500, 250),
    step("large", 750, 0.4),
    step("batch", 751, 12),
    step("post", 763, 1230, attempts=3),
    step("result", 1995, 5),
)


def test_a_run_of_six_steps_is_a_waterfall() -> None:
    shown = record(*SIX, output=Encoded(json=b'{"posted":3,"receipt":"r-1"}'))

    assert drawn(shown) == [
        "✓ succeeded in 2.00 s  orders-to-erp 1.0.0 / sync-orders",
        "  execution 01m84x2txkgp9tqmwga61sa6n8, started 2023-11-14 22:13:20 UTC",
        "",
        "  STEP   STATUS           START     TIME",
        "✓ fetch  succeeded      +0.0 ms   500 ms  █████████",
        "✓ parse  succeeded      +500 ms   250 ms           █████",
        "✓ large  succeeded      +750 ms   0.4 ms                █",
        "✓ batch  succeeded      +751 ms    12 ms                █",
        "✓ post   succeeded x3   +763 ms   1.23 s                ███████████████████████",
        "✓ result succeeded      +1.99 s   5.0 ms                                       █",
        "",
        'output  {"posted":3,"receipt":"r-1"}',
    ]


def test_where_only_ascii_can_be_shown_signs_are_ascii() -> None:
    lines = drawn(record(step("fetch", 0, 2000), step("later", 0, 0, "skipped")), unicode=False)

    assert lines[0].startswith("+ succeeded in 2.00 s")
    assert lines[4] == "+ fetch succeeded  +0.0 ms   2.00 s  ###########################################"
    assert lines[5] == "- later skipped"
    assert all(line.isascii() for line in lines)


def test_an_error_stands_below_its_step_with_the_customers_stack() -> None:
    error = ErrorInfo(
        kind="TypeError",
        message="Cannot read properties of undefined (reading 'total')",
        step="parse",
        stack="TypeError: Cannot read properties of undefined (reading 'total')\n"
        "    at total (parse.js:3:14)\n    at default (parse.js:9:3)",
    )

    lines = drawn(record(step("parse", 0, 20, "failed", error=error), status=Status.FAILED, error=error), width=60)

    assert lines[5:] == [
        "✗ parse failed     +0.0 ms    20 ms  █",
        "    TypeError: Cannot read properties of undefined (reading",
        "    'total')",
        "      at total (parse.js:3:14)",
        "      at default (parse.js:9:3)",
    ]


def test_the_error_of_a_flow_that_no_step_tells_stands_below_the_steps() -> None:
    error = ErrorInfo(kind="timeout", message="flow 'sync-orders' took longer than its time-out of 1 s")

    lines = drawn(record(step("fetch", 0, 5), status=Status.FAILED, error=error))

    assert lines[-1] == "  timeout: flow 'sync-orders' took longer than its time-out of 1 s"


def test_a_loop_shows_its_first_items_its_troubles_and_a_count() -> None:
    bad = ErrorInfo(kind="http_503", message="Service Unavailable", step="each[700].post")
    items = [step(f"each[{index}].post", 1 + index, 1) for index in range(1000)]
    items[700] = step("each[700].post", 701, 1, "failed", error=bad)

    lines = drawn(record(step("each", 0, 1001, "failed", error=bad), *items))

    assert [line[:39].rstrip() for line in lines[4:]] == [
        "✗ each (1,000 items) failed     +0.0 ms",
        "  ✓ [0].post         succeeded  +1.0 ms",
        "  ✓ [1].post         succeeded  +2.0 ms",
        "  ✓ [2].post         succeeded  +3.0 ms",
        "  ✗ [700].post       failed     +701 ms",
        "      http_503: Service Unavailable",
        "  … 996 more items: 996 succeeded",
    ]


def test_branches_arms_and_items_with_several_steps_are_indented() -> None:
    lines = drawn(
        record(
            step("choose", 0, 30),
            step("choose.in", 1, 20),
            step("both", 30, 50),
            step("both.left.a", 31, 5),
            step("both.left.b", 36, 5),
            step("both.right.c", 31, 40),
            step("each", 80, 20),
            step("each[0].x", 80, 5),
            step("each[0].y", 85, 5, "failed"),
        )
    )

    assert [line[:16].rstrip() for line in lines[4:]] == [
        "✓ choose",
        "  ✓ in",
        "✓ both",
        "  ✓ left",
        "    ✓ a",
        "    ✓ b",
        "  ✓ right.c",
        "✓ each (1 item)",
        "  ✗ [0]",
        "    ✓ x",
        "    ✗ y",
    ]


def test_what_still_runs_or_waits_is_drawn_up_to_now() -> None:
    shown = record(step("first", 0, 1000), step("approve", 1000, 0, "waiting"), status=Status.WAITING, ended_at=None)

    lines = drawn(shown, now=START + 4)

    assert lines[0] == "◷ waiting  orders-to-erp 1.0.0 / sync-orders"
    assert lines[5] == "◷ approve waiting    +1.00 s   3.00 s            " + "░" * 31


def test_steps_taken_over_from_an_earlier_run_are_said_to_be_earlier() -> None:
    lines = drawn(record(step("fetch", -60_000, 500), step("post", 10, 1990)))

    assert lines[4] == "✓ fetch succeeded  earlier   500 ms"
    assert lines[5].endswith("█" * 10)


def test_outputs_are_shown_on_request_large_ones_and_files_by_their_size() -> None:
    file = File(sha256="0" * 64, size=12_345, name="orders.xml")
    stored = File(sha256="0" * 64, size=9_000_000)
    steps = (
        step("a", 0, 1, output=Encoded(json=b'{"n":1}')),
        step("b", 0, 1, output=Encoded(files=(("", file),))),
        step("c", 0, 1, output=Encoded(json=b"", stored=stored)),
        step("d", 0, 1, output=Encoded(json=b'"' + b"x" * 500 + b'"')),
    )

    lines = drawn(record(*steps), outputs=True)

    assert lines[5] == '  → {"n":1}'
    assert lines[7] == "  → (file orders.xml, 12,345 bytes)"
    assert lines[9] == "  → (9,000,000 bytes of JSON in the payload store)"
    assert len(lines[11]) == 80
    assert lines[11].endswith("x…")


def test_an_execution_that_has_not_started_has_no_times() -> None:
    lines = drawn(record(status=Status.QUEUED, started_at=None, ended_at=None, attempts=0))

    assert lines == [
        "· queued  orders-to-erp 1.0.0 / sync-orders",
        "  execution 01m84x2txkgp9tqmwga61sa6n8, not started yet",
    ]


HOSTILE = st.text(
    st.characters(exclude_categories=["Cs"]) | st.sampled_from("\x1b[]\n\r\t\x00\u202e漢\u0301"), max_size=60
)


@given(HOSTILE, HOSTILE, HOSTILE, st.integers(40, 130))
def test_hostile_text_cannot_leave_its_place(name: str, message: str, stack: str, width: int) -> None:
    error = ErrorInfo(kind=name, message=message, step="x", stack=stack)
    shown = record(
        step(f"{name or 'x'}", 0, 1, "failed", error=error), output=Encoded(json=b'"\x1b[2J\n"'), error=error
    )
    shown = dataclasses.replace(shown, info=dataclasses.replace(INFO, flow=name, version=message, instance=stack))

    for line in drawn(shown, width=width, outputs=True):
        assert line.isprintable()
        assert cell_len(line) <= width


def test_markup_and_escape_codes_are_shown_not_obeyed() -> None:
    lines = drawn(record(step("[red]\x1b[31mevil\n✓ fake", 0, 1)))

    assert lines[4].startswith("✓ [red]\\x1b[31mevil\\n✓ fake succeeded")


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (None, "-"),
        (0, "0.0 ms"),
        (-5, "0.0 ms"),
        (9.94, "9.9 ms"),
        (9.96, "10 ms"),
        (999.4, "999 ms"),
        (999.6, "1.00 s"),
        (9_996, "10.0 s"),
        (59_949, "59.9 s"),
        (59_960, "1m 00s"),
        (3_599_400, "59m 59s"),
        (3_599_600, "1h 00m"),
        (86_400_000, "1d 00h"),
        (99 * 86_400_000, "99d 00h"),
    ],
)
def test_durations_are_short_and_never_show_sixty_of_anything(milliseconds: float | None, text: str) -> None:
    assert duration(milliseconds) == text
    assert len(text) <= 8


def test_the_table_fits_the_terminal_and_gives_reasons() -> None:
    error = ErrorInfo(kind="http_503", message="Service\nUnavailable \x1b[31m" + "x" * 80)
    records = [record(), record(status=Status.FAILED, error=error)]

    lines = [line.plain for line in executions_table(records, width=80, unicode=True)]

    assert lines == [
        "EXECUTION                   STATUS       FLOW              STARTED UTC      TIME",
        "01m84x2txkgp9tqmwga61sa6n8  ✓ succeeded  orders-to-erp/s…  11-14 22:13    2.00 s",
        "01m84x2txkgp9tqmwga61sa6n8  ✗ failed     orders-to-erp/s…  11-14 22:13    2.00 s",
        "    http_503: Service\\nUnavailable \\x1b[31mxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…",
    ]


@pytest.mark.parametrize("width", [45, 60, 80, 120, 200])
def test_the_table_never_cuts_an_id_and_never_runs_over(width: int) -> None:
    lines = [line.plain for line in executions_table([record()], width=width, unicode=True)]

    assert all(len(line) <= width for line in lines)
    assert INFO.id in lines[1]


def receipt(**fields: Any) -> SandboxReceipt:
    usual: dict[str, Any] = {"sandbox": "chroot", "layers": tuple("abcdefg"), "uid": 200017, "jobs": 2, "cpu_ms": 12.3}
    return SandboxReceipt(**{**usual, "memory_bytes": 256_000_000, "peak_memory_bytes": 43_400_000, **fields})


def test_what_stood_around_the_code_is_a_line_a_sandbox() -> None:
    hosts = ("api.example.com:443", "b:1", "c:2", "\x1b[31md:3")
    sandboxes = (receipt(hosts=hosts[:1]), receipt(uid=-1, layers=("rlimits",), hosts=hosts), *[receipt()] * 3)
    shown = record(*SIX, sandboxes=sandboxes)

    assert drawn(shown, width=120)[2:6] == [
        "  sandbox chroot · uid 200017 · 7 layers · 43 MB of 256 MB · 12 ms CPU · host api.example.com:443",
        "  sandbox chroot · 1 layer · 43 MB of 256 MB · 12 ms CPU · hosts api.example.com:443 b:1 c:2 and 1 more",
        "  sandbox chroot · uid 200017 · 7 layers · 43 MB of 256 MB · 12 ms CPU",
        "  and 2 more sandboxes",
    ]
    assert "·" not in "".join(drawn(shown, unicode=False))
    assert all(cell_len(line) <= 50 for line in drawn(shown, width=50))
