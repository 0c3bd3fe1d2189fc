"""Mail to a real SMTP server: over TLS, with a password, to whom it is meant for and to nobody else."""

from __future__ import annotations

import smtplib
from collections.abc import Iterator
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from typing import Any

import pytest
from turnout.errors import BackendError, SettingsError, Undeliverable
from turnout.interfaces.notifier import Phase
from turnout.interfaces.opening import Opening
from turnout.interfaces.secrets import Secret
from turnout.services.alerts.smtp import SmtpNotifier
from turnout.testing.notifier import NotifierContract, notification

from core.tests.services.alerts.mail_server import PASSWORD, MailServer, certificate, mail_server

IN_THE_CLEAR = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
"""The server of the test warns of itself: it knows nothing of the TLS around it, or is there to be refused."""


async def connect(folder: Path, server: MailServer, *, known: str = PASSWORD, **changed: Any) -> SmtpNotifier:
    async def secret(written: str) -> Secret:
        return Secret(known)

    options = {
        "host": "127.0.0.1",
        "port": server.port,
        "username": "turnout",
        "password": "env:SMTP_PASSWORD",
        "from": "alerts@shop.example",
        "to": ["ops@shop.example", "ada@shop.example"],
        "ca_file": str(folder / "mail.pem"),
        **changed,
    }
    given = {name: value for name, value in options.items() if value is not None}
    return await SmtpNotifier.connect(
        Opening(directory=folder, name="mail", table="alerts.channels", options=given, secret=secret)
    )


@pytest.fixture
def other(tmp_path: Path) -> Iterator[MailServer]:
    with mail_server(tmp_path) as server:
        yield server


@pytest.fixture
async def notifier(tmp_path: Path, other: MailServer) -> SmtpNotifier:
    return await connect(tmp_path, other)


class TestSmtp(NotifierContract):
    @pytest.fixture
    def other(self, tmp_path: Path) -> Iterator[MailServer]:
        with mail_server(tmp_path) as server:
            yield server

    @pytest.fixture
    async def notifier(self, tmp_path: Path, other: MailServer) -> SmtpNotifier:
        return await connect(tmp_path, other)


@IN_THE_CLEAR
@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_a_mail_goes_over_tls_to_every_recipient_in_text_and_html(tmp_path: Path, security: str) -> None:
    with mail_server(tmp_path, security=security) as server:
        mailer = await connect(tmp_path, server, security=security)

        said = await mailer.send(notification(text="<b>1</b> & 2"))

        [mail] = server.mails
        assert said == "the mail server took the mail for ops@shop.example, ada@shop.example"
        assert server.secure == [security == "starttls"]  # all of the connection is, with tls: nothing else is answered
        assert server.envelopes[0].rcpt_tos == ["ops@shop.example", "ada@shop.example"]
        assert server.envelopes[0].mail_from == "alerts@shop.example"
        html = mail.get_body(("html",))
        assert html is not None
        assert "&lt;b&gt;1&lt;/b&gt; &amp; 2" in html.get_content()


async def test_mails_of_one_incident_are_one_conversation_and_each_has_an_id_that_stays(
    notifier: SmtpNotifier, other: MailServer
) -> None:
    await notifier.send(notification())
    await notifier.send(notification())
    await notifier.send(notification(Phase.RESOLVED, number=2))

    mails = other.mails
    assert [mail["Message-ID"] for mail in mails] == [
        "<4f1d-1@shop.example>",
        "<4f1d-1@shop.example>",
        "<4f1d-2@shop.example>",
    ]
    assert {mail["References"] for mail in mails} == {"<4f1d@shop.example>"}
    assert {mail["Auto-Submitted"] for mail in mails} == {"auto-generated"}


async def test_a_header_cannot_be_made_two(notifier: SmtpNotifier, other: MailServer) -> None:
    for line_break in ("\r\n", "\n", "\r"):
        with pytest.raises(ValueError, match="a header is one line"):
            await notifier.send(notification(subject=f"Hello{line_break}Bcc: mallory@example.com"))

    assert other.envelopes == []


