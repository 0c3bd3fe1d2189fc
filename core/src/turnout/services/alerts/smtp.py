"""E-mail through an SMTP server, over TLS wherever a password or a message leaves this machine."""

from __future__ import annotations

import asyncio
import ipaddress
import smtplib
import ssl
from contextlib import suppress
from datetime import UTC, datetime
from email.header import Header
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import EmailPolicy
from email.utils import format_datetime
from typing import ClassVar, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from turnout.errors import BackendError, SettingsError, Undeliverable
from turnout.interfaces.mail import MailAddress, html_of
from turnout.interfaces.notifier import Notification, Notifier, Phase, Reference
from turnout.interfaces.opening import Opening

__all__ = ["SmtpNotifier", "mail_of"]

_TIMEOUT_S: Final = 10.0


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    host: str = Field(min_length=1)
    port: int = Field(default=587, ge=1, le=65535)
    security: Literal["starttls", "tls", "none"] = "starttls"
    username: str = ""
    password: Reference | None = None
    sender: MailAddress = Field(alias="from")
    to: list[MailAddress] = Field(min_length=1, max_length=100)
    ca_file: str = ""


class SmtpNotifier(Notifier):
    """A mail in two parts, plain text and HTML, to all recipients at once. Mails of one incident are one conversation."""

    options: ClassVar[type[BaseModel]] = _Options

    def __init__(self, options: _Options, password: str) -> None:
        if options.security == "none" and not _is_loopback(options.host):
            raise SettingsError("`security`: none is for servers of this machine; set it to starttls or tls")
        if bool(options.username) != bool(password):
            raise SettingsError("`username` and `password` are set together, or neither")
        self._options = options
        self._password = password
        self._tls = ssl.create_default_context(cafile=options.ca_file or None) if options.security != "none" else None

    @classmethod
    async def connect(cls, opening: Opening) -> Self:
        options = opening.read(_Options)
        password = "" if options.password is None else (await opening.secret(options.password)).reveal()
        try:
            return cls(options, password)
        except OSError as error:
            raise SettingsError(f"`ca_file` cannot be read: {error.strerror or type(error).__name__}") from None

    def describe(self) -> str:
        return f"mail by {self._options.host}:{self._options.port} ({self._options.security})"

    async def send(self, notification: Notification) -> str:
        options = self._options
        return await asyncio.to_thread(self._deliver, mail_of(notification, options.sender, options.to))

    async def close(self) -> None:
        """Nothing is held open between two mails."""

    def _deliver(self, mail: EmailMessage) -> str:
        try:
            with self._session() as session:
                if self._options.username:
                    session.login(self._options.username, self._password)
                return self._handed_over(session, mail)
        except smtplib.SMTPAuthenticationError as error:
            raise SettingsError(f"the mail server does not take the password: {_told(error)}") from None
        except smtplib.SMTPSenderRefused as error:
            raise _refusal("the sender", error.smtp_code, _told(error)) from None
        except smtplib.SMTPNotSupportedError:
            raise SettingsError("the mail server offers no STARTTLS or no login: see `security`, `username`") from None
        except smtplib.SMTPResponseException as error:
            raise _refusal("the mail", error.smtp_code, _told(error)) from None
        except ssl.SSLCertVerificationError as error:
            raise SettingsError(f"the mail server's certificate does not hold: {error.verify_message}") from None
        except (smtplib.SMTPException, OSError) as error:
            raise BackendError(f"the mail server cannot be reached: {type(error).__name__}") from None

    def _session(self) -> smtplib.SMTP:
        options = self._options
        if options.security == "tls":
            return smtplib.SMTP_SSL(options.host, options.port, timeout=_TIMEOUT_S, context=self._tls)
        session = smtplib.SMTP(options.host, options.port, timeout=_TIMEOUT_S)
        try:
            if options.security == "starttls":
                session.starttls(context=self._tls)
        except BaseException:
            session.close()
            raise
        return session

    def _handed_over(self, session: smtplib.SMTP, mail: EmailMessage) -> str:
        options = self._options
        try:
            left_out = session.send_message(mail, options.sender, options.to)
        except smtplib.SMTPRecipientsRefused as error:
            codes = [code for code, _ in error.recipients.values()]
            told = "; ".join(f"{to}: {code}" for to, (code, _) in error.recipients.items())
            raise _refusal("every recipient", max(codes) if min(codes) >= 500 else min(codes), told) from None
        if left_out:
            # The others have it: sending it again would be sending it twice.
            told = ", ".join(f"{to} ({code})" for to, (code, _) in left_out.items())
            return f"the mail server took the mail, but not for {told}"
        return f"the mail server took the mail for {', '.join(options.to)}"


def mail_of(notification: Notification, sender: str, to: list[str]) -> EmailMessage:
    """The mail, whole. A header is one line whatever it is made of: `EmailMessage` refuses others, and encodes what is not ASCII."""
    domain = sender.rpartition("@")[2]
    mail = EmailMessage(policy=_Literal(linesep="\r\n"))
    mail["From"] = Address(display_name="Turnout", addr_spec=sender)
    mail["To"] = [Address(addr_spec=one) for one in to]
    mail["Subject"] = _one_line(notification.subject)
    mail["Date"] = format_datetime(datetime.fromtimestamp(notification.at, UTC))
    mail["Message-ID"] = f"<{notification.id}@{domain}>"
    if notification.phase is not Phase.TEST:
        mail["References"] = f"<{notification.incident}@{domain}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-Turnout-Incident"] = notification.incident
    mail["X-Turnout-Phase"] = notification.phase.value
    if notification.severity == "critical":
        mail["Importance"] = "high"
    mail.set_content(f"{notification.text}\n", cte="quoted-printable")
    mail.add_alternative(html_of(notification), subtype="html", cte="quoted-printable")
    return mail


def _one_line(subject: str) -> str:
    """A subject as it stands. What looks encoded already (RFC 2047) is encoded as a whole: it would be read as what it says."""
    if "\r" in subject or "\n" in subject:
        raise ValueError("a header is one line")
    return Header(subject, "utf-8").encode(maxlinelen=0) if "=?" in subject else subject


class _Literal(EmailPolicy):
    """Writes such a subject encoded again: the library would leave what it can read as it is."""

    def fold_binary(self, name: str, value: str) -> bytes:
        if name.lower() == "subject" and "=?" in value:
            return f"{name}: {Header(str(value), 'utf-8', header_name=name).encode(linesep=chr(13) + chr(10))}\r\n".encode()
        return super().fold_binary(name, value)


def _refusal(what: str, code: int, told: str) -> Exception:
    """4yz is worth another try, 5yz is not (RFC 5321, 4.2.1)."""
    text = f"the mail server refuses {what}: {told}"
    return Undeliverable(text) if code >= 500 else BackendError(text)


def _told(error: smtplib.SMTPResponseException) -> str:
    words = (
        error.smtp_error.decode("utf-8", "replace") if isinstance(error.smtp_error, bytes) else str(error.smtp_error)
    )
    return f"{error.smtp_code} {' '.join(words.split())[:200]}"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False
