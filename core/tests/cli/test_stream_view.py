"""All executions as they run: each change a line into a pipe, those under way below on a terminal."""

from __future__ import annotations

import io

from rich.console import Console
from turnout.cli.stream_view import StreamView
from turnout.interfaces.service import Delivery
from turnout.model.events import Ended, Event
from turnout.model.execution import Status
from turnout.testing.records import execution
from turnout.testing.service_events import sample_events

INFO = execution("e1", at=1_700_000_000.0)


def shown(*events: Event, terminal: bool = False, going: bool = False) -> str:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=100, height=20, color_system=None, legacy_windows=False)
    with StreamView(console, now=lambda: INFO.created_at + 30) as view:
        if going:
            view.going(execution("e0", at=INFO.created_at), Status.RUNNING, INFO.created_at)
        for event in events:
            view.feed(Delivery(id="1", info=INFO, event=event))
    return out.getvalue()


def test_into_a_pipe_each_change_of_an_execution_is_one_line() -> None:
    lines = shown(*sample_events(INFO)).splitlines()

    assert [line.split()[0] for line in lines] == ["22:13:20.000", "22:13:21.000", "22:13:29.000", "22:13:31.000"]
    assert [line.split()[4] for line in lines] == ["queued", "running", "queued", "failed"]
    assert all("e1" in line and "acme-orders/import" in line for line in lines)
    assert lines[-1].endswith("11.0 s  http_503: the ERP is closed")


def test_on_a_terminal_what_is_under_way_is_shown_below() -> None:
    text = shown(*sample_events(INFO)[:8], terminal=True, going=True)

    assert "2 executions under way" in text
    assert "30.0 s" in text
    assert "post" in text


def test_foreign_text_cannot_move_the_cursor() -> None:
    info = execution("e2", instance="\x1b[2Jevil", at=INFO.created_at)
    out = io.StringIO()
    with StreamView(Console(file=out, width=80, color_system=None), now=lambda: 0.0) as view:
        view.feed(Delivery(id="1", info=info, event=Ended(at=INFO.created_at, status=Status.SUCCEEDED)))

    assert "\x1b" not in out.getvalue()
