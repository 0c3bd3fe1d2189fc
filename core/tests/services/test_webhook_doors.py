"""Who may start a flow: proved before anything is kept, once, and told plainly when it is not."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from turnout.errors import BackendError
from turnout.interfaces.service import Request
from turnout.services.api_keys import ApiKeys, Role
from turnout.services.ingress import may_start

from core.tests.services.gates import SECRET, Door, content, door
from core.tests.services.yard import Yard

GITHUB = "{webhook: {verify: {scheme: github, connection: hook}}}"
STRIPE = "{webhook: {verify: {scheme: stripe, connection: hook}}}"
NOW = 1_800_000_000


def github(body: bytes, secret: str = SECRET) -> dict[str, str]:
    return {"x-hub-signature-256": f"sha256={hmac.new(secret.encode(), body, 'sha256').hexdigest()}"}


def stripe(body: bytes, at: int = NOW, secret: str = SECRET) -> dict[str, str]:
    digest = hmac.new(secret.encode(), b"%d." % at + body, "sha256").hexdigest()
    return {"stripe-signature": f"t={at},v1={digest}"}


def slack(body: bytes, at: int = NOW, secret: str = SECRET) -> dict[str, str]:
    digest = hmac.new(secret.encode(), b"v0:%d:" % at + body, "sha256").hexdigest()
    return {"x-slack-signature": f"v0={digest}", "x-slack-request-timestamp": str(at)}


async def kept(yard: Yard) -> list[str]:
    """Hashes of what the payload store holds."""
    return [ref.sha256 async for _, ref in yard.stores.payloads.listing(older_than=float("inf"))]


async def test_the_documented_example_of_github_starts_an_execution(yard: Yard) -> None:
    """docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries#testing-the-webhook-payload-validation"""
    here = await door(yard, GITHUB)
    headers = {
        "content-type": "text/plain",
        "x-hub-signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
    }

    answer = await here.send(b"Hello, World!", headers)

    assert answer.status == 202
    assert (await here.trigger(answer))["body"] == "Hello, World!"


@pytest.mark.parametrize("kind", ["application/json", "application/octet-stream", "text/plain"])
async def test_what_is_not_proved_is_answered_with_401_and_leaves_nothing(yard: Yard, kind: str) -> None:
    """Control: the same, signed, is kept."""
    here = await door(yard, GITHUB)
    body = [b"x" * 100_000] * 10
    wrong = {**github(b"another body"), "content-type": kind}

    refused = await here.send(body, wrong)
    after_refusal = (await here.executions(), await kept(yard))
    taken = await here.send(body, {**github(b"".join(body)), "content-type": kind})

    assert (refused.status, refused.headers["www-authenticate"]) == (401, "Signature")
    assert after_refusal == ([], [])
    assert taken.status == 202
    assert await kept(yard)


async def test_a_sender_that_is_cut_off_leaves_nothing(yard: Yard) -> None:
    here = await door(yard, GITHUB)

    class Cut(Exception):
        pass

    async def broken() -> AsyncIterator[bytes]:
        yield b"x" * 500_000
        raise Cut

    headers = {"content-type": "application/octet-stream", **github(b"x" * 500_000)}
    request = Request(
        method="POST", path="/", headers=headers, parameters={"instance": "i", "flow": "main"}, body=broken()
    )
    with pytest.raises(Cut):
        await here.ingress.hook(request)

    assert (await here.executions(), await kept(yard)) == ([], [])


async def test_a_refusal_says_nothing_of_the_secret_and_reads_no_body_that_cannot_be_proved(yard: Yard) -> None:
    here = await door(yard, GITHUB)
    read = []

    class Body(list[bytes]):
        def __iter__(self) -> Any:
            read.append(True)
            return super().__iter__()

    unsigned = await here.send(Body([b"{}"]))
    wrong = await here.send(b"{}", github(b"{}", "guess"))

    assert [answer.status for answer in (unsigned, wrong)] == [401, 401]
    assert not read
    for answer in (unsigned, wrong):
        assert SECRET.encode() not in bytes(answer.body)  # type: ignore[arg-type]  # bytes, as JSON answers are
        assert "signature" in content(answer)["error"]


