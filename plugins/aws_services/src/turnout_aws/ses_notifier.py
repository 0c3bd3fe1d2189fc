"""E-mail through Amazon SES, its API v2.

Errors: https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html and
https://docs.aws.amazon.com/ses/latest/dg/troubleshoot-error-messages.html. SES knows no key that would keep a mail from being sent
twice: boto3 sends it once, and the outbox again only after an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from email.header import Header
from typing import Annotated, Any, ClassVar, Final, Self

from pydantic import BaseModel, Field, StringConstraints
from turnout.errors import SettingsError, Undeliverable
from turnout.interfaces.log_lines import unicode
from turnout.interfaces.mail import MailAddress, html_of
from turnout.interfaces.notifier import Notification, Notifier, Phase
from turnout.interfaces.opening import Opening
from turnout.interfaces.permission import Permission

from turnout_aws.clients import AwsOptions, CallFailed, connect_client
from turnout_aws.permissions import allowed, arn
from turnout_aws.sending import send

__all__ = ["SesNotifier", "SesOptions"]

_SETTINGS: Final = frozenset(
    {
        "AccountSuspendedException",
        "MailFromDomainNotVerifiedException",
        "NotFoundException",
        "SendingPausedException",
    }
)
_MESSAGE: Final = frozenset({"BadRequestException", "MessageRejected"})
_UNVERIFIED: Final = "not verified"

_TagText = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,256}$")]


class SesOptions(AwsOptions):
    """A table `[alerts.channels.<name>]` of kind `ses`."""

    sender: MailAddress = Field(alias="from", description="An address that SES has verified, or of a verified domain.")
    to: list[MailAddress] = Field(min_length=1, max_length=50, description="Who gets it, 50 at most.")
    reply_to: list[MailAddress] = Field(default=[], max_length=50, description="Who gets an answer to it.")
    configuration_set: str | None = Field(
        default=None, pattern=r"^[A-Za-z0-9_-]{1,64}$", description="The configuration set to send with."
    )
    tags: dict[_TagText, _TagText] = Field(
        default={}, max_length=40, description="Tags of the mail, for events of sending: letters, digits, `_`, `-`."
    )


class SesNotifier(Notifier):
    """A mail in two parts, plain text and HTML, to all recipients at once. Mails of one incident are one conversation."""

    options: ClassVar[type[BaseModel]] = SesOptions

    def __init__(self, client: Any, options: SesOptions, *, setting: str) -> None:
        self._client = client
        self._options = options
        self._setting = setting

    @classmethod
    def permissions(cls, opening: Opening) -> Sequence[Permission]:
        options = opening.read(SesOptions)
        # The address is verified by itself or by its domain.
        resources = [f"identity/{options.sender}", f"identity/{options.sender.rpartition('@')[2]}"]
        if options.configuration_set is not None:
            resources.append(f"configuration-set/{options.configuration_set}")
        return allowed(options, ("ses:SendEmail",), [arn("ses", one, options) for one in resources])

    @classmethod
    async def connect(cls, opening: Opening) -> Self:
        options = opening.read(SesOptions)
        setting = f"{opening.table}.{opening.name}"
        return cls(await connect_client("sesv2", options, setting=setting, attempts=1), options, setting=setting)

    def describe(self) -> str:
        return f"mail by Amazon SES ({self._client.meta.region_name})"

    async def send(self, notification: Notification) -> str:
        what = f"{self._setting}: SES did not take the mail"
        id = await send(what, _refused, self._client.send_email, **self._mail(notification))
        return f"SES took the mail for {', '.join(self._options.to)} as {id}"

    async def close(self) -> None:
        self._client.close()

    def _mail(self, notification: Notification) -> Mapping[str, Any]:
        options = self._options
        domain = options.sender.rpartition("@")[2]
        headers = {
            "Auto-Submitted": "auto-generated",
            "X-Turnout-Incident": notification.incident,
            "X-Turnout-Message": notification.id,
            "X-Turnout-Phase": notification.phase.value,
        }
        if notification.phase is not Phase.TEST:
            headers["References"] = f"<{notification.incident}@{domain}>"
        if notification.severity == "critical":
            headers["Importance"] = "high"
        mail: dict[str, Any] = {
            "FromEmailAddress": f"Turnout <{options.sender}>",
            "Destination": {"ToAddresses": options.to},
            "Content": {
                "Simple": {
                    "Subject": _text(_subject(notification.subject)),
                    "Body": {"Text": _text(f"{notification.text}\n"), "Html": _text(html_of(notification))},
                    "Headers": [{"Name": name, "Value": value} for name, value in headers.items()],
                }
            },
        }
        if options.reply_to:
            mail["ReplyToAddresses"] = options.reply_to
        if options.configuration_set is not None:
            mail["ConfigurationSetName"] = options.configuration_set
        if options.tags:
            mail["EmailTags"] = [{"Name": name, "Value": value} for name, value in options.tags.items()]
        return mail


def _refused(error: CallFailed) -> type[SettingsError] | type[Undeliverable] | None:
    """What SES calls rejected may be the mail, or an address that it has not verified."""
    if error.code in _SETTINGS or (error.code == "MessageRejected" and _UNVERIFIED in str(error)):
        return SettingsError
    return Undeliverable if error.code in _MESSAGE else None


def _text(text: str) -> Mapping[str, str]:
    return {"Data": unicode(text), "Charset": "UTF-8"}


def _subject(subject: str) -> str:
    """As it stands. What looks encoded already (RFC 2047) is encoded as a whole: it would be read as what it says."""
    return Header(subject, "utf-8").encode(maxlinelen=0) if "=?" in subject else subject
