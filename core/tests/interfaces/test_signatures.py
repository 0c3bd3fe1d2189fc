"""Signatures of webhooks, by the examples that providers document, and by everything that must not pass for one."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turnout.errors import Unauthenticated
from turnout.interfaces.schemes import SCHEMES
from turnout.interfaces.service import Request
from turnout.interfaces.signatures import ALGORITHMS, ENCODINGS, Basic, Signature, Token


async def _nothing() -> AsyncIterator[bytes]:
    for chunk in tuple[bytes, ...]():
        yield chunk


@dataclass(frozen=True, kw_only=True)
class Example:
    """A request as its provider's documentation shows it."""

    scheme: str
    secret: str
    body: bytes
    headers: Mapping[str, str]
    now: float = 0.0
    url: str = "https://example.com/hook"
    method: str = "POST"


EXAMPLES = {
    # "Testing the webhook payload validation", docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
    "github": Example(
        scheme="github",
        secret="It's a Secret to Everybody",
        body=b"Hello, World!",
        headers={"x-hub-signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"},
    ),
    # The worked example of docs.slack.dev/authentication/verifying-requests-from-slack
    "slack": Example(
        scheme="slack",
        secret="8f742231b10e8888abcd99yyyzzz85a5",
        body=(
            b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
            b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
            b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
            b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
        ),
        headers={
            "x-slack-signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
            "x-slack-request-timestamp": "1531420618",
        },
        now=1531420618.0,
    ),
    # The example of docs.svix.com/receiving/verifying-payloads/how-manual, which Standard Webhooks' libraries test with
    "svix": Example(
        scheme="svix",
        secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        body=b'{"test": 2432232314}',
        headers={
            "svix-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "svix-timestamp": "1614265330",
            "svix-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        },
        now=1614265330.0,
    ),
    "standard-webhooks": Example(
        scheme="standard-webhooks",
        secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        body=b'{"test": 2432232314}',
        headers={
            "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "webhook-timestamp": "1614265330",
            "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        },
        now=1614265330.0,
    ),
    # "Validating signatures", twilio.com/docs/usage/security: the POST to myapp.php with the digits of a <Gather>
    "twilio": Example(
        scheme="twilio",
        secret="12345",
        url="https://mycompany.com/myapp.php?foo=1&bar=2",
        body=urlencode(
            {
                "To": "+18005551212",
                "Digits": "1234",
                "CallSid": "CA1234567890ABCDE",
                "Caller": "+12349013030",
                "From": "+12349013030",
            }
        ).encode(),
        headers={
            "content-type": "application/x-www-form-urlencoded; charset=utf-8",
            "x-twilio-signature": "0/KCTR6DLpKmkAf8muzZqo1nDgQ=",
        },
    ),
    # The same with the numbers that twilio-python's tests of `RequestValidator` have
    "twilio-python": Example(
        scheme="twilio",
        secret="12345",
        url="https://mycompany.com/myapp.php?foo=1&bar=2",
        body=urlencode(
            {
                "CallSid": "CA1234567890ABCDE",
                "Digits": "1234",
                "From": "+14158675309",
                "To": "+18005551212",
                "Caller": "+14158675309",
            }
        ).encode(),
        headers={
            "content-type": "application/x-www-form-urlencoded",
            "x-twilio-signature": "RSOYDt4T1cUTdK1PDd93/VVr8B8=",
        },
    ),
}


def _sha256(secret: bytes, content: bytes) -> bytes:
    """By the standard library alone: providers without a published example describe the steps, which are taken here."""
    return hmac.new(secret, content, hashlib.sha256).digest()


DESCRIBED = {
    # docs.stripe.com/webhooks, "Verify webhook signatures manually": HMAC-SHA256 of `{t}.{payload}` in hex, `v1=` each
    "stripe": Example(
        scheme="stripe",
        secret="whsec_test_secret",
        body=b'{"id": "evt_1", "object": "event"}',
        headers={
            "stripe-signature": "t=1492774577,v1="
            + _sha256(b"whsec_test_secret", b'1492774577.{"id": "evt_1", "object": "event"}').hex()
            + ",v0=6ffbb59b2300aae63f272406069a9788598b792a944a07aba816edb039989a39"
        },
        now=1492774577.0,
    ),
    # shopify.dev/docs/apps/build/webhooks/subscribe/https: base64 of the HMAC-SHA256 of the raw body
    "shopify": Example(
        scheme="shopify",
        secret="hush",
        body=b'{"id":820982911946154508}',
        headers={
            "x-shopify-hmac-sha256": base64.b64encode(_sha256(b"hush", b'{"id":820982911946154508}')).decode(),
        },
    ),
    # developers.hubspot.com, "Validate the v3 request signature": method, decoded URI, body, timestamp in milliseconds
    "hubspot": Example(
        scheme="hubspot",
        secret="yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy",
        url="https://www.example.com/webhook_uri?at=12%3A30%20h",
        body=b'[{"eventId":1}]',
        headers={
            "x-hubspot-signature-v3": base64.b64encode(
                _sha256(
                    b"yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy",
                    b'POSThttps://www.example.com/webhook_uri?at=12:30%20h[{"eventId":1}]1564113600000',
                )
            ).decode(),
            "x-hubspot-request-timestamp": "1564113600000",
        },
        now=1564113600.0,
    ),
    # developers.zoom.us/docs/api/webhooks: as Slack, with x-zm-… headers
    "zoom": Example(
        scheme="zoom",
        secret="zoom-secret",
        body=b'{"event":"meeting.started"}',
        headers={
            "x-zm-signature": "v0=" + _sha256(b"zoom-secret", b'v0:1700000000:{"event":"meeting.started"}').hex(),
            "x-zm-request-timestamp": "1700000000",
        },
        now=1700000000.0,
    ),
}
ALL = {**EXAMPLES, **DESCRIBED}
TIMED = [name for name, one in ALL.items() if one.now]


def signature_of(example: Example) -> Signature:
    proof = SCHEMES[example.scheme].proof
    assert isinstance(proof, Signature)
    return proof


def check(example: Example, *, secrets: tuple[str, ...] = (), chunk: int = 7) -> str:
    """As the ingress does: what the headers say first, then the body in chunks."""
    signature = signature_of(example)
    request = Request(method=example.method, path="/", headers=example.headers, body=_nothing())
    keys = signature.keys(secrets or (example.secret,))
    checking = signature.begin(request, example.url, keys, example.now)
    for start in range(0, len(example.body), chunk):
        checking.update(example.body[start : start + chunk])
    return checking.finish()


@pytest.mark.parametrize("name", ALL)
def test_what_the_provider_documents_is_proved(name: str) -> None:
    assert check(ALL[name])


@pytest.mark.parametrize("name", ALL)
def test_another_body_is_refused(name: str) -> None:
    example = ALL[name]

    with pytest.raises(Unauthenticated):
        check(replace(example, body=example.body + b"x"))


@pytest.mark.parametrize("name", ALL)
def test_another_secret_is_refused(name: str) -> None:
    example = ALL[name]
    signature = signature_of(example)
    wrong = "whsec_" + base64.b64encode(b"another secret").decode() if signature.key == "base64" else "another"

    with pytest.raises(Unauthenticated, match="does not match"):
        check(example, secrets=(wrong,))


@pytest.mark.parametrize("name", ALL)
def test_while_a_secret_is_exchanged_the_old_and_the_new_one_are_good(name: str) -> None:
    example = ALL[name]
    new = "whsec_" + base64.b64encode(b"a new secret").decode() if signature_of(example).key == "base64" else "new"

    assert check(example, secrets=(new, example.secret)) == check(example, secrets=(example.secret, new))


@pytest.mark.parametrize("name", ALL)
def test_without_the_signature_nothing_is_read(name: str) -> None:
    example = ALL[name]
    header = signature_of(example).header.lower()
    headers = {key: value for key, value in example.headers.items() if key != header}

    with pytest.raises(Unauthenticated, match="missing"):
        check(replace(example, headers=headers))


@pytest.mark.parametrize("name", TIMED)
@pytest.mark.parametrize(("late_s", "passes"), [(299.0, True), (301.0, False), (-299.0, True), (-301.0, False)])
def test_the_time_may_be_five_minutes_off_in_both_directions(name: str, late_s: float, passes: bool) -> None:
    example = replace(ALL[name], now=ALL[name].now + late_s)

    if passes:
        assert check(example)
    else:
        with pytest.raises(Unauthenticated, match="too old" if late_s > 0 else "too far in the future"):
            check(example)


@pytest.mark.parametrize("name", TIMED)
def test_a_time_that_was_changed_is_refused(name: str) -> None:
    """Control: the same headers with the time as it was signed pass, see above."""
    example = ALL[name]
    signature = signature_of(example)
    header = (signature.timestamp or signature.header).lower()
    old = str(int(example.now * (1000 if signature.timestamp_unit == "ms" else 1)))
    headers = {**example.headers, header: example.headers[header].replace(old, str(int(old) + 1))}

    with pytest.raises(Unauthenticated, match="does not match"):
        check(replace(example, headers=headers))


@pytest.mark.parametrize(
    "time",
    ["", " ", "+1531420618", "-1531420618", "1531420618.0", "1.5e9", "0x5b", "١٥٣١٤٢٠٦١٨", "1" * 400, "nan", "1, 1"],
)
def test_a_time_in_another_form_is_refused(time: str) -> None:
    example = EXAMPLES["slack"]

    with pytest.raises(Unauthenticated):
        check(replace(example, headers={**example.headers, "x-slack-request-timestamp": time}))


def test_two_times_in_one_header_are_refused() -> None:
    """Else one could be looked at and the other be signed."""
    example = DESCRIBED["stripe"]
    headers = {"stripe-signature": f"t={int(example.now)}," + example.headers["stripe-signature"]}

    with pytest.raises(Unauthenticated, match="has no time"):
        check(replace(example, headers=headers))


def test_signatures_of_two_secrets_in_one_header_prove_by_either() -> None:
    """Stripe sends one signature a secret while a secret is rolled."""
    example = DESCRIBED["stripe"]
    old = example.headers["stripe-signature"]
    both = old.replace("v1=", f"v1={'0' * 64},v1=")

    assert check(replace(example, headers={"stripe-signature": both})) == check(example)


def test_a_signature_under_another_version_proves_nothing() -> None:
    """`v0` of Stripe's is for tests: what is good as `v1` must not pass as it."""
    example = DESCRIBED["stripe"]
    confused = example.headers["stripe-signature"].replace("v0=", "v9=").replace("v1=", "v0=")

    with pytest.raises(Unauthenticated, match="no signature of the form v1="):
        check(replace(example, headers={"stripe-signature": confused}))


@pytest.mark.parametrize("algorithm", ["sha1", "md5", "none", "SHA256"])
def test_the_sender_does_not_choose_the_algorithm(algorithm: str) -> None:
    example = EXAMPLES["github"]
    digest = hmac.new(example.secret.encode(), example.body, "sha1").hexdigest()

    with pytest.raises(Unauthenticated):
        check(replace(example, headers={"x-hub-signature-256": f"{algorithm}={digest}"}))


def test_a_header_that_came_twice_is_no_signature() -> None:
    """Servers join them by a comma. Control: each alone passes."""
    example = EXAMPLES["github"]
    once = example.headers["x-hub-signature-256"]

    with pytest.raises(Unauthenticated):
        check(replace(example, headers={"x-hub-signature-256": f"{once}, {once}"}))


@pytest.mark.parametrize(
    "digest", ["", "757107", "zz" * 32, "757107ea" * 9, "é" * 64, "\0" * 64, "75 71 07", "0" * 100_000]
)
def test_what_is_no_digest_is_refused(digest: str) -> None:
    example = EXAMPLES["github"]

    with pytest.raises(Unauthenticated):
        check(replace(example, headers={"x-hub-signature-256": f"sha256={digest}"}))


def test_thousands_of_signatures_are_not_tried() -> None:
    example = DESCRIBED["stripe"]
    many = example.headers["stripe-signature"] + f",v1={'0' * 64}" * 100

    with pytest.raises(Unauthenticated):
        check(replace(example, headers={"stripe-signature": many}))


@pytest.mark.parametrize("secrets", [(), ("",), ("good", "")])
def test_an_empty_secret_is_an_error_of_ours_and_proves_nothing(secrets: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="empty"):
        Signature(header="x").keys(secrets)
    with pytest.raises(ValueError, match="empty"):
        Token().check(Request(method="POST", path="/", headers={"x-api-key": ""}, body=_nothing()), secrets)


def test_a_secret_that_is_no_base64_is_told_without_showing_it() -> None:
    with pytest.raises(ValueError, match="not base64") as caught:
        signature_of(EXAMPLES["svix"]).keys(["whsec_not base64!"])

    assert "not base64!" not in str(caught.value)


def test_a_body_that_is_no_form_is_signed_by_its_digest_in_the_url() -> None:
    """twilio.com/docs/usage/security: JSON bodies come with `bodySHA256` in the query, and the URL alone is signed."""
    body = b'{"property": "value"}'
    url = f"https://mycompany.com/myapp.php?bodySHA256={hashlib.sha256(body).hexdigest()}"
    digest = base64.b64encode(hmac.new(b"12345", url.encode(), "sha1").digest()).decode()
    headers = {"content-type": "application/json", "x-twilio-signature": digest}
    example = Example(scheme="twilio", secret="12345", body=body, headers=headers, url=url)

    assert check(example)
    with pytest.raises(Unauthenticated, match="bodySHA256"):
        check(replace(example, body=b'{"property": "other"}'))


def test_a_signed_url_without_a_digest_of_the_body_lets_no_body_in() -> None:
    """The signature of an empty form must not vouch for JSON. Control: without a body it passes."""
    url = "https://mycompany.com/myapp.php"
    digest = base64.b64encode(hmac.new(b"12345", url.encode(), "sha1").digest()).decode()
    headers = {"content-type": "application/json", "x-twilio-signature": digest}
    example = Example(scheme="twilio", secret="12345", body=b"", headers=headers, url=url)

    assert check(example)
    with pytest.raises(Unauthenticated, match="bodySHA256"):
        check(replace(example, body=b"{}"))


def test_a_form_that_would_have_to_be_kept_whole_is_bounded() -> None:
    example = EXAMPLES["twilio"]

    with pytest.raises(Unauthenticated, match="signed form"):
        check(replace(example, body=b"a=" + b"x" * 2_000_000), chunk=65536)


@pytest.mark.parametrize(
    ("written", "fault"),
    [
        ({"signed": "{timestamp}"}, "must name {body}"),
        ({"signed": "{body}{body}"}, "must name {body} once"),
        ({"signed": "{secret}{body}"}, "no {secret}"),
        ({"timestamp": "x-time"}, "a time that is not signed"),
        ({"signed": "{timestamp}.{body}"}, "go together"),
        ({"signed": "{id}.{body}"}, "`id`"),
        ({"timestamp_prefix": "t=", "signed": "{timestamp}{body}"}, "separator"),
        ({"header": ""}, "`header`"),
    ],
)
def test_a_signature_that_protects_less_than_it_says_cannot_be_described(written: dict[str, str], fault: str) -> None:
    with pytest.raises(ValueError, match=fault.replace("{", r"\{").replace("}", r"\}")):
        Signature(**{"header": "x-signature", **written})  # type: ignore[arg-type]  # the cases are of texts


@pytest.mark.parametrize(
    ("authorization", "passes"),
    [
        ("Basic " + base64.b64encode(b"ada:pass:word").decode(), True),
        ("basic " + base64.b64encode(b"ada:old").decode(), True),
        ("Basic " + base64.b64encode(b"ada:").decode(), False),
        ("Basic " + base64.b64encode(b"ada").decode(), False),
        ("Basic " + base64.b64encode(b"eve:pass:word").decode(), False),
        ("Basic !!!", False),
        ("Bearer pass:word", False),
        ("", False),
    ],
)
def test_name_and_password(authorization: str, passes: bool) -> None:
    request = Request(method="POST", path="/", headers={"authorization": authorization}, body=_nothing())

    if passes:
        Basic().check(request, ["ada", "pass:word", "old"])
    else:
        with pytest.raises(Unauthenticated):
            Basic().check(request, ["ada", "pass:word", "old"])


signatures = st.builds(
    Signature,
    header=st.just("x-signature"),
    algorithm=st.sampled_from(ALGORITHMS),
    encoding=st.sampled_from(ENCODINGS),
    prefix=st.sampled_from(["", "sha256=", "v1,"]),
    separator=st.just(" "),
    signed=st.sampled_from(["{timestamp}.{body}", "{body}{timestamp}", "v0:{timestamp}:{body}:{method}"]),
    timestamp=st.just("x-time"),
)


@given(
    signature=signatures,
    body=st.binary(max_size=200),
    secrets=st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=3, unique=True),
    cuts=st.lists(st.integers(0, 200), max_size=5),
    flip=st.integers(0, 10_000),
)
def test_what_is_signed_is_proved_however_it_arrives_and_nothing_else_is(
    signature: Signature, body: bytes, secrets: list[str], cuts: list[int], flip: int
) -> None:
    keys = signature.keys(secrets)
    header = signature.sign(body, keys, {"timestamp": "1000", "method": "POST"})
    headers = {"x-signature": header, "x-time": "1000"}
    request = Request(method="POST", path="/", headers=headers, body=_nothing())

    def proved(content: bytes, edges: list[int]) -> str:
        checking = signature.begin(request, "", keys[:1], 1000.0)
        for start, end in zip([0, *edges], [*edges, len(content)], strict=True):
            checking.update(content[start:end])
        return checking.finish()

    edges = sorted(min(cut, len(body)) for cut in cuts)
    assert proved(body, edges) == proved(body, [])
    changed = bytearray(body or b"\0")
    changed[flip % len(changed)] ^= 1 + flip % 255
    with pytest.raises(Unauthenticated):
        proved(bytes(changed), [])