async def test_a_connection_without_its_secret_lets_nobody_in(yard: Yard, caplog: pytest.LogCaptureFixture) -> None:
    """Not even who signs with nothing. The sender is told to come again, whoever runs this is told why."""
    here = await door(yard, GITHUB, {"secret": "", "previous": ""})

    with caplog.at_level(logging.WARNING):
        answer = await here.send(b"{}", github(b"{}", ""))

    assert answer.status == 503
    assert await here.executions() == []
    assert "a secret is empty" in caplog.text


async def test_the_secret_before_is_good_while_it_is_there(yard: Yard) -> None:
    both = await door(yard, GITHUB, {"secret": "new", "previous": "old"})
    answers = [(await both.send(b"{}", github(b"{}", secret))).status for secret in ("new", "old", "older")]
    one = await door(yard, GITHUB, {"secret": "new"})

    assert answers == [202, 202, 401]
    assert (await one.send(b"{}", github(b"{}", "old"))).status == 401


async def test_a_copy_within_the_window_is_the_same_execution_and_later_it_is_refused(yard: Yard) -> None:
    here = await door(yard, "{webhook: {verify: {scheme: slack, connection: hook}}}")
    body = b'{"type": "event_callback"}'

    first = await here.send(body, slack(body))
    yard.lab.clock.at += 299
    copy = await here.send(body, slack(body))
    yard.lab.clock.at += 2
    late = await here.send(body, slack(body))

    assert content(copy) == {**content(first), "duplicate": True}
    assert late.status == 401
    assert len(await here.executions()) == 1


async def test_a_copy_cannot_be_told_apart_by_leaving_out_one_of_its_signatures(yard: Yard) -> None:
    here = await door(yard, STRIPE, {"secret": "new", "previous": "old"})
    body = b'{"no": "id"}'
    old, new = stripe(body, secret="old")["stripe-signature"], stripe(body, secret="new")["stripe-signature"]

    first = await here.send(body, {"stripe-signature": f"{old},{new.partition(',')[2]}"})
    copies = [await here.send(body, {"stripe-signature": one}) for one in (old, new)]

    assert {content(copy)["execution"] for copy in copies} == {content(first)["execution"]}


@pytest.mark.parametrize(
    ("trigger", "sign", "headers", "body", "again"),
    [
        (GITHUB, github, {"x-github-delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958"}, b'{"a": 1}', b'{"a": 2}'),
        (STRIPE, stripe, {}, b'{"id": "evt_1", "n": 1}', b'{"id": "evt_1", "n": 2}'),
        (
            "{webhook: {verify: {scheme: slack, connection: hook}}}",
            slack,
            {"x-slack-retry-num": "1"},
            b'{"event_id": "Ev1", "n": 1}',
            b'{"event_id": "Ev1", "n": 2}',
        ),
    ],
)
async def test_a_delivery_that_comes_again_is_one_execution(
    yard: Yard, trigger: str, sign: Any, headers: Mapping[str, str], body: bytes, again: bytes
) -> None:
    """Providers send again under the same id, signed anew. Control: another id is another execution."""
    here = await door(yard, trigger)
    other = body.replace(b"evt_1", b"evt_2").replace(b"Ev1", b"Ev2")
    others = {name: value + "x" for name, value in headers.items()}

    first = await here.send(body, {**headers, **sign(body)})
    second = await here.send(again, {**headers, **sign(again)})
    third = await here.send(other, {**others, **sign(other)})

    assert content(second) == {**content(first), "duplicate": True}
    assert "duplicate" not in content(third)


async def test_shopify_sends_again_under_its_webhook_id(yard: Yard) -> None:
    here = await door(yard, "{webhook: {verify: {scheme: shopify, connection: hook}}}")
    body = b'{"id": 820982911946154508}'
    digest = base64.b64encode(hmac.new(SECRET.encode(), body, hashlib.sha256).digest()).decode()
    headers = {"x-shopify-hmac-sha256": digest, "x-shopify-webhook-id": "b54557e4-bdd9-4b37-8a5f-bf7d70bcd043"}

    answers = [content(await here.send(body, headers)) for _ in range(2)]

    assert answers[1] == {**answers[0], "duplicate": True}


