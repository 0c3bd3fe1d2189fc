"""A real SMTP server for tests, with a certificate of an authority of its own, that takes mail from who has the password."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from turnout.testing.notifier import Answering, Arrival

__all__ = ["PASSWORD", "MailServer", "certificate", "mail_server"]

PASSWORD = "hunter2-the-mail-password"
_ANSWERS = {
    Answering.REFUSES: "550 5.1.1 no such user here",
    Answering.BUSY: "451 4.7.1 greylisted, come back later",
    Answering.FAILS: "421 4.3.2 shutting down",
}


class MailServer:
    """Keeps every mail with its envelope."""

    secrets: Sequence[str] = (PASSWORD,)
    answers: frozenset[Answering] = frozenset(Answering) - {Answering.GONE}

    def __init__(self) -> None:
        self.how = Answering.TAKES
        self.envelopes: list[Envelope] = []
        self.secure: list[bool] = []
        self.refused: set[str] = set()
        self.port = 0

    @property
    def mails(self) -> list[EmailMessage]:
        return [_mail(envelope) for envelope in self.envelopes]

    async def arrivals(self) -> Sequence[Arrival]:
        return [
            Arrival(
                incident=str(mail["X-Turnout-Incident"]),
                over=mail["X-Turnout-Phase"] == "resolved",
                subject=str(mail["Subject"]),
                text=_body(mail, "plain"),
            )
            for mail in self.mails
        ]

    async def answer(self, how: Answering) -> None:
        self.how = how

    async def handle_RCPT(  # noqa: N802 - the name that aiosmtpd calls
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.how in _ANSWERS or address in self.refused:
            return _ANSWERS.get(self.how, _ANSWERS[Answering.REFUSES])
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - as above
        self.envelopes.append(envelope)
        self.secure.append(session.ssl is not None)
        return "250 OK queued"

    def authenticate(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        right = isinstance(data, LoginPassword) and (data.login, data.password) == (b"turnout", PASSWORD.encode())
        return AuthResult(success=right and self.how is not Answering.UNAUTHORISED, handled=False)


@contextmanager
def mail_server(folder: Path, *, security: str = "starttls", auth: bool = True) -> Iterator[MailServer]:
    """`security` as the channel's: `starttls` takes nothing before STARTTLS, `tls` speaks TLS from the first byte."""
    server = MailServer()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*certificate(folder))
    options: dict[str, Any] = {"auth_required": auth, "authenticator": server.authenticate if auth else None}
    if security == "none":
        options.update(auth_require_tls=False)
    if security == "starttls":
        options.update(tls_context=tls, require_starttls=True)
    if security == "tls":
        options.update(ssl_context=tls, auth_require_tls=False)
    controller = _AnyPort(server, hostname="127.0.0.1", port=0, ready_timeout=30.0, **options)
    controller.start()
    server.port = controller.bound
    try:
        yield server
    finally:
        controller.stop()


class _AnyPort(Controller):
    """On a port that the system gives."""

    bound = 0

    def _create_server(self) -> Any:
        made = super()._create_server()

        async def bound() -> asyncio.AbstractServer:
            server: asyncio.AbstractServer = await made
            self.bound = self.port = server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]  # asyncio's own have them
            return server

        return bound()


def _mail(envelope: Envelope) -> EmailMessage:
    content = envelope.content
    assert isinstance(content, bytes)
    mail = message_from_bytes(content, policy=default)
    assert isinstance(mail, EmailMessage)
    return mail


def _body(mail: EmailMessage, kind: str) -> str:
    part = mail.get_body((kind,))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that is its own authority, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail server of a test")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = folder / "mail.pem", folder / "mail.key"
    files[0].write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files
