"""What providers ask before they send: answered without an execution, as each documents it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest

from core.tests.services.gates import SECRET, content, door
from core.tests.services.test_webhook_doors import NOW, slack
from core.tests.services.yard import Yard


def verified(scheme: str) -> str:
    return f"{{webhook: {{verify: {{scheme: {scheme}, connection: hook}}}}}}"


async def test_slack_verifies_a_url(yard: Yard) -> None:
    """docs.slack.dev/reference/events/url_verification"""
    here = await door(yard, verified("slack"))
    body = (
        b'{"token": "Jhj5dZrVaK7ZwHHjRyZWjbDl", "challenge": "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P", '
        b'"type": "url_verification"}'
    )

    answer = await here.send(body, slack(body))
    unsigned = await here.send(body)

    assert (answer.status, answer.body) == (200, b"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P")
    assert answer.headers["content-type"].startswith("text/plain")
    assert unsigned.status == 401
    assert await here.executions() == []


async def test_zoom_validates_an_endpoint(yard: Yard) -> None:
    """developers.zoom.us/docs/api/webhooks, "Validate your webhook endpoint": the token, and its HMAC in hex"""
    here = await door(yard, verified("zoom"))
    body = b'{"payload": {"plainToken": "qgg8vlvZRS6UYooatFL8Aw"}, "event_ts": 1654503849680, "event": "endpoint.url_validation"}'
    digest = hmac.new(SECRET.encode(), b"v0:%d:" % NOW + body, "sha256").hexdigest()

    answer = await here.send(body, {"x-zm-signature": f"v0={digest}", "x-zm-request-timestamp": str(NOW)})

    expected = hmac.new(SECRET.encode(), b"qgg8vlvZRS6UYooatFL8Aw", hashlib.sha256).hexdigest()
    assert content(answer) == {"plainToken": "qgg8vlvZRS6UYooatFL8Aw", "encryptedToken": expected}
    assert await here.executions() == []


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({}, 200),
        ({"hub.verify_token": "guess"}, 401),
        ({"hub.verify_token": ""}, 401),
        ({"hub.mode": "unsubscribe"}, 401),
        ({"hub.challenge": "x" * 5000}, 400),
    ],
)
async def test_meta_confirms_a_subscription(yard: Yard, change: dict[str, str], status: int) -> None:
    """developers.facebook.com/docs/graph-api/webhooks/getting-started, "Verification requests": hub.challenge is given back"""
    here = await door(yard, verified("meta"), {"secret": SECRET, "verify_token": "meatyhamhock"})
    query = {"hub.mode": "subscribe", "hub.challenge": "1158201444", "hub.verify_token": "meatyhamhock", **change}

    answer = await here.send(b"", method="GET", query=query)

    assert answer.status == status
    assert status != 200 or answer.body == b"1158201444"
    assert await here.executions() == []


async def test_without_a_verify_token_nobody_can_subscribe(yard: Yard) -> None:
    here = await door(yard, verified("meta"))

    query = {"hub.mode": "subscribe", "hub.challenge": "1", "hub.verify_token": ""}
    answer = await here.send(b"", method="GET", query=query)

    assert answer.status == 401


async def test_dropbox_asks_with_a_challenge(yard: Yard) -> None:
    """dropbox.com/developers/reference/webhooks: echoed as text, not to be guessed as anything else"""
    here = await door(yard, verified("dropbox"))

    answer = await here.send(b"", method="GET", query={"challenge": "<script>alert(1)</script>"})
    changed = b'{"list_folder": {"accounts": ["dbid:AAH4f99T0taONIb-OurWxbNQ6ywGRopQngc"]}}'
    signed = {"x-dropbox-signature": hmac.new(SECRET.encode(), changed, "sha256").hexdigest()}
    notified = await here.send(changed, signed)

    assert answer.body == b"<script>alert(1)</script>"
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert notified.status == 202


async def test_okta_verifies_an_event_hook_once(yard: Yard) -> None:
    """developer.okta.com/docs/concepts/event-hooks, "One-time verification request" """
    here = await door(yard, verified("okta"))

    asked = {"x-okta-verification-challenge": "Z2ZkZmRmZGY"}
    answer = await here.send(b"", asked, method="GET")

    assert content(answer) == {"verification": "Z2ZkZmRmZGY"}
    assert (await here.send(b"{}")).status == 401
    assert (await here.send(b"{}", {"authorization": SECRET})).status == 202


async def test_microsoft_graph_validates_an_endpoint_and_proves_itself_by_the_client_state(yard: Yard) -> None:
    """learn.microsoft.com/graph/change-notifications-delivery-webhooks: the decoded token as text; `clientState` in each"""
    here = await door(yard, verified("microsoft-graph"))

    async def notified(*states: Any) -> int:
        listed = ", ".join(f'{{"subscriptionId": "7f10", "clientState": {state}}}' for state in states)
        return (await here.send(f'{{"value": [{listed}]}}'.encode())).status

    token = await here.send(b"", query={"validationToken": "Validation: Testing client application"})

    assert (token.status, token.body) == (200, b"Validation: Testing client application")
    assert token.headers["content-type"].startswith("text/plain")
    right = f'"{SECRET}"'
    assert await notified(right, right) == 202
    assert [await notified(right, '"guess"'), await notified("null"), await notified(), await notified("1")] == [
        401
    ] * 4
    [id] = await here.executions()
    await yard.run(id)
    record = await yard.record(id)
    assert record.output is not None
    assert SECRET not in record.output.json.decode()
    assert json.loads(record.output.json)["body"]["value"][0] == {"subscriptionId": "7f10", "clientState": "***"}


async def test_x_asks_for_a_response_token(yard: Yard) -> None:
    """docs.x.com/x-api/webhooks, "CRC": sha256= and the HMAC of the token in base64"""
    here = await door(yard, verified("x"), {"secret": "consumer secret"})

    answer = await here.send(b"", method="GET", query={"crc_token": "foo"})

    expected = base64.b64encode(hmac.new(b"consumer secret", b"foo", "sha256").digest()).decode()
    assert content(answer) == {"response_token": f"sha256={expected}"}
