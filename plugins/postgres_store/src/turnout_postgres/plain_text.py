"""Text as PostgreSQL can keep it: any text of ours, one for one.

PostgreSQL's text has no NUL and no half of a surrogate pair; a customer's log line may have either, and a request may ask
for an execution of any name. Both stand there behind U+001A, which itself is doubled; all other text is kept as it is.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["original", "plain"]

_STRANGE: Final = re.compile("[\0\x1a\ud800-\udfff]")
_WRITTEN: Final = re.compile("\x1a(\x1a|0|d[0-9a-f]{3})")


def plain(text: str) -> str:
    """What is stored for `text`; different for different text."""
    return _STRANGE.sub(_write, text) if _STRANGE.search(text) else text


def original(stored: str) -> str:
    """The text that `plain` was given."""
    return _WRITTEN.sub(_read, stored) if "\x1a" in stored else stored


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
