"""Webhooks and callbacks from senders who mean no good, or do not know better: nothing is lost, nothing breaks."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from turnout.interfaces.service import Request, Response
from turnout.model.events import Ended
from turnout.model.execution import Status
from turnout.services.ingress import CallbackUrls, Ingress, bodies, endings
from turnout.services.waiting import Endings

from core.tests.engine.test_going_on import flow
from core.tests.services.test_service_contracts import make_ingress
from core.tests.services.yard import Yard

ECHO = flow('- {id: done, stop: {output: "${{ trigger }}"}}')


def request(
    body: bytes = b"{}",
    *,
    kind: str = "application/json",
    query: Mapping[str, str] | None = None,
    parameters: Mapping[str, str] | None = None,
) -> Request:
    async def stream() -> AsyncIterator[bytes]:
        yield body

    return Request(
        method="POST",
        path="/",
        headers={"content-type": kind, "authorization": "Bearer s3cret"},
        query=query or {},
        parameters=parameters or {"instance": "i", "flow": "main"},
        body=stream(),
    )


def content(answer: Response) -> Any:
    assert isinstance(answer.body, bytes)
    return json.loads(answer.body)


async def ingress_of(yard: Yard, text: str = ECHO) -> Ingress:
    return make_ingress(yard, await yard.lab.deploy(text))


async def output(yard: Yard, answer: Response) -> Any:
    id = content(answer)["execution"]
    await yard.run(id)
    record = await yard.record(id)
    assert record.output is not None
    assert record.status is Status.SUCCEEDED
    return json.loads(record.output.json)


@pytest.mark.parametrize(
    ("body", "seen"),
    [
        (b"", None),
        (b"not json", "not json"),
        (b"[" * 100_000, "[" * 100_000),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b'{"n": 123456789012345678901234567890}', {"n": 123456789012345678901234567890}),
        (b'"\\ud800"', '"\\ud800"'),
        (b"NaN", "NaN"),
    ],
)
async def test_a_body_that_says_it_is_json_is_never_refused_for_what_it_holds(
    yard: Yard, body: bytes, seen: Any
) -> None:
    ingress = await ingress_of(yard)

    answer = await ingress.hook(request(body))

    assert answer.status == 202
    assert (await output(yard, answer))["body"] == seen


async def test_a_body_that_is_too_large_is_refused_as_such(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "_JSON_BYTES", 10)
    ingress = await ingress_of(yard)

    answer = await ingress.hook(request(b'"' + b"x" * 20 + b'"'))

    assert answer.status == 413
    assert list(await yard.stores.journal.unfinished()) == []


async def test_many_who_send_large_json_slowly_hold_no_memory_and_are_all_taken(yard: Yard) -> None:
    """What has come of it waits on the disk. Control: a body that is held takes its size."""
    ingress = await ingress_of(yard)
    going_on, sent = asyncio.Event(), 0

    async def slowly() -> AsyncIterator[bytes]:
        nonlocal sent
        yield b'"'
        for _ in range(80):
            yield b"x" * 100_000
        sent += 1
        await going_on.wait()
        yield b'"'

    def asked() -> asyncio.Task[Response]:
        return asyncio.ensure_future(ingress.hook(replace(request(), body=slowly())))

    tracemalloc.start()
    try:
        waiting = [asked() for _ in range(20)]
        while sent < len(waiting):
            await asyncio.sleep(0)
        held = tracemalloc.get_traced_memory()[0]
        control = [b"x" * 8_000_000 for _ in range(20)]
        by_control = tracemalloc.get_traced_memory()[0] - held
        going_on.set()
        answers = await asyncio.gather(*waiting)
    finally:
        tracemalloc.stop()

    assert [answer.status for answer in answers] == [202] * 20
    assert (held < 40_000_000, by_control > 150_000_000) == (True, True), (held, by_control, len(control))
    id = content(answers[0])["execution"]
    await yard.run(id)
    assert (await yard.record(id)).status is Status.SUCCEEDED


async def test_credentials_of_the_sender_are_not_kept(yard: Yard) -> None:
    ingress = await ingress_of(yard)

    answer = await ingress.hook(request(query={"token": "s3cret", "API_KEY": "s3cret", "page": "2"}))

    seen = await output(yard, answer)
    assert "s3cret" not in json.dumps(seen)
    assert seen["query"]["page"] == "2"


async def test_thousands_of_parameters_are_taken_in(yard: Yard) -> None:
    ingress = await ingress_of(yard)
    many = {f"p{n}": "x" for n in range(20_000)}

    answer = await ingress.hook(request(query=many))

    assert answer.status == 202


async def test_a_callback_for_what_has_ended_and_is_forgotten_is_gone(yard: Yard) -> None:
    ingress = await ingress_of(yard)
    urls = CallbackUrls("http://x", b"k")
    parameters = {"execution": "e", "path": "ask", "signature": urls.signature("e", "ask")}

    answer = await ingress.callback(request(parameters=parameters))

    assert answer.status == 410


@pytest.mark.parametrize("signature", ["", "0" * 40, "ü", "\0"])
async def test_a_callback_that_nobody_signed_is_unknown(yard: Yard, signature: str) -> None:
    id = await yard.lab.accept(flow("- {id: ask, wait: {callback: true}}"))
    ingress = await ingress_of(yard)

    answer = await ingress.callback(request(parameters={"execution": id, "path": "ask", "signature": signature}))

    assert answer.status == 404


async def test_whoever_waits_as_the_service_stops_is_sent_to_the_record(yard: Yard) -> None:
    ingress = await ingress_of(yard)
    waiting = asyncio.ensure_future(ingress.hook(request(query={"wait": "30s"})))
    while not await yard.stores.journal.unfinished():
        await asyncio.sleep(0)
    await asyncio.sleep(0)

    await ingress.stop()

    assert (await waiting).status == 303


async def test_whoever_waits_is_answered_when_another_process_ran_the_execution(yard: Yard) -> None:
    ingress = await ingress_of(yard, flow("- {id: done, stop: {output: 7}}"))
    waiting = asyncio.ensure_future(ingress.hook(request(query={"wait": "30s"})))
    while not (unfinished := await yard.stores.journal.unfinished()):
        await asyncio.sleep(0)

    await yard.run(unfinished[0])
    answer = await waiting

    assert (answer.status, answer.body) == (200, b"7")


@pytest.mark.parametrize(
    ("steps", "expected"), [("{output: 7}", (200, 7)), ("{error: no}", (500, {"kind": "stopped", "message": "no"}))]
)
async def test_whoever_waits_is_answered_when_it_was_recorded_and_forgotten_between_two_looks(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, steps: str, expected: tuple[int, Any]
) -> None:
    monkeypatch.setattr(endings, "_LOOK_S", 0.3)
    ingress = await ingress_of(yard, flow(f"- {{id: done, stop: {steps}}}"))
    waiting = asyncio.ensure_future(ingress.hook(request(query={"wait": "30s"})))
    while not (unfinished := await yard.stores.journal.unfinished()):
        await asyncio.sleep(0)

    await yard.run(unfinished[0])
    await yard.metadata.catch_up()
    forgotten = not await yard.stores.journal.rows(unfinished[0])
    answer = await waiting

    found = content(answer)
    assert forgotten
    assert (answer.status, found["error"] if answer.status == 500 else found) == expected


async def test_whoever_waits_for_what_nobody_knows_any_more_is_sent_to_the_record(yard: Yard) -> None:
    ingress = await ingress_of(yard, flow("- {id: done, stop: {output: 7}}"))
    waiting = asyncio.ensure_future(ingress.hook(request(query={"wait": "30s"})))
    while not (unfinished := await yard.stores.journal.unfinished()):
        await asyncio.sleep(0)

    await yard.stores.journal.forget(unfinished)
    answer = await waiting

    assert answer.status == 303


async def test_a_sender_that_goes_away_takes_its_request_along(yard: Yard) -> None:
    ingress = await ingress_of(yard)
    waiting = asyncio.ensure_future(ingress.hook(request(query={"wait": "30s"})))
    while not await yard.stores.journal.unfinished():
        await asyncio.sleep(0)
    await asyncio.sleep(0)

    waiting.cancel()

    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_file_cannot_add_headers_to_the_answer_by_its_type(yard: Yard) -> None:
    text = flow('- {id: done, stop: {output: "${{ trigger.body }}"}}')
    ingress = await ingress_of(yard, text)
    body = b"<b>" + b"\0" * 10
    waiting = asyncio.ensure_future(ingress.hook(request(body, kind="text/x\r\nset-cookie: a=b", query={"wait": "9s"})))
    while not (unfinished := await yard.stores.journal.unfinished()):
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    await yard.run(unfinished[0])
    for event in await yard.lab.history(unfinished[0]):
        if isinstance(event, Ended):
            ingress._endings.observe(unfinished[0], event)

    answer = await waiting

    assert answer.status == 200
    assert answer.headers["content-type"] in ("application/octet-stream", "application/json")


async def test_ends_that_nobody_waits_for_are_not_kept_while_others_wait() -> None:
    ends = Endings()
    ended = Ended(at=1.0, status=Status.SUCCEEDED)

    with ends.reserving() as first:
        ends.observe("a", ended)
        with ends.reserving() as second:
            ends.observe("b", ended)
            assert second.early == {"b": ended}
        assert await first.claim("a") == ended
        assert await first.claim("b") == ended

    with ends.reserving() as later:
        assert later.early == {}
