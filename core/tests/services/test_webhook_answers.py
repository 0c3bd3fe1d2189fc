"""How senders are answered: as the flow describes, at once or at the end, and never so that a request is lost by it."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from turnout.interfaces.service import Response

from core.tests.services.gates import SECRET, Door, content, door
from core.tests.services.test_webhook_doors import slack
from core.tests.services.yard import Yard


async def waited(here: Door, yard: Yard, body: bytes = b"{}", headers: dict[str, str] | None = None) -> Response:
    """The answer to a request whose execution runs meanwhile."""
    waiting = asyncio.ensure_future(here.send(body, headers))
    while not (unfinished := await here.executions()) and not waiting.done():
        await asyncio.sleep(0)
    if unfinished:
        await yard.run(unfinished[0])
    return await waiting


async def test_an_answer_at_once_is_made_of_what_came(yard: Yard) -> None:
    respond = (
        "{status: 201, headers: {X-Order: '${{ trigger.body.order }}', Content-Type: text/xml}, "
        "body: '<id>${{ execution.id }}</id>'}"
    )
    here = await door(yard, f"{{webhook: {{respond: {respond}}}}}")

    answer = await here.send(b'{"order": 7}')

    [id] = await here.executions()
    assert (answer.status, answer.body) == (201, f"<id>{id}</id>".encode())
    assert (answer.headers["x-order"], answer.headers["content-type"]) == ("7", "text/xml")
    assert answer.headers["turnout-execution"] == id


async def test_the_end_is_answered_with_the_output(yard: Yard) -> None:
    respond = (
        "{wait: 30s, status: '${{ output.code }}', body: {said: '${{ output.text }}', at: '${{ execution.status }}'}}"
    )
    steps = '- {id: done, stop: {output: {code: 418, text: "${{ trigger.body.name }}"}}}'
    here = await door(yard, f"{{webhook: {{respond: {respond}}}}}", steps=steps)

    answer = await waited(here, yard, b'{"name": "Ada"}')

    assert (answer.status, content(answer)) == (418, {"said": "Ada", "at": "succeeded"})
    assert answer.headers["content-type"] == "application/json"


async def test_a_failure_has_an_answer_of_its_own(yard: Yard) -> None:
    respond = "{wait: 30s, failed: {status: 422, body: {why: '${{ error.message }}'}}}"
    here = await door(yard, f"{{webhook: {{respond: {respond}}}}}", steps='- {id: done, stop: {error: "out of stock"}}')

    answer = await waited(here, yard)

    assert (answer.status, content(answer)) == (422, {"why": "out of stock"})


async def test_a_failure_without_an_answer_of_its_own_is_told_as_ever(yard: Yard) -> None:
    here = await door(yard, "{webhook: {respond: {wait: 30s, status: 200}}}", steps='- {id: done, stop: {error: "no"}}')

    answer = await waited(here, yard)

    assert (answer.status, content(answer)["error"]) == (500, {"kind": "stopped", "message": "no"})


@pytest.mark.parametrize(
    ("late", "expected"),
    [("", (202, b'{"execution')), (", late: {status: 503, headers: {Retry-After: '5'}, body: later}", (503, b"later"))],
)
async def test_what_takes_too_long_goes_on(yard: Yard, late: str, expected: tuple[int, bytes]) -> None:
    here = await door(yard, f"{{webhook: {{respond: {{wait: 20ms, status: 200{late}}}}}}}")

    answer = await here.send(b"{}")

    assert isinstance(answer.body, bytes)
    assert (answer.status, answer.body[: len(expected[1])]) == expected
    assert len(await here.executions()) == 1


@pytest.mark.parametrize(
    ("body", "kind", "expected"),
    [
        ("text", "text/plain; charset=utf-8", b"text"),
        ("{a: [1, null]}", "application/json", b'{"a":[1,null]}'),
        ("'${{ trigger.body }}'", "application/json", b'{"n":1}'),
    ],
)
async def test_a_body_has_the_type_of_what_it_is(yard: Yard, body: str, kind: str, expected: bytes) -> None:
    here = await door(yard, f"{{webhook: {{respond: {{body: {body}}}}}}}")

    answer = await here.send(b'{"n":1}')

    assert isinstance(answer.body, bytes)
    assert (answer.status, answer.headers["content-type"], answer.body.replace(b" ", b"")) == (202, kind, expected)


async def test_an_answer_may_be_empty(yard: Yard) -> None:
    here = await door(yard, "{webhook: {respond: {status: 204, body: ignored}}}")

    answer = await here.send(b"{}")

    assert (answer.status, answer.body) == (204, b"")


async def test_a_file_goes_out_as_itself(yard: Yard) -> None:
    here = await door(yard, "{webhook: {respond: {status: 200, body: '${{ trigger.body }}'}}}")

    answer = await here.send([b"\0" * 50_000] * 4, {"content-type": "image/png"})

    assert not isinstance(answer.body, bytes)
    assert b"".join([chunk async for chunk in answer.body]) == b"\0" * 200_000
    assert (answer.headers["content-type"], answer.headers["x-content-type-options"]) == ("image/png", "nosniff")


HOSTILE = [
    ("{headers: {X-A: '${{ trigger.body.v }}'}}", b'{"v": "a\\r\\nset-cookie: admin=1"}'),
    ("{headers: {X-A: '${{ trigger.body.v }}'}}", b'{"v": "\\u0000"}'),
    ("{headers: {X-A: '${{ trigger.body.v }}'}}", '{"v": "\u560d\u560a"}'.encode()),
    ("{status: '${{ trigger.body.v }}'}", b'{"v": 99}'),
    ("{status: '${{ trigger.body.v }}'}", b'{"v": 1e308}'),
    ("{status: '${{ trigger.body.v }}'}", b'{"v": "200 OK\\r\\nx: y"}'),
    ("{status: '${{ trigger.body.v }}'}", b'{"v": true}'),
]


@pytest.mark.parametrize(("respond", "body"), HOSTILE)
async def test_a_sender_cannot_break_the_answer_nor_its_own_acceptance(
    yard: Yard, caplog: pytest.LogCaptureFixture, respond: str, body: bytes
) -> None:
    """Control: the same answer with a value that fits is given."""
    here = await door(yard, f"{{webhook: {{respond: {respond}}}}}")

    with caplog.at_level(logging.WARNING):
        answer = await here.send(body)
    control = await here.send(b'{"v": 203}')

    assert answer.status == 202
    assert "x-a" not in answer.headers
    assert content(answer)["execution"] in await here.executions()
    assert "`respond` gives no answer" in caplog.text
    assert "set-cookie" not in caplog.text
    assert control.status == 203 or control.headers["x-a"] == "203"


async def test_a_duplicate_is_answered_as_the_first_one_was(yard: Yard) -> None:
    steps = "- {id: done, stop: {output: 7}}"
    respond = "{wait: 30s, status: 200, body: '${{ output }}'}"
    limits = "    limits: {deduplicate: {key: '${{ trigger.body.id }}'}}\n"
    here = await door(yard, f"{{webhook: {{respond: {respond}}}}}", steps=steps, extra=limits)

    first = await waited(here, yard, b'{"id": 1}')
    second = await here.send(b'{"id": 1}')

    assert (first.status, first.body) == (second.status, second.body) == (200, b"7")


async def test_a_connectors_trigger_is_answered_as_the_flow_says_too(yard: Yard) -> None:
    trigger = "{hooks.event: {connection: hook, respond: {status: 200, body: ok}}}"
    here = await door(yard, trigger, {"signing_secret": SECRET})
    body = b'{"event_id": "Ev1"}'

    answer: Any = await here.send(body, slack(body))

    assert (answer.status, answer.body) == (200, b"ok")
