"""Schemes of well-known senders of webhooks: how they sign, what they ask before they send, which id a delivery has.

Each says where its provider documents it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from turnout.errors import Unauthenticated
from turnout.interfaces.service import Request, Response
from turnout.interfaces.signatures import Basic, Certificate, Signature, Token
from turnout.values import Value

__all__ = ["SCHEMES", "Scheme"]

Fields = Mapping[str, str]
"""The connection's fields by name, as text, secrets too."""

_LONGEST_CHALLENGE: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """How a provider's webhooks are taken.

    `proof` is what each request must carry (None: `seen` looks for it in the body). `fields` are the connection's fields that
    hold the secrets; of those, any that are there: an old one beside a new one while they are exchanged.

    `asked` sees a request before anything is proved and answers what needs no proof, a handshake say; `seen` sees the body
    of a request that is proved and answers what starts no execution. Both return None for any other request; what they raise
    as `Unauthenticated` refuses it.

    `delivery` is where a delivery's own id stands, for deduplication: `header:NAME`, or `body:FIELD` of a JSON object. Without
    one, and where the sender signs a time, the signed content stands for itself, so that a copy is a duplicate.
    """

    title: str
    docs: str = ""
    proof: Signature | Token | Basic | Certificate | None = None
    fields: tuple[str, ...] = ("secret", "previous")
    asked: Callable[[Request, Fields], Response | None] | None = None
    seen: Callable[[Value, Fields], Response | None] | None = None
    delivery: str = ""


def _text(text: str) -> Response:
    """What was asked, as text: no browser takes it for a page."""
    if len(text) > _LONGEST_CHALLENGE:
        return Response(status=400, headers=_PLAIN, body=b"the challenge is too long")
    return Response(headers=_PLAIN, body=text.encode())


def _json(data: Any) -> Response:
    return Response(headers={"content-type": "application/json"}, body=json.dumps(data).encode())


_PLAIN: Final = {"content-type": "text/plain; charset=utf-8", "x-content-type-options": "nosniff"}


def _field(body: Value, name: str) -> Any:
    found = body.get(name)
    return None if found is None else found.load()


def _slack_verification(body: Value, _: Fields) -> Response | None:
    challenge = _field(body, "challenge")
    if _field(body, "type") != "url_verification" or not isinstance(challenge, str):
        return None
    return _text(challenge)


def _zoom_validation(body: Value, fields: Fields) -> Response | None:
    if _field(body, "event") != "endpoint.url_validation":
        return None
    payload = _field(body, "payload")
    token = payload.get("plainToken") if isinstance(payload, dict) else None
    if not isinstance(token, str) or len(token) > _LONGEST_CHALLENGE:
        raise Unauthenticated("the validation has no plainToken")
    secret = fields.get("secret", "")
    return _json({"plainToken": token, "encryptedToken": hmac.digest(secret.encode(), token.encode(), "sha256").hex()})


def _meta_subscription(request: Request, fields: Fields) -> Response | None:
    if request.method != "GET" or "hub.challenge" not in request.query:
        return None
    token = fields.get("verify_token", "")
    given = request.query.get("hub.verify_token", "")
    if request.query.get("hub.mode") != "subscribe" or not token:
        raise Unauthenticated("a subscription is confirmed with hub.mode=subscribe and the connection's `verify_token`")
    if not hmac.compare_digest(token.encode(), given.encode("utf-8", "replace")):
        raise Unauthenticated("hub.verify_token is not the connection's `verify_token`")
    return _text(request.query["hub.challenge"])


def _dropbox_challenge(request: Request, _: Fields) -> Response | None:
    return _text(request.query["challenge"]) if request.method == "GET" and "challenge" in request.query else None


def _okta_verification(request: Request, _: Fields) -> Response | None:
    challenge = request.headers.get("x-okta-verification-challenge")
    if request.method != "GET" or challenge is None:
        return None
    return _json({"verification": challenge[:_LONGEST_CHALLENGE]})


def _x_crc(request: Request, fields: Fields) -> Response | None:
    if request.method != "GET" or "crc_token" not in request.query or not fields.get("secret"):
        return None
    digest = hmac.digest(fields["secret"].encode(), request.query["crc_token"].encode(), hashlib.sha256)
    return _json({"response_token": f"sha256={base64.b64encode(digest).decode()}"})


def _graph_validation(request: Request, _: Fields) -> Response | None:
    token = request.query.get("validationToken")
    return _text(token) if request.method == "POST" and token is not None else None


def _graph_state(body: Value, fields: Fields) -> Response | None:
    """Each notification carries the `clientState` that the subscription was made with."""
    sent = _field(body, "value")
    states = (
        [item.get("clientState") if isinstance(item, dict) else None for item in sent] if isinstance(sent, list) else []
    )
    secrets = [fields[name] for name in ("secret", "previous") if fields.get(name)]
    if not states or not all(_is_state(state, secrets) for state in states):
        raise Unauthenticated("a notification's clientState is not the connection's `secret`")
    return None


def _is_state(state: Any, secrets: list[str]) -> bool:
    return isinstance(state, str) and any(
        hmac.compare_digest(state.encode("utf-8", "replace"), secret.encode()) for secret in secrets
    )


