"""Names of what people set up: they stand in addresses, commands and logs."""

from __future__ import annotations

import re
from typing import Final

from turnout.errors import UserError

__all__ = ["check_name"]

_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,99}")


def check_name(what: str, name: str) -> None:
    """`UserError` if it is no name for `what`."""
    if not _NAME.fullmatch(name):
        raise UserError(
            f"{name[:120]!r} is no name for a {what}: letters, digits, - and _, at most 100 of them, not beginning with -"
        )
