"""Mail, whichever way it leaves: addresses as settings have them, and a notification as HTML."""

from __future__ import annotations

import html
import re
from typing import Annotated, Final

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from turnout.interfaces.notifier import Notification

__all__ = ["MailAddress", "html_of"]

_ADDRESS: Final = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,250}[A-Za-z0-9])?")


def _mail_address(given: str) -> str:
    if (
        not _ADDRESS.fullmatch(given)
        or ".." in given
        or given.split("@", maxsplit=1)[0].strip(".") != given.split("@", maxsplit=1)[0]
    ):
        raise PydanticCustomError("mail_address", 'an e-mail address is expected, "ops@example.com"')
    return given


MailAddress = Annotated[str, AfterValidator(_mail_address)]
"""`ops@example.com`, without a name and without comments."""


def html_of(notification: Notification) -> str:
    """A page of the notification's words, none of which is markup."""
    lines = "<br>\n".join(html.escape(line) for line in notification.text.split("\n"))
    about = f"{notification.severity}, {notification.phase.value}, {notification.incident}"
    return (
        '<!doctype html>\n<html><head><meta charset="utf-8"></head>\n<body>\n'
        f"<h3>{html.escape(notification.subject)}</h3>\n<p>{lines}</p>\n"
        f"<p><small>{html.escape(about)}</small></p>\n"
        "</body></html>\n"
    )
