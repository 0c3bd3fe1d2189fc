"""The nearest right name, for hints."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from itertools import islice

__all__ = ["hint_for"]

_LISTED = 8
_COMPARED = 500


def hint_for(name: str, known: Iterable[str], *, there_are: str = "there are") -> str:
    """`did you mean 'steps'?`, or the few names there are, or nothing."""
    names = list(islice(dict.fromkeys(known), _COMPARED))
    folded = {other.casefold(): other for other in reversed(names)}
    close = get_close_matches(name[:100].casefold(), folded, n=1, cutoff=0.6)
    if close:
        return f"did you mean {folded[close[0]]!r}?"
    if not names:
        return ""
    listed = ", ".join(names[:_LISTED])
    return f"{there_are} {listed}" + (", …" if len(names) > _LISTED else "")