_STANDARD: Final = Signature(
    header="webhook-signature",
    encoding="base64",
    prefix="v1,",
    separator=" ",
    signed="{id}.{timestamp}.{body}",
    timestamp="webhook-timestamp",
    id="webhook-id",
    key="base64",
    key_prefix="whsec_",
)

SCHEMES: Final[Mapping[str, Scheme]] = {
    "github": Scheme(
        title="GitHub",
        docs="https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries",
        proof=Signature(header="X-Hub-Signature-256", prefix="sha256="),
        delivery="header:x-github-delivery",
    ),
    "gitlab": Scheme(
        title="GitLab",
        docs="https://docs.gitlab.com/user/project/integrations/webhooks/",
        proof=Token(header="X-Gitlab-Token"),
        delivery="header:x-gitlab-event-uuid",
    ),
    "stripe": Scheme(
        title="Stripe",
        docs="https://docs.stripe.com/webhooks#verify-manually",
        proof=Signature(
            header="Stripe-Signature",
            prefix="v1=",
            separator=",",
            signed="{timestamp}.{body}",
            timestamp_prefix="t=",
        ),
        delivery="body:id",
    ),
    "slack": Scheme(
        title="Slack",
        docs="https://docs.slack.dev/authentication/verifying-requests-from-slack",
        proof=Signature(
            header="X-Slack-Signature",
            prefix="v0=",
            signed="v0:{timestamp}:{body}",
            timestamp="X-Slack-Request-Timestamp",
        ),
        seen=_slack_verification,
        delivery="body:event_id",
    ),
    "shopify": Scheme(
        title="Shopify",
        docs="https://shopify.dev/docs/apps/build/webhooks/subscribe/https",
        proof=Signature(header="X-Shopify-Hmac-Sha256", encoding="base64"),
        delivery="header:x-shopify-webhook-id",
    ),
    "twilio": Scheme(
        title="Twilio",
        docs="https://www.twilio.com/docs/usage/security#validating-requests",
        proof=Signature(header="X-Twilio-Signature", algorithm="sha1", encoding="base64", signed="{url}{form}"),
        delivery="header:i-twilio-idempotency-token",
    ),
    "standard-webhooks": Scheme(
        title="Standard Webhooks",
        docs="https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md",
        proof=_STANDARD,
        delivery="header:webhook-id",
    ),
    "svix": Scheme(
        title="Svix",
        docs="https://docs.svix.com/receiving/verifying-payloads/how-manual",
        proof=replace(_STANDARD, header="svix-signature", timestamp="svix-timestamp", id="svix-id"),
        delivery="header:svix-id",
    ),
    "hubspot": Scheme(
        title="HubSpot (v3)",
        docs="https://developers.hubspot.com/docs/apps/developer-platform/build-apps/authentication/request-validation",
        proof=Signature(
            header="X-HubSpot-Signature-v3",
            encoding="base64",
            signed="{method}{decoded_url}{body}{timestamp}",
            timestamp="X-HubSpot-Request-Timestamp",
            timestamp_unit="ms",
        ),
    ),
    "zoom": Scheme(
        title="Zoom",
        docs="https://developers.zoom.us/docs/api/webhooks/",
        proof=Signature(
            header="x-zm-signature",
            prefix="v0=",
            signed="v0:{timestamp}:{body}",
            timestamp="x-zm-request-timestamp",
        ),
        seen=_zoom_validation,
    ),
    "meta": Scheme(
        title="Meta (Facebook, Instagram, WhatsApp)",
        docs="https://developers.facebook.com/docs/graph-api/webhooks/getting-started",
        proof=Signature(header="X-Hub-Signature-256", prefix="sha256="),
        asked=_meta_subscription,
    ),
    "dropbox": Scheme(
        title="Dropbox",
        docs="https://www.dropbox.com/developers/reference/webhooks",
        proof=Signature(header="X-Dropbox-Signature"),
        asked=_dropbox_challenge,
    ),
    "x": Scheme(
        title="X (Twitter)",
        docs="https://docs.x.com/x-api/webhooks/introduction",
        proof=Signature(header="x-twitter-webhooks-signature", encoding="base64", prefix="sha256="),
        asked=_x_crc,
    ),
    "okta": Scheme(
        title="Okta event hooks",
        docs="https://developer.okta.com/docs/concepts/event-hooks/",
        proof=Token(header="Authorization"),
        asked=_okta_verification,
        delivery="body:eventId",
    ),
    "microsoft-graph": Scheme(
        title="Microsoft Graph change notifications",
        docs="https://learn.microsoft.com/en-us/graph/change-notifications-delivery-webhooks",
        asked=_graph_validation,
        seen=_graph_state,
    ),
    "aws-sns": Scheme(
        title="AWS SNS",
        docs="https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html",
        proof=Certificate(),
        fields=("topic_arn",),
        delivery="body:MessageId",
    ),
    "api_key": Scheme(title="A key in a header", proof=Token()),
    "bearer": Scheme(title="A bearer token", proof=Token(header="Authorization", prefix="Bearer ")),
    "basic": Scheme(title="Name and password", proof=Basic(), fields=("username", "password", "previous")),
}
"""Beside these, `hmac` is a signature that the definition describes itself."""