async def test_a_url_is_signed_as_the_sender_knows_it_and_not_as_the_proxy_or_the_host_header_says(yard: Yard) -> None:
    here = await door(yard, "{webhook: {verify: {scheme: twilio, connection: hook}}}")
    headers = {"content-type": "application/x-www-form-urlencoded", "host": "evil.example"}
    digest = hmac.new(SECRET.encode(), b"http://x/hooks/i/main?foo=1&bar=2Digits1234", "sha1").digest()

    signed = {**headers, "x-twilio-signature": base64.b64encode(digest).decode()}
    answer = await here.send(b"Digits=1234", signed, url="http://evil.example/hooks/i/main?foo=1&bar=2")
    other = await here.send(b"Digits=1234", signed, url="http://evil.example/hooks/i/main?foo=2&bar=2")

    assert (answer.status, other.status) == (202, 401)


async def test_a_key_in_a_header_is_checked_and_not_kept(yard: Yard) -> None:
    here = await door(yard, "{webhook: {verify: {scheme: api_key, header: X-Hook-Key, connection: hook}}}")

    answers = [
        (await here.send(b"{}", headers)).status for headers in ({}, {"x-hook-key": "no"}, {"x-api-key": SECRET})
    ]
    taken = await here.send(b"{}", {"x-hook-key": SECRET})

    assert answers == [401, 401, 401]
    assert (await here.trigger(taken))["headers"]["x-hook-key"] == "***"


async def test_name_and_password_are_asked_for_as_browsers_expect(yard: Yard) -> None:
    here = await door(
        yard, "{webhook: {verify: {scheme: basic, connection: hook}}}", {"username": "ada", "password": "lovelace"}
    )
    right = {"authorization": "Basic " + base64.b64encode(b"ada:lovelace").decode()}

    refused, taken = await here.send(b"{}"), await here.send(b"{}", right)

    assert (refused.status, refused.headers["www-authenticate"]) == (401, 'Basic realm="webhook", charset="UTF-8"')
    assert taken.status == 202


async def test_an_empty_name_does_not_make_the_password_one(yard: Yard) -> None:
    here = await door(
        yard,
        "{webhook: {verify: {scheme: basic, connection: hook}}}",
        {"username": "", "password": "a", "previous": "b"},
    )

    answer = await here.send(b"{}", {"authorization": "Basic " + base64.b64encode(b"a:b").decode()})

    assert answer.status == 503


async def test_the_platforms_own_keys_start_flows_of_their_customer_alone(yard: Yard) -> None:
    keys = ApiKeys(yard.stores.catalog, yard.lab.clock)
    here = await door(yard, "{webhook: {verify: bearer}}", keys=may_start(keys))
    tenant = (await here.ingress._instance("local", "i")).tenant
    made = {
        "organisation": await keys.create("all", role=Role.OPERATE),
        "customer": await keys.create("mine", role=Role.ADMIN, customer=tenant),
        "other": await keys.create("theirs", role=Role.ADMIN, customer="other"),
        "reader": await keys.create("reader", role=Role.READ),
    }
    revoked = await keys.create("gone", role=Role.OPERATE)
    await keys.revoke(revoked.id)

    async def status(text: str) -> int:
        return (await here.send(b"{}", {"authorization": text})).status

    answers = {name: await status(f"Bearer {key.text}") for name, key in made.items()}

    assert answers == {"organisation": 202, "customer": 202, "other": 401, "reader": 401}
    assert await status(f"Bearer {revoked.text}") == 401
    assert await status("Bearer x") == await status("") == await status(made["customer"].text) == 401


