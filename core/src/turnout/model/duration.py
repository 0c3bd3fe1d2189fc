"""Durations as people write them: `250ms`, `5m`, `1h30m`, or a number of seconds."""

from __future__ import annotations

import math
import re
from typing import Final

__all__ = ["parse_duration"]

_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_DURATION: Final = re.compile(r"\s*(?:[0-9]+(?:\.[0-9]+)?\s*(?:ms|[smhdw])\s*)+\Z")
_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|[smhdw])")
_MAX_TEXT: Final = 100


def parse_duration(written: object) -> float:
    """Seconds. Text joins numbers with units `ms`, `s`, `m`, `h`, `d`, `w` (`1h30m`); a bare number, as text too,
    counts seconds. `ValueError` says what is wrong; negative and endless durations are."""
    if isinstance(written, bool) or not isinstance(written, str | int | float):
        raise ValueError(f"a duration is text such as 5m, 1h30m or 250ms, or a number of seconds, not {written!r}")
    seconds = _seconds(written) if isinstance(written, str) else _float(written)
    if not 0 <= seconds < math.inf:
        raise ValueError(f"{written!r} is not a duration: it must be finite and not negative")
    return seconds


def _seconds(text: str) -> float:
    if len(text) <= _MAX_TEXT:
        if _DURATION.match(text):
            return math.fsum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))
        try:
            return float(text) if "_" not in text else math.nan
        except ValueError:
            pass
    raise ValueError(f"{text[:_MAX_TEXT]!r} is not a duration: write 5m, 1h30m, 250ms, or a number of seconds")


def _float(number: float) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf
