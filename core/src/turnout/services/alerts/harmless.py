"""Anybody's words, made harmless: names of customers and texts of errors."""

from __future__ import annotations

import unicodedata
from typing import Final

__all__ = ["LONGEST_WORD", "harmless"]

LONGEST_WORD: Final = 600
_INVISIBLE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode's categories: control characters, those that direct text or join it unseen, halves of pairs, separators of lines."""


def harmless(text: str, most: int = LONGEST_WORD, *, lines: bool = False) -> str:
    """The text without what is not seen or leads elsewhere: one line, or with `lines` its lines; at most `most` characters."""
    text = text[: 20 * most]  # what is looked at is bounded as well: an error may have megabytes
    kept = "\n" if lines else ""
    clean = "".join(one if one in kept or unicodedata.category(one) not in _INVISIBLE else " " for one in text)
    clean = "\n".join(" ".join(line.split()) for line in clean.split("\n")) if lines else " ".join(clean.split())
    return clean if len(clean) <= most else clean[: most - 1] + "…"
