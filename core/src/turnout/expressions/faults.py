"""How faults of expressions are told: the expression's text, a caret under the place, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from turnout.errors import ExpressionError

__all__ = ["Refusal", "fault", "nearest"]

_WIDTH = 72


class Refusal(Exception):
    """A fault found where the expression's text is not known; `fault` makes the error of it. `at` counts characters."""

    def __init__(self, reason: str, *, hint: str = "", at: int | None = None) -> None:
        self.reason, self.hint, self.at = reason, hint, at
        super().__init__(reason)


def fault(refusal: Refusal, *, expression: str, start: int = 0) -> ExpressionError:
    """The error for people. `start` is where the expression begins in the text it stands in."""
    lines = [f"{refusal.reason}, in the expression"] if expression else [refusal.reason]
    lines += _picture(expression, refusal.at) if expression else []
    if refusal.hint:
        lines.append(refusal.hint)
    return ExpressionError(
        "\n".join(lines),
        expression=expression,
        reason=refusal.reason,
        hint=refusal.hint,
        offset=None if refusal.at is None else start + refusal.at,
    )


def nearest(name: str, known: Iterable[str]) -> str:
    """`did you mean 'x'?` for the closest of the known names, otherwise the first few of them, or nothing."""
    names = sorted(known)
    close = get_close_matches(name[:100], names[:5000], n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"there are: {', '.join(names[:10])}{', …' if len(names) > 10 else ''}" if names else ""


def _picture(expression: str, at: int | None) -> list[str]:
    """The line of the expression that `at` is in, cut to fit, with a caret below."""
    if at is None:
        flat = " ".join(expression.split())
        return [f"  {flat if len(flat) <= _WIDTH else flat[: _WIDTH - 1] + '…'}"]
    at = min(at, len(expression))
    start = expression.rfind("\n", 0, at) + 1
    end = expression.find("\n", at)
    line = expression[start : end if end >= 0 else len(expression)].expandtabs(1)
    column = at - start
    left = max(0, column - _WIDTH // 2)
    shown = ("…" if left else "") + line[left : left + _WIDTH]
    return [f"  {shown}", "  " + " " * (column - left + bool(left)) + "^"]
