"""The text of an SMS: how many parts it is, and as much of a message as goes into some.

https://docs.aws.amazon.com/sns/latest/dg/sms_publish-to-phone.html: a part has 140 bytes, 160 characters of GSM's alphabet or 70 of
UCS-2; one call takes 1,600 bytes. Networks that join parts need some of the room for that: 153 and 67 are left.
"""

from __future__ import annotations

from typing import Final

__all__ = ["MOST_PARTS", "parts_of", "sms_text"]

MOST_PARTS: Final = 10
_MOST_BYTES: Final = 1600
_CUT: Final = "..."
"""An ellipsis of one character would make the whole text UCS-2."""

# GSM 03.38, the alphabet that phones take by itself, and what costs two of its characters.
_BASIC: Final = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENDED: Final = frozenset("^{}\\[~]|€\f")


def parts_of(text: str) -> int:
    """How many parts a text takes; each is paid for."""
    gsm = all(char in _BASIC or char in _EXTENDED for char in text)
    units = len(text) + sum(char in _EXTENDED for char in text) if gsm else len(text.encode("utf-16-le")) // 2
    single, joined = (160, 153) if gsm else (70, 67)
    return 1 if units <= single else -(-units // joined)


def sms_text(head: str, tail: str, parts: int) -> str:
    """`head` and `tail`, a line, in at most so many parts: of `head` as much as goes in. Neither has a lone surrogate."""
    whole = f"{head}\n{tail}"
    if _fits(whole, parts):
        return whole
    low, high = 0, len(head)
    while low < high:  # what is longer never takes fewer parts
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _fits(f"{head[:middle]}{_CUT}\n{tail}", parts) else (low, middle - 1)
    return f"{head[:low]}{_CUT}\n{tail}"


def _fits(text: str, parts: int) -> bool:
    return parts_of(text) <= parts and len(text.encode()) <= _MOST_BYTES
