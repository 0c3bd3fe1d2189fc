"""Messages of AWS SNS, signed by a certificate as AWS's are: taken, confirmed, refused. Only the way to AWS is replaced.

docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html and …/sns-message-and-json-formats.html, whose example
messages these are.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID
from turnout.errors import BackendError

from core.tests.services.gates import Door, door
from core.tests.services.yard import Yard

TOPIC = "arn:aws:sns:us-west-2:123456789012:MyTopic"
CERTIFICATE = "https://sns.us-west-2.amazonaws.com/SimpleNotificationService-f3ecfb7224c7233fe7bb5f59f96de52f.pem"
SUBSCRIBE = (
    "https://sns.us-west-2.amazonaws.com/?Action=ConfirmSubscription&TopicArn=arn:aws:sns:us-west-2:123456789012:MyTopic"
    "&Token=2336412f37"
)
NOTIFICATION = {
    "Type": "Notification",
    "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
    "TopicArn": TOPIC,
    "Subject": "My First Message",
    "Message": "Hello world!",
    "SigningCertURL": CERTIFICATE,
    "UnsubscribeURL": "https://sns.us-west-2.amazonaws.com/?Action=Unsubscribe&SubscriptionArn=arn",
}
CONFIRMATION = {
    "Type": "SubscriptionConfirmation",
    "MessageId": "165545c9-2a5c-472c-8df2-7ff2be2b3b1b",
    "Token": "2336412f37",
    "TopicArn": TOPIC,
    "Message": f"You have chosen to subscribe to the topic {TOPIC}.\nTo confirm the subscription, visit the SubscribeURL.",
    "SubscribeURL": SUBSCRIBE,
    "SigningCertURL": CERTIFICATE,
}
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
HOOK = "{webhook: {verify: {scheme: aws-sns, connection: hook}}}"


def certificate() -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(KEY.public_key())
    builder = builder.serial_number(7).not_valid_before(now).not_valid_after(now + timedelta(days=1))
    return builder.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


class Aws:
    """Answers as SNS's addresses do, and remembers what was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.down = False

    async def __call__(self, url: str) -> bytes:
        self.asked.append(url)
        if self.down:
            raise BackendError("sns.us-west-2.amazonaws.com does not answer")
        return certificate() if url.endswith(".pem") else b"<ConfirmSubscriptionResponse/>"