async def test_a_connectors_trigger_brings_its_scheme_along(yard: Yard) -> None:
    here = await door(yard, "{hooks.event: {connection: hook}}", {"signing_secret": SECRET})
    body = b'{"type": "event_callback", "event_id": "Ev08MFMKH6"}'

    forged = await here.send(body, slack(body, secret="guess"))
    first, again = await here.send(body, slack(body)), await here.send(body, slack(body, NOW + 5))
    handshake = b'{"type": "url_verification", "challenge": "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P"}'
    asked = await here.send(handshake, slack(handshake))

    assert (forged.status, first.status) == (401, 202)
    assert content(again) == {**content(first), "duplicate": True}
    assert asked.body == b"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P"
    assert await here.trigger(first) == {"body": {"type": "event_callback", "event_id": "Ev08MFMKH6"}, "seen": True}


async def test_only_the_methods_that_the_flow_names_start_it(yard: Yard) -> None:
    here = await door(yard, "{webhook: {methods: [PUT]}}")

    answers = {method: await here.send(b"{}", method=method) for method in ("POST", "PUT", "HEAD", "OPTIONS")}

    assert {method: answer.status for method, answer in answers.items()} == {
        "POST": 405,
        "PUT": 202,
        "HEAD": 200,
        "OPTIONS": 204,
    }
    assert answers["POST"].headers["allow"] == "PUT, HEAD, OPTIONS"
    assert len(await here.executions()) == 1


async def test_a_page_of_an_allowed_origin_may_send_and_read_the_answer(yard: Yard) -> None:
    here = await door(yard, "{webhook: {cors: ['https://shop.example']}}")
    asks = {"access-control-request-method": "POST", "access-control-request-headers": "content-type"}

    async def allowed(door: Door, method: str, origin: str) -> Any:
        answer = await door.send(b"{}", {"origin": origin, **asks}, method=method)
        return answer.headers.get("access-control-allow-origin")

    assert await allowed(here, "OPTIONS", "https://shop.example") == "https://shop.example"
    assert await allowed(here, "POST", "https://shop.example") == "https://shop.example"
    assert await allowed(here, "OPTIONS", "https://evil.example") is None
    assert await allowed(here, "POST", "null") is None
    assert await allowed(await door(yard, "{webhook: {}}"), "OPTIONS", "https://shop.example") is None
    assert await allowed(await door(yard, "{webhook: {cors: '*'}}"), "POST", "https://any.example") == "*"


@pytest.mark.parametrize("written", [True, False])
async def test_what_was_sent_again_after_an_outage_is_one_execution(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, written: bool
) -> None:
    """The store fails before it has written, or after: the sender is told 503 both times, and sends again, signed anew."""
    here = await door(yard, STRIPE)
    body, journal = b'{"id": "evt_1"}', yard.stores.journal
    begin = journal.begin

    async def failing(*given: Any, **named: Any) -> bool:
        if written:
            await begin(*given, **named)
        raise BackendError("the store does not answer")

    monkeypatch.setattr(journal, "begin", failing)
    with pytest.raises(BackendError):  # which servers answer with 503
        await here.send(body, stripe(body))
    monkeypatch.setattr(journal, "begin", begin)
    again = await here.send(body, stripe(body, NOW + 60))

    assert again.status == 202
    assert await here.executions() == [content(again)["execution"]]
    assert (await here.trigger(again))["body"] == {"id": "evt_1"}


async def test_two_copies_in_the_same_instant_are_one_execution(yard: Yard) -> None:
    here = await door(yard, STRIPE)
    body = b'{"no": "id"}'

    answers = await asyncio.gather(*[here.send(body, stripe(body)) for _ in range(10)])

    assert {answer.status for answer in answers} == {202}
    assert sum("duplicate" not in content(answer) for answer in answers) == 1
    assert len(await here.executions()) == 1


async def test_a_flow_that_looks_by_itself_has_no_door(yard: Yard) -> None:
    """Control: the same connector's trigger that takes requests has one."""
    polled = await door(yard, "{hooks.looked: {connection: hook, every: 5m}}", {"signing_secret": SECRET})
    asked = await door(yard, "{hooks.looked: {connection: hook}}", {"signing_secret": SECRET})
    taking = await door(yard, "{hooks.event: {connection: hook}}", {"signing_secret": SECRET})

    assert [(await here.send(b"{}")).status for here in (polled, asked, taking)] == [404, 404, 401]
