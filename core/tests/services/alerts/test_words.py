"""What leaves is made of anybody's words: names of customers, texts of errors, lines of logs. None becomes markup, a mention or a
header, none is another customer's, and no secret is among them. With real servers on the other side."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turnout.config import AlertKind, AlertRule
from turnout.interfaces.notifier import LONGEST_SUBJECT, LONGEST_TEXT, Phase
from turnout.model.execution import ErrorInfo
from turnout.services.alerts.harmless import harmless
from turnout.services.alerts.incidents import Scope
from turnout.services.alerts.messages import Message, notification_of
from turnout.services.alerts.slack import SlackNotifier

from core.tests.services.alerts.alert_yard import AlertYard, Told, ended, info_of, logged
from core.tests.services.alerts.http_sides import HttpSide, SlackSide
from core.tests.services.alerts.mail_server import mail_server
from core.tests.services.alerts.test_http_channels import connected
from core.tests.services.alerts.test_smtp import connect

T = 1_700_000_000.0
WORDS = (
    "<!channel> <@U123> <https://evil.example|click> & <!here>",
    "Hello\r\nBcc: mallory@example.com\r\n\r\n<h1>body</h1>",
    "</p><script>alert(1)</script><img src=x onerror=alert(1)>",
    "=?utf-8?q?=0D=0ABcc:_mallory=40example.com?=",
    "\u202eevil\u2066\u200b\x00\x1b[31m\ud800",
    "x" * 100_000,
    "{{ 7 * 7 }} {% for a in b %} ${7*7}",
)


def message(note: str, customer: str = "acme") -> Message:
    return Message(
        id="k-1",
        channel="ops",
        rule="rule",
        scope=Scope(customer=customer, instance="shop", integration="shop", flow=note[:200]),
        incident="4f1d",
        phase=Phase.OPENED,
        at=T,
        opened_at=T,
        written_at=T,
        note=note,
    )


TEMPLATED = AlertRule(channels=("ops",), subject="{{ flow }}: {{ error }}", message="*{{ error }}*\n{{ flow }}")


@pytest.mark.parametrize("rule", [AlertRule(channels=("ops",)), TEMPLATED])
@pytest.mark.parametrize("words", WORDS)
async def test_no_words_become_markup_or_a_mention_in_slack(tmp_path: Path, words: str, rule: AlertRule) -> None:
    """The other side refuses what is markup, and what is longer than it may be."""
    bodies: list[dict[str, Any]] = []

    class Keeping(SlackSide):
        def answered(self, path: str, headers: Any, body: bytes) -> tuple[int, bytes]:
            bodies.append(json.loads(body))
            return super().answered(path, headers, body)

    with Keeping() as side:
        slack = await connected(SlackNotifier, tmp_path, {"env:SLACK": side.url + SlackSide.path}, url="env:SLACK")
        await slack.send(notification_of(message(words), rule, "shop"))
        await slack.close()

    assert side.faults == []
    [body] = bodies
    assert "<!channel>" not in body["text"]
    assert body["link_names"] is False
    assert {part["text"]["type"] for part in body["blocks"] if "text" in part} == {"plain_text"}


async def test_control_a_text_that_is_not_escaped_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("turnout.services.alerts.slack._escaped", lambda text: text)
    with SlackSide() as side:
        slack = await connected(SlackNotifier, tmp_path, {"env:SLACK": side.url + SlackSide.path}, url="env:SLACK")
        with pytest.raises(Exception, match="not escaped"):
            await slack.send(notification_of(message(WORDS[0]), TEMPLATED, "shop"))
        await slack.close()

    assert isinstance(side, HttpSide)
    assert side.faults == ["the text for notifications is not escaped"]


@pytest.mark.parametrize("rule", [AlertRule(channels=("ops",)), TEMPLATED])
@pytest.mark.parametrize("words", WORDS)
async def test_no_words_become_a_header_or_html_in_a_mail(tmp_path: Path, words: str, rule: AlertRule) -> None:
    with mail_server(tmp_path) as server:
        mailer = await connect(tmp_path, server)
        await mailer.send(notification_of(message(words), rule, "shop"))

    [mail], [envelope] = server.mails, server.envelopes
    assert envelope.rcpt_tos == ["ops@shop.example", "ada@shop.example"]
    assert mail["Bcc"] is None
    assert len(mail.get_all("Subject", [])) == 1
    assert "\r" not in str(mail["Subject"])
    assert [part.get_content_type() for part in mail.walk()] == ["multipart/alternative", "text/plain", "text/html"]
    html = mail.get_body(("html",))
    assert html is not None
    assert not {"<script", "<img", "<h1>"} & set(html.get_content().lower().replace(">", "> ").split())
    assert "onerror=alert(1)>" not in html.get_content()


@given(st.text(max_size=300), st.booleans())
def test_whatever_is_said_is_short_and_seen(words: str, templated: bool) -> None:
    made = notification_of(message(words), TEMPLATED if templated else AlertRule(), "shop")

    assert len(made.subject) <= LONGEST_SUBJECT
    assert len(made.text) <= LONGEST_TEXT
    assert "\n" not in made.subject
    assert harmless(made.subject) == made.subject
    assert harmless(made.text, LONGEST_TEXT, lines=True) == made.text
    for text in made.details.values():
        assert harmless(text) == text


def test_a_megabyte_of_what_is_not_seen_is_nothing() -> None:
    assert harmless("\u200b" * 1_000_000 + "end") == ""


def fails_with(words: str) -> Callable[..., Any]:
    error = ErrorInfo(kind="http_500", message=words)
    return lambda id, **more: ended(info_of(id, T, **more), T + 1, error=error)


@pytest.mark.parametrize("words", WORDS)
async def test_whatever_an_error_says_is_taken_in_and_told(words: str) -> None:
    yard = AlertYard(rules={"rule": AlertRule(channels=("ops",))})

    await yard.give(fails_with(words)("e1"))
    await yard.send()

    assert yard.ops.phases == ["opened"]


@pytest.mark.parametrize("kind", [AlertKind.FAILED, AlertKind.LOG, AlertKind.DEAD_LETTER])
async def test_any_number_of_long_errors_fits_into_the_catalog(kind: AlertKind) -> None:
    """The catalog's entries have an end: four bytes a character, at most so many marks."""
    yard = AlertYard(rules={"rule": AlertRule(kind=kind, channels=("ops",), of=100)})
    long = "\U0001f525" * 2000
    for number in range(300):
        info = info_of(f"{number:03}" + "e" * 60, T)
        error = ErrorInfo(kind="dead_letter", message=long)
        await yard.give(ended(info, T + number, error=error), logged(info, T + number, long, id=f"l{number}"))
    await yard.send()

    assert yard.ops.phases == ["opened"]
    [alert] = await yard.alerts()
    assert alert.marks[-1].note


