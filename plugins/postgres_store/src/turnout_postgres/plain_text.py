"""Text as PostgreSQL can keep it: any text of ours, one for one.

PostgreSQL's text has no NUL and no half of a surrogate pair; a customer's log line may have either, and a request may ask
for an execution of any name. Both stand there behind U+001A, which itself is doubled; all other text is kept as it is.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

__all__ = ["is_shortened", "name_of", "original", "plain"]

_STRANGE: Final = re.compile("[\0\x1a\ud800-\udfff]")
_WRITTEN: Final = re.compile("\x1a(\x1a|0|d[0-9a-f]{3})")

_LONGEST: Final = 200
"""Characters of a name that are kept: with four bytes each, three such names still fit into a row of an index."""


def plain(text: str) -> str:
    """What is stored for `text`; different for different text."""
    return _STRANGE.sub(_write, text) if _STRANGE.search(text) else text


def original(stored: str) -> str:
    """The text that `plain` was given."""
    return _WRITTEN.sub(_read, stored) if "\x1a" in stored else stored


def name_of(text: str) -> str:
    """What stands for a name in an index, which refuses what is too long: the text, or its beginning with its hash."""
    stored = plain(text)
    if len(stored) <= _LONGEST:
        return stored
    return f"{stored[:_LONGEST]}\x1ah{hashlib.sha256(stored.encode()).hexdigest()}"


def is_shortened(name: str) -> bool:
    """Whether `name_of` kept a beginning only, of which `original` knows no more."""
    return len(name) > _LONGEST


def _write(found: re.Match[str]) -> str:
    match found[0]:
        case "\0":
            return "\x1a0"
        case "\x1a":
            return "\x1a\x1a"
        case half:
            return f"\x1a{ord(half):x}"


def _read(found: re.Match[str]) -> str:
    match found[1]:
        case "0":
            return "\0"
        case "\x1a":
            return "\x1a"
        case half:
            return chr(int(half, 16))
