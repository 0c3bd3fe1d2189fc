"""When tokens are renewed: before they expire, spread, sooner where they are used, later where it failed."""

from __future__ import annotations

import random
import zlib
from typing import Final

from turnout.services.oauth.tokens import TokenDocument

__all__ = ["backoff_s", "due", "is_valid", "margin_s"]

_AHEAD_S: Final = 300.0
_SPREAD_S: Final = 60.0
_MARGIN_S: Final = 30.0
_IDLE_S: Final = 7 * 86400.0
"""Tokens that nobody used are renewed so often all the same: providers let refresh tokens lapse that lie idle."""
_FIRST_S: Final = 1.0
_LONGEST_S: Final = 300.0


def margin_s(document: TokenDocument) -> float:
    """A token that expires within this time is renewed before it is used."""
    return min(_MARGIN_S, _lifetime_s(document) / 10)


def is_valid(document: TokenDocument, now: float, *, for_s: float = 0.0) -> bool:
    """Whether the provider should accept the access token still at `now` + `for_s`."""
    return bool(document.sealed) and (document.expires_at is None or now + for_s < document.expires_at)


def due(document: TokenDocument, name: str) -> float | None:
    """When the timer should look at it: some minutes before the token expires, not all connections at the same moment; when it
    expires where nothing can renew it."""
    expires = document.expires_at
    if expires is None:
        return None
    if not document.renewable:
        return expires
    lifetime = _lifetime_s(document)
    spread = zlib.crc32(name.encode("utf-8", "surrogatepass")) / 2**32 * min(_SPREAD_S, lifetime / 8)
    early = expires - min(_AHEAD_S, lifetime / 4) - spread
    return early if document.used else max(early, document.obtained_at + _IDLE_S)


def backoff_s(failures: int, asked: float | None) -> float:
    """How long to wait after so many failures in a row: what the provider `asked` for, and never less."""
    waited = min(_LONGEST_S, _FIRST_S * 2.0 ** min(failures, 20)) * random.uniform(0.75, 1.25)  # noqa: S311 - no secret
    return max(waited, asked or 0.0)


def _lifetime_s(document: TokenDocument) -> float:
    return _MARGIN_S * 10 if document.expires_at is None else max(0.0, document.expires_at - document.obtained_at)
