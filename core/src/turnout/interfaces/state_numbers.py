"""Adding to a stored number exactly, the same in every state store: JSON's decimal digits, never a binary fraction."""

from __future__ import annotations

import re
from decimal import Context, Decimal, DecimalException, DivisionByZero, Inexact, InvalidOperation, Overflow
from typing import Final

from turnout.errors import StepError
from turnout.model.payload import Encoded

__all__ = ["add"]

_DIGITS: Final = 400
"""Digits that a sum may have: beyond any float, and short enough that a huge exponent is no attack on memory."""

_CONTEXT: Final = Context(
    prec=_DIGITS, Emax=_DIGITS, Emin=-_DIGITS, traps=[DivisionByZero, Inexact, InvalidOperation, Overflow]
)
_NUMBER: Final = re.compile(rb"\s*(-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)\s*")


def add(key: str, value: Encoded | None, by: Decimal) -> tuple[Decimal, Encoded]:
    """The sum of the stored value (0 if there is none) and `by`, and how it is stored. `StepError` if the value is not
    a number, or if the sum cannot be kept exactly."""
    number = _NUMBER.fullmatch(value.json) if value is not None and not value.files and value.stored is None else None
    if value is not None and number is None:
        raise StepError(f"state {key!r} is not a number: it cannot be incremented", kind="type", retryable=False)
    if not by.is_finite():
        raise StepError(f"state {key!r} cannot be incremented by {by}", kind="type", retryable=False)
    try:
        total = _CONTEXT.add(Decimal(number[1].decode()) if number else Decimal(0), by)
    except DecimalException as error:
        raise StepError(
            f"state {key!r}: the sum has more than {_DIGITS} digits and cannot be kept exactly",
            kind="type",
            retryable=False,
        ) from error
    return total, Encoded(json=format(total, "f").encode())