def signed(message: dict[str, Any], at: float, version: str = "2", key: rsa.RSAPrivateKey = KEY) -> dict[str, Any]:
    timed = {**message, "Timestamp": datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")}
    names = ["Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
    if message["Type"] == "Notification":
        names = [name for name in names if name not in ("SubscribeURL", "Token")]
    text = "".join(f"{name}\n{timed[name]}\n" for name in names if name in timed)
    digest = hashes.SHA1() if version == "1" else hashes.SHA256()
    signature = key.sign(text.encode(), padding.PKCS1v15(), digest)
    return {**timed, "SignatureVersion": version, "Signature": base64.b64encode(signature).decode()}


async def sns_door(yard: Yard, aws: Aws, topic: str = TOPIC) -> Door:
    return await door(yard, HOOK, {"topic_arn": topic}, fetch=aws)


async def send(here: Door, message: dict[str, Any]) -> Any:
    headers = {"content-type": "text/plain; charset=UTF-8", "x-amz-sns-message-type": message["Type"]}
    return await here.send(json.dumps(message).encode(), headers)


@pytest.mark.parametrize("version", ["1", "2"])
async def test_a_notification_starts_an_execution_once(yard: Yard, version: str) -> None:
    aws = Aws()
    here = await sns_door(yard, aws)
    message = signed(NOTIFICATION, yard.lab.clock.at, version)

    first, again = await send(here, message), await send(here, message)

    assert (first.status, json.loads(again.body)["duplicate"]) == (202, True)
    assert (await here.trigger(first))["body"]["Message"] == "Hello world!"
    assert aws.asked == [CERTIFICATE]


async def test_a_subscription_is_confirmed_without_an_execution(yard: Yard) -> None:
    aws = Aws()
    here = await sns_door(yard, aws)

    answer = await send(here, signed(CONFIRMATION, yard.lab.clock.at))

    assert answer.status == 200
    assert aws.asked == [CERTIFICATE, SUBSCRIBE]
    assert await here.executions() == []


async def test_when_aws_does_not_answer_the_message_is_to_come_again(yard: Yard) -> None:
    aws = Aws()
    here = await sns_door(yard, aws)
    aws.down = True

    with pytest.raises(BackendError):  # the server answers 503
        await send(here, signed(CONFIRMATION, yard.lab.clock.at))
    aws.down = False

    assert (await send(here, signed(CONFIRMATION, yard.lab.clock.at))).status == 200


OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
CHANGES: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "message": lambda message: {**message, "Message": "Hello moon!"},
    "subject left out": lambda message: {name: item for name, item in message.items() if name != "Subject"},
    "type": lambda message: {**message, "Type": "SubscriptionConfirmation"},
    "unknown type": lambda message: {**message, "Type": "Other"},
    "topic": lambda message: {**message, "TopicArn": TOPIC + "2"},
    "version": lambda message: {**message, "SignatureVersion": "0"},
    "hash": lambda message: {**message, "SignatureVersion": "1"},
    "no signature": lambda message: {**message, "Signature": ""},
    "list": lambda message: {**message, "Message": ["Hello world!"]},
    "time": lambda message: {**message, "Timestamp": "yesterday"},
}
ADDRESSES = [
    "http://sns.us-west-2.amazonaws.com/SimpleNotificationService-a.pem",
    "https://sns.us-west-2.amazonaws.com.evil.example/SimpleNotificationService-a.pem",
    "https://evil.example/SimpleNotificationService-a.pem",
    "https://evil.example/?https://sns.us-west-2.amazonaws.com/SimpleNotificationService-a.pem",
    "https://sns.us-west-2.amazonaws.com@evil.example/SimpleNotificationService-a.pem",
    "https://evil.example\\@sns.us-west-2.amazonaws.com/SimpleNotificationService-a.pem",
    "https://sns.us-west-2.amazonaws.com:8443/SimpleNotificationService-a.pem",
    "https://s3.amazonaws.com/bucket/SimpleNotificationService-a.pem",
    "https://sns.us-west-2.amazonaws.com/other.pem",
    "https://sns.us-west-2.amazonaws.com/?Action=x&y=SimpleNotificationService-a.pem",
    "https://169.254.169.254/SimpleNotificationService-a.pem",
    "file:///etc/passwd",
    "https://[::1/SimpleNotificationService-a.pem",
    "",
]


@pytest.mark.parametrize("change", CHANGES)
async def test_what_was_changed_is_refused(yard: Yard, change: str) -> None:
    """Control: unchanged, it starts an execution, see above."""
    here = await sns_door(yard, Aws())

    answer = await send(here, CHANGES[change](signed(NOTIFICATION, yard.lab.clock.at)))

    assert answer.status == 401
    assert await here.executions() == []


@pytest.mark.parametrize("address", ADDRESSES)
async def test_no_address_but_those_of_sns_is_ever_asked(yard: Yard, address: str) -> None:
    aws = Aws()
    here = await sns_door(yard, aws)
    at = yard.lab.clock.at

    certified = await send(here, signed({**NOTIFICATION, "SigningCertURL": address}, at))

    assert (certified.status, aws.asked) == (401, [])


@pytest.mark.parametrize("address", [*ADDRESSES[:7], ADDRESSES[10], ADDRESSES[11]])
async def test_even_a_signed_message_confirms_nothing_elsewhere(yard: Yard, address: str) -> None:
    aws = Aws()
    here = await sns_door(yard, aws)

    answer = await send(here, signed({**CONFIRMATION, "SubscribeURL": address}, yard.lab.clock.at))

    assert (answer.status, aws.asked) == (401, [CERTIFICATE])


async def test_another_key_another_topic_and_another_time_are_refused(yard: Yard) -> None:
    """Every AWS account can have SNS sign a message of a topic of its own."""
    here, at = await sns_door(yard, Aws()), yard.lab.clock.at
    other = await sns_door(yard, Aws(), TOPIC + "2")
    unset = await sns_door(yard, Aws(), "")

    assert (await send(here, signed(NOTIFICATION, at, key=OTHER))).status == 401
    assert (await send(other, signed(NOTIFICATION, at))).status == 401
    assert (await send(unset, signed({**NOTIFICATION, "TopicArn": ""}, at))).status == 401
    here = await sns_door(yard, Aws())
    assert (await send(here, signed(NOTIFICATION, at - 24 * 3600))).status == 401
    assert (await send(here, signed(NOTIFICATION, at + 600))).status == 401
    assert (await send(here, signed(NOTIFICATION, at - 3600))).status == 202