async def test_a_customers_own_address_hears_of_no_other_customer() -> None:
    told = {"acme": Told(), "globex": Told(), "ops": Told()}
    rules = {
        "acme-fails": AlertRule(channels=("acme",), customers=("acme",), throttle_s=0),
        "acme-logs": AlertRule(kind=AlertKind.LOG, channels=("acme",), customers=("acme",), throttle_s=0),
        "globex-fails": AlertRule(channels=("globex",), customers=("globex",), throttle_s=0),
        "all": AlertRule(channels=("ops",), throttle_s=0),
    }
    yard = AlertYard(rules=rules, told=told)
    for number in range(20):
        for tenant in ("acme", "globex", "acme2", "Acme", "xacme"):
            at = T + number
            info = info_of(f"{tenant}-{number}", at, tenant=tenant, instance=f"{tenant}-shop")
            words = f"of {tenant} alone"
            error = ErrorInfo(kind="http_500", message=words) if number % 3 else None
            await yard.give(ended(info, at + 0.5, error=error), logged(info, at, words))
        await yard.look()

    assert len(told["acme"].sent) > 10
    for customer in ("acme", "globex"):
        for one in told[customer].sent:
            assert one.details["customer"] == customer
            said = f"{one.subject}\n{one.text}\n{dict(one.details)}"
            assert not [other for other in ("acme2", "Acme", "xacme") if other in said]
            assert ("globex" if customer == "acme" else "acme") not in said
    assert {one.details["customer"] for one in told["ops"].sent} == {"acme", "globex", "acme2", "Acme", "xacme"}


async def test_alerts_and_messages_are_kept_with_their_customer() -> None:
    """What a customer's removal removes, and what no other's page shows."""
    yard = AlertYard(rules={"rule": AlertRule(channels=("ops",))})
    yard.ops.broken = OSError("down")
    for tenant in ("acme", "globex"):
        await yard.give(fails_with("no")(tenant, tenant=tenant))

    for kind in await yard.catalog.kinds():
        tenants = {entry.address.tenant for entry in await yard.catalog.entries(kind)}
        assert tenants == {"acme", "globex"}
        for entry in await yard.catalog.entries(kind, tenant="acme"):
            assert b"globex" not in entry.body
