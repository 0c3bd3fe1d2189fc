"""Requests are made in the span of the attempt that makes them."""

from __future__ import annotations

from starlette.responses import RedirectResponse
from turnout.testing.connectors import ActionRunner
from turnout_connectors.dropbox import connector
from turnout_connectors.dropbox.api import Token
from turnout_connectors.standins.serving import serving

from .servers import Recorder

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def test_a_request_carries_the_attempts_span(http: ActionRunner, server: str, recorder: Recorder) -> None:
    http.trace_headers = {"traceparent": PARENT, "tracestate": "a=1,b=2"}

    await http.run("request", {"url": f"{server}/orders"})

    assert recorder.received[0]["headers"]["traceparent"] == PARENT
    assert recorder.received[0]["headers"]["tracestate"] == "a=1,b=2"


async def test_without_a_trace_no_header_is_made_up(http: ActionRunner, server: str, recorder: Recorder) -> None:
    await http.run("request", {"url": f"{server}/orders"})

    assert not {"traceparent", "tracestate"} & recorder.received[0]["headers"].keys()


async def test_a_step_that_sets_its_own_span_keeps_it(http: ActionRunner, server: str, recorder: Recorder) -> None:
    http.trace_headers = {"traceparent": PARENT, "tracestate": "a=1"}
    own = PARENT.replace("b7ad", "0000")

    await http.run("request", {"url": f"{server}/orders", "headers": {"TraceParent": own}})

    assert recorder.received[0]["headers"]["traceparent"] == own
    assert "tracestate" not in recorder.received[0]["headers"]


async def test_a_redirect_stays_in_the_trace(
    http: ActionRunner, server: str, recorder: Recorder, elsewhere: str, elsewhere_recorder: Recorder
) -> None:
    http.trace_headers = {"traceparent": PARENT}
    recorder.on("/orders", RedirectResponse(f"{elsewhere}/moved"))

    await http.run("request", {"url": f"{server}/orders"})

    assert elsewhere_recorder.received[0]["headers"]["traceparent"] == PARENT


async def test_calls_of_dropbox_carry_the_attempts_span(recorder: Recorder) -> None:
    async with (
        serving(recorder.app) as url,
        ActionRunner(connector, connection=Token(access_token="t", base_url=url)) as dropbox,
    ):
        dropbox.trace_headers = {"traceparent": PARENT}

        await dropbox.run("download", {"path": "/orders.xml"})

    assert [request["headers"]["traceparent"] for request in recorder.received] == [PARENT]
