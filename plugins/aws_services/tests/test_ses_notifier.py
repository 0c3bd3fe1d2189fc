"""E-mail through SES: the contract against what a real server holds, and the errors that AWS documents."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from turnout.errors import BackendError, Overloaded, SettingsError, Undeliverable
from turnout.interfaces.notifier import Phase
from turnout.interfaces.opening import Opening
from turnout.testing.notifier import NotifierContract, notification
from turnout_aws.ses_notifier import SesNotifier

from .channel_sides import REGION, SesSide
from .gate import Gate, gate, json_answer, refusal

HOSTILE = "=?utf-8?q?Bcc=3A?= mallory@example.com"


async def connected(url: str, **changed: Any) -> SesNotifier:
    options = {
        "from": "alerts@shop.example",
        "to": ["ops@shop.example", "ada@shop.example"],
        "region": REGION,
        "endpoint_url": url,
        **changed,
    }
    given = {name: value for name, value in options.items() if value is not None}
    return await SesNotifier.connect(Opening(directory=Path(), table="alerts.channels", name="mail", options=given))


@pytest.fixture
def way(server: str) -> Iterator[Gate]:
    with gate(server) as made:
        yield made


@pytest.fixture
def other(way: Gate) -> SesSide:
    return SesSide(way)


@pytest.fixture
async def notifier(other: SesSide) -> AsyncIterator[SesNotifier]:
    made = await connected(other.gate.url)
    yield made
    await made.close()


class TestSes(NotifierContract):
    @pytest.fixture
    def other(self, way: Gate) -> SesSide:
        return SesSide(way)

    @pytest.fixture
    async def notifier(self, other: SesSide) -> AsyncIterator[SesNotifier]:
        made = await connected(other.gate.url)
        yield made
        await made.close()


async def test_a_mail_is_from_whom_and_to_whom_the_settings_say(notifier: SesNotifier, other: SesSide) -> None:
    said = await notifier.send(notification(text="<b>1</b> & 2"))

    [mail] = other.mails
    assert said == f"SES took the mail for ops@shop.example, ada@shop.example as {mail.id}"
    assert mail.source == "Turnout <alerts@shop.example>"
    assert mail.destinations == {"ToAddresses": ["ops@shop.example", "ada@shop.example"]}
    assert "&lt;b&gt;1&lt;/b&gt; &amp; 2" in mail.body
    text = other.gate.asked[0].json["Content"]["Simple"]["Body"]["Text"]
    assert text == {"Data": "<b>1</b> & 2\n", "Charset": "UTF-8"}


async def test_what_the_settings_say_beside_goes_with_it(other: SesSide) -> None:
    mailer = await connected(
        other.gate.url, reply_to=["help@shop.example"], configuration_set="alerts", tags={"team": "ops", "env": "prod"}
    )

    await mailer.send(notification())

    [asked] = other.gate.asked
    assert asked.json["ReplyToAddresses"] == ["help@shop.example"]
    assert asked.json["ConfigurationSetName"] == "alerts"
    assert asked.json["EmailTags"] == [{"Name": "team", "Value": "ops"}, {"Name": "env", "Value": "prod"}]
    await mailer.close()


async def test_mails_of_one_incident_are_one_conversation_and_each_has_an_id_that_stays(
    notifier: SesNotifier, other: SesSide
) -> None:
    await notifier.send(notification())
    await notifier.send(notification())
    await notifier.send(notification(Phase.RESOLVED, number=2, severity="critical"))
    await notifier.send(notification(Phase.TEST, incident="test"))

    headers = [
        {one["Name"]: one["Value"] for one in asked.json["Content"]["Simple"]["Headers"]} for asked in other.gate.asked
    ]
    assert [one["X-Turnout-Message"] for one in headers] == ["4f1d-1", "4f1d-1", "4f1d-2", "test-1"]
    assert [one.get("References") for one in headers] == ["<4f1d@shop.example>"] * 3 + [None]
    assert [one.get("Importance") for one in headers] == [None, None, "high", None]
    assert {one["Auto-Submitted"] for one in headers} == {"auto-generated"}


async def test_a_subject_that_looks_encoded_is_encoded_and_no_other_is(notifier: SesNotifier, other: SesSide) -> None:
    await notifier.send(notification(subject=HOSTILE))
    await notifier.send(notification(subject="Zürich 🚂 \ud800"))

    assert [mail.subject for mail in other.mails] == [
        "=?utf-8?b?PT91dGYtOD9xP0JjYz0zQT89IG1hbGxvcnlAZXhhbXBsZS5jb20=?=",
        "Zürich 🚂 \ufffd",
    ]


@pytest.mark.parametrize(
    ("code", "said", "error"),
    [
        ("AccountSuspendedException", "restricted", SettingsError),
        ("SendingPausedException", "paused", SettingsError),
        ("MailFromDomainNotVerifiedException", "no", SettingsError),
        ("NotFoundException", "Configuration set <alerts> does not exist.", SettingsError),
        ("MessageRejected", "Email address is not verified. The following identities failed: x", SettingsError),
        ("MessageRejected", "Message contains invalid content", Undeliverable),
        ("BadRequestException", "Illegal header", Undeliverable),
        ("InvalidClientTokenId", "no such token", SettingsError),
        ("InternalFailure", "oops", BackendError),
    ],
)
async def test_a_refusal_says_what_is_to_blame(other: SesSide, code: str, said: str, error: type[Exception]) -> None:
    other.gate.answer = lambda asked: refusal(code, said)
    mailer = await connected(other.gate.url)

    with pytest.raises(
        error, match=rf"alerts\.channels\.mail: SES did not take the mail: {code}: {said[:20]}"
    ) as caught:
        await mailer.send(notification())

    assert isinstance(caught.value, Undeliverable) == (error is Undeliverable)
    assert len(other.gate.asked) == 1, "the outbox tries again, boto3 does not"
    await mailer.close()


async def test_an_address_that_is_not_verified_is_the_settings_to_the_server_too(other: SesSide) -> None:
    mailer = await connected(other.gate.url, **{"from": "stranger@elsewhere.example"})

    with pytest.raises(SettingsError, match="not verified"):
        await mailer.send(notification())
    await mailer.close()


@pytest.mark.parametrize(
    ("code", "said", "waits"),
    [
        ("TooManyRequestsException", "slow down", 60.0),
        ("ThrottlingException", "Maximum sending rate exceeded", 60.0),
        ("ThrottlingException", "Daily message quota exceeded", 600.0),
        ("LimitExceededException", "slow down", 60.0),
    ],
)
async def test_who_is_throttled_comes_later(other: SesSide, code: str, said: str, waits: float) -> None:
    other.gate.answer = lambda asked: refusal(code, said, 429)
    mailer = await connected(other.gate.url)

    with pytest.raises(Overloaded) as caught:
        await mailer.send(notification())

    assert caught.value.retry_after_s == waits
    await mailer.close()


async def test_when_the_service_says_when_to_come_again_that_holds(other: SesSide) -> None:
    other.gate.answer = lambda asked: json_answer({"message": "later"}, 503, **{"retry-after": "7"})
    mailer = await connected(other.gate.url)

    with pytest.raises(Overloaded) as caught:
        await mailer.send(notification())

    assert caught.value.retry_after_s == 7.0
    await mailer.close()


async def test_without_credentials_it_says_what_to_set(other: SesSide, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    mailer = await connected(other.gate.url)

    with pytest.raises(
        SettingsError, match=r"alerts\.channels\.mail: .* no credentials of AWS were found: .*`profile`"
    ):
        await mailer.send(notification())
    await mailer.close()


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"from": None}, "mail.from: it must be set"),
        ({"from": "Ops <ops@shop.example>"}, "mail.from: an e-mail address is expected"),
        ({"to": []}, "mail.to: list should have at least 1 item"),
        ({"to": [f"a{number}@b.example" for number in range(51)]}, "mail.to: list should have at most 50 items"),
        ({"to": ["a@b.example\r\nBcc: c@d.example"]}, "mail.to.0: an e-mail address is expected"),
        ({"reply_to": ["x"]}, "mail.reply_to.0: an e-mail address is expected"),
        ({"tags": {"a b": "c"}}, "mail.tags"),
        ({"tags": {"a": "b c"}}, "mail.tags.a: string should match pattern"),
        ({"configuration_set": "a b"}, "mail.configuration_set: string should match pattern"),
        ({"frm": "x"}, "mail.frm: unknown setting: did you mean 'from'"),
        ({"region": None, "endpoint_url": None}, "mail.region: it must be set, or AWS_REGION"),
    ],
)
async def test_options_that_are_wrong_are_named(
    changed: dict[str, Any], fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")

    with pytest.raises(SettingsError) as caught:
        await connected("http://127.0.0.1:9", **changed)

    assert f"alerts.channels.{fault}" in str(caught.value)
