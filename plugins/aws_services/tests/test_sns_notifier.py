"""SMS through SNS: the contract against what a real server holds, to a phone and to a topic; how long a text may be, and errors."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from turnout.errors import BackendError, Overloaded, SettingsError, Undeliverable
from turnout.interfaces.notifier import Phase
from turnout.interfaces.opening import Opening
from turnout.testing.notifier import NotifierContract, notification
from turnout_aws.sms_text import parts_of, sms_text
from turnout_aws.sns_notifier import SnsNotifier

from .channel_sides import REGION, SmsSide, TopicSide
from .gate import Gate, gate, xml_refusal

PHONE = "+4915112345678"


async def connected(url: str, **changed: Any) -> SnsNotifier:
    options = {"phone": PHONE, "region": REGION, "endpoint_url": url, **changed}
    given = {name: value for name, value in options.items() if value is not None}
    return await SnsNotifier.connect(Opening(directory=Path(), table="alerts.channels", name="sms", options=given))


@pytest.fixture
def way(server: str) -> Iterator[Gate]:
    with gate(server) as made:
        yield made


class TestSms(NotifierContract):
    @pytest.fixture
    def other(self, way: Gate) -> SmsSide:
        return SmsSide(way)

    @pytest.fixture
    async def notifier(self, other: SmsSide) -> AsyncIterator[SnsNotifier]:
        made = await connected(other.gate.url)
        yield made
        await made.close()


class TestTopic(NotifierContract):
    @pytest.fixture
    def other(self, way: Gate) -> TopicSide:
        return TopicSide(way)

    @pytest.fixture
    async def notifier(self, other: TopicSide) -> AsyncIterator[SnsNotifier]:
        made = await connected(other.gate.url, phone=None, topic=other.arn)
        yield made
        await made.close()


async def test_an_sms_goes_to_the_phone_with_what_the_settings_say(way: Gate) -> None:
    side = SmsSide(way)
    sms = await connected(
        way.url, sender_id="TURNOUT", origination_number="+15555550100", max_price=0.5, sms_type="promotional"
    )

    said = await sms.send(notification(text="the ERP is closed"))

    [(number, text)] = side.messages
    assert (number, text) == (PHONE, "Executions fail\nthe ERP is closed\n4f1d opened")
    assert said.startswith(f"SNS took the message for {PHONE} as ")
    form = way.asked[0].form
    attributes = {
        form[f"MessageAttributes.entry.{number}.Name"]: (
            form[f"MessageAttributes.entry.{number}.Value.DataType"],
            form[f"MessageAttributes.entry.{number}.Value.StringValue"],
        )
        for number in range(1, 5)
    }
    assert attributes == {
        "AWS.SNS.SMS.SMSType": ("String", "Promotional"),
        "AWS.SNS.SMS.SenderID": ("String", "TURNOUT"),
        "AWS.SNS.SMS.MaxPrice": ("Number", "0.50000"),
        "AWS.MM.SMS.OriginationNumber": ("String", "+15555550100"),
    }
    await sms.close()


async def test_by_itself_an_sms_is_transactional(way: Gate) -> None:
    sms = await connected(SmsSide(way).gate.url)

    await sms.send(notification())

    assert way.asked[0].form["MessageAttributes.entry.1.Value.StringValue"] == "Transactional"
    assert "MessageAttributes.entry.2.Name" not in way.asked[0].form
    await sms.close()


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("x" * 160, 1),
        ("x" * 161, 2),
        ("x" * 306, 2),
        ("x" * 307, 3),
        ("€" * 80, 1),
        ("€" * 81, 2),
        ("ç" * 70, 1),
        ("ç" * 71, 2),
        ("ü" * 160, 1),
        ("🚂" * 35, 1),
        ("🚂" * 36, 2),
        ("", 1),
    ],
)
def test_a_text_takes_as_many_parts_as_its_alphabet_needs(text: str, parts: int) -> None:
    assert parts_of(text) == parts


@pytest.mark.parametrize("char", ["x", "ü", "€", "ç", "🚂", "日"])
@pytest.mark.parametrize("parts", [1, 3, 10])
def test_what_is_too_long_is_cut_to_its_parts_and_not_shorter_than_it_has_to_be(char: str, parts: int) -> None:
    text = sms_text(char * 5000, "4f1d resolved", parts)

    assert parts_of(text) <= parts
    assert len(text.encode()) <= 1600
    assert text.endswith("...\n4f1d resolved")
    longer = f"{char}{text}"
    assert parts_of(longer) > parts or len(longer.encode()) > 1600


def test_a_character_beyond_the_alphabet_that_is_cut_off_costs_nothing() -> None:
    text = sms_text("x" * 600 + "🚂", "4f1d opened", 2)

    assert len(text) == 306


async def test_the_number_of_parts_is_a_setting(way: Gate) -> None:
    side = SmsSide(way)
    sms = await connected(way.url, parts=1)

    await sms.send(notification(text="x" * 1000))

    [(_, text)] = side.messages
    assert len(text) == 160
    await sms.close()


async def test_a_topic_has_all_of_it_for_most_and_an_sms_for_phones(way: Gate) -> None:
    side = TopicSide(way)
    sms = await connected(way.url, phone=None, topic=side.arn)

    await sms.send(notification(subject="ü" * 150, text="x" * 5000))

    [(_, message, subject, attributes, group)] = side.notes
    told = json.loads(message)
    assert told["default"] == f"{'ü' * 150}\n{'x' * 5000}\n\n4f1d opened"
    assert parts_of(told["sms"]) == 3
    assert subject == "ü" * 99
    assert group is None
    assert {name: attributes[name]["Value"] for name in ("incident", "message", "phase", "severity")} == {
        "incident": "4f1d",
        "message": "4f1d-1",
        "phase": "opened",
        "severity": "error",
    }
    await sms.close()


async def test_a_fifo_topic_is_told_by_which_key_a_message_is_the_same(way: Gate) -> None:
    side = TopicSide(way, "alerts.fifo", FifoTopic="true")
    sms = await connected(way.url, phone=None, topic=side.arn)

    await sms.send(notification(Phase.RESOLVED, number=2))

    assert side.notes[0][4] == "4f1d"
    assert way.asked[0].form["MessageDeduplicationId"] == "4f1d-2"
    await sms.close()


@pytest.mark.parametrize(
    ("code", "said", "error"),
    [
        ("InvalidParameter", "Invalid parameter: PhoneNumber Reason: +49 is not valid to publish to", SettingsError),
        ("InvalidParameter", "Invalid parameter: Phone number is opted out", SettingsError),
        ("InvalidParameter", "Invalid parameter: TopicArn", SettingsError),
        ("InvalidParameter", "Invalid parameter: Message too long", Undeliverable),
        ("ParameterValueInvalid", "The parameter value is invalid", Undeliverable),
        ("ValidationException", "a parameter is invalid", Undeliverable),
        ("NotFound", "Topic does not exist", SettingsError),
        ("AuthorizationError", "not authorized to perform: SNS:Publish", SettingsError),
        ("KMSDisabled", "the key is disabled", SettingsError),
        ("InvalidSecurity", "not signed", SettingsError),
        ("InternalError", "oops", BackendError),
    ],
)
async def test_a_refusal_says_what_is_to_blame(way: Gate, code: str, said: str, error: type[Exception]) -> None:
    way.answer = lambda asked: xml_refusal(code, said)
    sms = await connected(way.url)

    with pytest.raises(
        error, match=rf"alerts\.channels\.sms: SNS did not take the message: {code}: {said[:12]}"
    ) as caught:
        await sms.send(notification())

    assert isinstance(caught.value, Undeliverable) == (error is Undeliverable)
    assert len(way.asked) == 1, "the outbox tries again, boto3 does not"
    await sms.close()


@pytest.mark.parametrize("code", ["Throttling", "ThrottlingException", "Throttled", "KMSThrottling"])
async def test_who_is_throttled_comes_later(way: Gate, code: str) -> None:
    way.answer = lambda asked: xml_refusal(code, "Rate exceeded")
    sms = await connected(way.url)

    with pytest.raises(Overloaded) as caught:
        await sms.send(notification())

    assert caught.value.retry_after_s == 60.0
    await sms.close()


async def test_a_topic_that_is_not_there_is_the_settings_to_the_server_too(way: Gate) -> None:
    sms = await connected(way.url, phone=None, topic=f"{TopicSide(way).arn}-absent")

    with pytest.raises(SettingsError, match="NotFound"):
        await sms.send(notification())
    await sms.close()


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"phone": None}, "sms: either `phone` or `topic` has to be set"),
        ({"topic": "arn:aws:sns:eu-central-1:123456789012:alerts"}, "sms: either `phone` or `topic` has to be set"),
        ({"phone": "015112345678"}, "sms.phone: a number in E.164 is expected"),
        ({"phone": "+1234567890123456"}, "sms.phone: a number in E.164 is expected"),
        ({"phone": "+0123"}, "sms.phone: a number in E.164 is expected"),
        ({"phone": None, "topic": "alerts"}, "sms.topic: a topic's ARN is expected"),
        ({"sender_id": "123"}, "sms.sender_id: 1 to 11 letters, digits"),
        ({"sender_id": "TWELVELETTER"}, "sms.sender_id: 1 to 11 letters, digits"),
        ({"parts": 11}, "sms.parts: input should be less than or equal to 10"),
        ({"max_price": 0}, "sms.max_price: input should be greater than 0"),
        ({"sms_type": "loud"}, "sms.sms_type: input should be 'transactional' or 'promotional'"),
        ({"fone": "x"}, "sms.fone: unknown setting: did you mean 'phone'"),
        ({"region": None, "endpoint_url": None}, "sms.region: it must be set, or AWS_REGION"),
    ],
)
async def test_options_that_are_wrong_are_named(
    changed: dict[str, Any], fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")

    with pytest.raises(SettingsError) as caught:
        await connected("http://127.0.0.1:9", **changed)

    assert f"alerts.channels.{fault}" in str(caught.value)