def test_control_headers_made_by_hand_would_be_two(other: MailServer, tmp_path: Path) -> None:
    """Without what keeps the attack out, it works: the mail is the attacker's to shape."""
    raw = "Subject: Hello\r\nBcc: mallory@example.com\r\n\r\n"
    made = EmailMessage(policy=SMTP)
    made.set_content("x")
    with smtplib.SMTP("127.0.0.1", other.port) as session:
        import ssl

        session.starttls(context=ssl.create_default_context(cafile=str(tmp_path / "mail.pem")))
        session.login("turnout", PASSWORD)
        session.sendmail("a@shop.example", ["ops@shop.example"], raw.encode() + made.as_bytes())

    assert other.mails[0]["Bcc"] == "mallory@example.com"


async def test_a_wrong_password_is_told_without_it(tmp_path: Path, other: MailServer) -> None:
    mailer = await connect(tmp_path, other, known="wrong-but-secret")

    with pytest.raises(SettingsError, match="does not take the password: 535") as caught:
        await mailer.send(notification())

    assert "wrong-but-secret" not in str(caught.value)


async def test_a_server_with_an_unknown_certificate_gets_neither_password_nor_mail(
    tmp_path: Path, other: MailServer
) -> None:
    (tmp_path / "elsewhere").mkdir()
    stranger, _ = certificate(tmp_path / "elsewhere")
    mailer = await connect(tmp_path, other, ca_file=str(stranger))

    with pytest.raises(SettingsError, match="certificate does not hold"):
        await mailer.send(notification())

    assert other.envelopes == []


@IN_THE_CLEAR
async def test_a_server_without_starttls_gets_neither_password_nor_mail(tmp_path: Path) -> None:
    with mail_server(tmp_path, security="none") as server:
        mailer = await connect(tmp_path, server)

        with pytest.raises(SettingsError, match="no STARTTLS"):
            await mailer.send(notification())

        assert server.envelopes == []


async def test_a_recipient_who_is_refused_does_not_keep_it_from_the_others(
    notifier: SmtpNotifier, other: MailServer
) -> None:
    other.refused = {"ada@shop.example"}

    said = await notifier.send(notification())

    assert said == "the mail server took the mail, but not for ada@shop.example (550)"
    assert other.envelopes[0].rcpt_tos == ["ops@shop.example"]


async def test_recipients_who_are_all_refused_for_good_are_not_tried_again(
    notifier: SmtpNotifier, other: MailServer
) -> None:
    other.refused = {"ada@shop.example", "ops@shop.example"}

    with pytest.raises(Undeliverable, match=r"every recipient: ops@shop\.example: 550; ada@shop\.example: 550"):
        await notifier.send(notification())


async def test_a_server_that_is_not_there_is_told_as_one(tmp_path: Path) -> None:
    with mail_server(tmp_path) as server:
        mailer = await connect(tmp_path, server)

    with pytest.raises(BackendError, match="cannot be reached: ConnectionRefusedError"):
        await mailer.send(notification())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"host": "mail.example", "security": "none"}, "none is for servers of this machine"),
        ({"username": None}, "`username` and `password` are set together"),
        ({"password": "hunter2"}, "alerts.channels.mail.password: a reference is expected"),
        ({"from": "Ops <ops@shop.example>"}, "alerts.channels.mail.from: an e-mail address is expected"),
        ({"to": ["a@b.example\r\nBcc: c@d.example"]}, "alerts.channels.mail.to.0: an e-mail address is expected"),
        ({"to": []}, "alerts.channels.mail.to: list should have at least 1 item"),
        ({"hots": "x"}, "alerts.channels.mail.hots: unknown setting: did you mean 'host'"),
        ({"ca_file": "/nowhere.pem"}, "`ca_file` cannot be read"),
    ],
)
async def test_options_that_are_wrong_are_named(
    tmp_path: Path, other: MailServer, changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(SettingsError, match=message.replace("(", r"\(")) as caught:
        await connect(tmp_path, other, **changed)

    assert "hunter2" not in str(caught.value)
