"""Links by which a customer connects: signed, so that nobody makes one up, and over after a time or once they were used."""

from __future__ import annotations

import binascii
import hashlib
import hmac
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final
from urllib.parse import unquote, urlsplit

import msgspec

from turnout.errors import SettingsError
from turnout.interfaces.clock import Clock

__all__ = ["LINK_S", "Link", "Links", "is_returnable"]

LINK_S: Final = 7 * 86400.0
_SIGNATURE_BYTES: Final = 32


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """What a link is for. `id` is no other link's."""

    tenant: str
    connection: str
    expires_at: float
    id: str
    return_to: str = ""


class Links:
    """Makes and reads them. `return_urls` are the pages that a customer may be sent back to."""

    def __init__(self, key: bytes, clock: Clock, return_urls: tuple[str, ...] = ()) -> None:
        self._key = key
        self._clock = clock
        self._return_urls = return_urls

    def make(self, tenant: str, connection: str, *, return_to: str = "", valid_s: float = LINK_S) -> str:
        """The part of the address that says it all. `SettingsError` if `return_to` is not allowed."""
        if return_to and not is_returnable(return_to, self._return_urls):
            raise SettingsError(
                f"customers may not be sent to {return_to!r}: allow it in `[oauth] return_urls`",
                setting="oauth.return_urls",
            )
        link = Link(
            tenant=tenant,
            connection=connection,
            expires_at=self._clock.now() + valid_s,
            id=secrets.token_hex(16),
            return_to=return_to,
        )
        body = msgspec.json.encode(link)
        return urlsafe_b64encode(self._signature(body) + body).rstrip(b"=").decode()

    def read(self, text: str) -> Link | None:
        """The link, whether it is over or not; None if it is none of ours."""
        try:
            signed = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        except (binascii.Error, ValueError):
            return None
        signature, body = signed[:_SIGNATURE_BYTES], signed[_SIGNATURE_BYTES:]
        if not hmac.compare_digest(signature, self._signature(body)):
            return None
        link = msgspec.json.decode(body, type=Link)
        # What was allowed once may not be any more.
        return link if is_returnable(link.return_to, self._return_urls) else msgspec.structs.replace(link, return_to="")

    def is_over(self, link: Link) -> bool:
        return link.expires_at <= self._clock.now()

    def _signature(self, body: bytes) -> bytes:
        return hmac.digest(self._key, b"connect\0" + body, hashlib.sha256)


def is_returnable(url: str, allowed: tuple[str, ...]) -> bool:
    """Whether a URL is one of the allowed ones or below it: the same scheme, host and port, and a path that begins with it."""
    try:
        parts, port = urlsplit(url), urlsplit(url).port
    except ValueError:
        return False
    if (
        not url.isprintable()
        or set(url) & set('\\ "<>')
        or "@" in parts.netloc
        or ".." in unquote(parts.path).split("/")
    ):
        return False
    for one in map(urlsplit, allowed):
        same = (parts.scheme, parts.hostname, port) == (one.scheme, one.hostname, one.port)
        if same and f"{parts.path}/".startswith(f"{one.path.rstrip('/')}/"):
            return True
    return False
