"""SMS through Amazon SNS, to a phone or to whoever subscribed to a topic.

https://docs.aws.amazon.com/sns/latest/api/API_Publish.html. SNS keeps a message from being sent twice in FIFO topics alone; to all
else boto3 sends it once, and the outbox again only after an error.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import BaseModel, Field
from turnout.errors import SettingsError, Undeliverable
from turnout.interfaces.log_lines import unicode
from turnout.interfaces.notifier import Notification, Notifier
from turnout.interfaces.opening import Opening
from turnout.interfaces.permission import Permission

from turnout_aws.clients import AwsOptions, CallFailed, connect_client, shaped
from turnout_aws.permissions import allowed
from turnout_aws.sending import send
from turnout_aws.sms_text import MOST_PARTS, sms_text

__all__ = ["SnsNotifier", "SnsOptions"]

_TOPIC: Final = r"arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_-]{1,256}(\.fifo)?"
_SENDER: Final = r"(?=.*[A-Za-z])[A-Za-z0-9-]{1,11}"
_SMS: Final = "AWS.SNS.SMS."
_ORIGIN: Final = "AWS.MM.SMS.OriginationNumber"
_LONGEST_SUBJECT: Final = 99
_SETTINGS: Final = frozenset(
    {
        "EndpointDisabled",
        "KMSAccessDenied",
        "KMSDisabled",
        "KMSInvalidState",
        "KMSNotFound",
        "KMSOptInRequired",
        "NotFound",
        "OptedOut",
        "UserError",
    }
)
_INVALID: Final = frozenset(
    {"InvalidParameter", "InvalidParameterValue", "ParameterValueInvalid", "ValidationException"}
)
_OURS: Final = ("PhoneNumber", "TopicArn", "SenderID", "OriginationNumber", "MaxPrice", "E164", "opted out")
"""What of the parameters comes from the settings."""


class SnsOptions(AwsOptions):
    """A table `[alerts.channels.<name>]` of kind `sns`."""

    phone: Annotated[str, shaped(r"\+[1-9]\d{1,14}", 'a number in E.164 is expected, "+4915112345678"')] | None = Field(
        default=None, description="A phone's number in E.164, `+4915112345678`."
    )
    topic: (
        Annotated[str, shaped(_TOPIC, 'a topic\'s ARN is expected, "arn:aws:sns:eu-central-1:123456789012:alerts"')]
        | None
    ) = Field(default=None, description="In place of `phone`, a topic's ARN: who subscribed gets it, phones as SMS.")
    parts: int = Field(
        default=3,
        ge=1,
        le=MOST_PARTS,
        description="How many parts an SMS has at most, each of which costs; then it is cut.",
    )
    sender_id: (
        Annotated[str, shaped(_SENDER, "1 to 11 letters, digits and dashes are expected, one of them a letter")] | None
    ) = Field(default=None, description="Who it is from, where the country allows it: at most 11 letters and digits.")
    origination_number: Annotated[str, shaped(r"\+?\d{3,15}", "a number or a short code is expected")] | None = Field(
        default=None, description="A number or short code of yours that it is sent from."
    )
    sms_type: Literal["transactional", "promotional"] = Field(
        default="transactional", description="`transactional` arrives most reliably, `promotional` costs least."
    )
    max_price: float | None = Field(
        default=None, gt=0, le=100, strict=False, description="The most that an SMS may cost, in US dollars."
    )


class SnsNotifier(Notifier):
    """The subject, the text and a line with the incident, cut to `parts` in an SMS. A topic's other subscribers get all of it."""

    options: ClassVar[type[BaseModel]] = SnsOptions

    def __init__(self, client: Any, options: SnsOptions, *, setting: str) -> None:
        if (options.phone is None) == (options.topic is None):
            raise SettingsError(f"{setting}: either `phone` or `topic` has to be set", setting=f"{setting}.phone")
        self._client = client
        self._options = options
        self._setting = setting

    @classmethod
    def permissions(cls, opening: Opening) -> Sequence[Permission]:
        options = opening.read(SnsOptions)
        # A phone is no resource of AWS.
        return allowed(options, ("sns:Publish",), ("*" if options.topic is None else options.topic,))

    @classmethod
    async def connect(cls, opening: Opening) -> Self:
        options = opening.read(SnsOptions)
        setting = f"{opening.table}.{opening.name}"
        return cls(await connect_client("sns", options, setting=setting, attempts=1), options, setting=setting)

    def describe(self) -> str:
        way = "SMS" if self._options.topic is None else self._options.topic
        return f"{way} by Amazon SNS ({self._client.meta.region_name})"

    async def send(self, notification: Notification) -> str:
        what = f"{self._setting}: SNS did not take the message"
        id = await send(what, _refused, self._client.publish, **self._message(notification))
        return f"SNS took the message for {self._options.phone or self._options.topic} as {id}"

    async def close(self) -> None:
        self._client.close()

    def _message(self, notification: Notification) -> Mapping[str, Any]:
        head = unicode(f"{notification.subject}\n{notification.text}")
        tail = f"{notification.incident} {notification.phase.value}"
        sms = sms_text(head, tail, self._options.parts)
        if self._options.topic is None:
            return {"PhoneNumber": self._options.phone, "Message": sms, "MessageAttributes": self._attributes()}
        message: dict[str, Any] = {
            "TopicArn": self._options.topic,
            "Message": json.dumps({"default": f"{head}\n\n{tail}", "sms": sms}),
            "MessageStructure": "json",
            "MessageAttributes": {**self._attributes(), **_described(notification)},
        }
        if subject := unicode(notification.subject)[:_LONGEST_SUBJECT].strip():
            message["Subject"] = subject
        if self._options.topic.endswith(".fifo"):
            message |= {"MessageGroupId": notification.incident, "MessageDeduplicationId": notification.id}
        return message

    def _attributes(self) -> Mapping[str, Mapping[str, str]]:
        options = self._options
        given = {f"{_SMS}SMSType": ("String", options.sms_type.capitalize())}
        if options.sender_id is not None:
            given[f"{_SMS}SenderID"] = ("String", options.sender_id)
        if options.max_price is not None:
            given[f"{_SMS}MaxPrice"] = ("Number", f"{options.max_price:.5f}")
        if options.origination_number is not None:
            given[_ORIGIN] = ("String", options.origination_number)
        return {name: {"DataType": kind, "StringValue": value} for name, (kind, value) in given.items()}


def _described(notification: Notification) -> Mapping[str, Mapping[str, str]]:
    """What subscriptions of a topic filter by."""
    given = {
        "incident": notification.incident,
        "message": notification.id,
        "phase": notification.phase.value,
        "severity": notification.severity,
    }
    return {name: {"DataType": "String", "StringValue": value} for name, value in given.items()}


def _refused(error: CallFailed) -> type[SettingsError] | type[Undeliverable] | None:
    """An invalid parameter may be one of the settings, which its text names, or the message."""
    if error.code in _SETTINGS or (error.code in _INVALID and any(word in str(error) for word in _OURS)):
        return SettingsError
    return Undeliverable if error.code in _INVALID else None
