"""Pages of lists: a cursor says where the next one begins. What it is made of is nobody's business, so that it can change."""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Annotated, Any, Final

import msgspec

from turnout.interfaces.catalog import LONGEST_NAME
from turnout.services.api.problems import ProblemError

__all__ = ["Cursor", "Limit", "Paged", "cursor_of", "page", "position", "wrong_cursor"]

MOST: Final = 500

Limit = Annotated[int, msgspec.Meta(ge=1, le=MOST, description="At most so many.")]
Cursor = Annotated[
    str, msgspec.Meta(max_length=1000, description="`next` of the page before; the first page without it.")
]


class Paged(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The query of a list without filters."""

    limit: Limit = 50
    cursor: Cursor = ""


def cursor_of(position: str) -> str:
    return urlsafe_b64encode(position.encode()).decode().rstrip("=")


def position(cursor: str) -> str:
    """Where a page begins; 400 for what is no cursor."""
    try:
        found = urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4)).decode()
    except (binascii.Error, UnicodeError, ValueError):
        raise wrong_cursor() from None
    if bool(found) != bool(cursor) or "\0" in found or len(found) > LONGEST_NAME:
        raise wrong_cursor()
    return found


def wrong_cursor() -> ProblemError:
    return ProblemError(400, "`cursor` is not one that an answer's `next` has given: begin without it")


def page(items: list[Any], limit: int, last: str) -> dict[str, Any]:
    """An answer's body. `last` is the position of the last item; a page that is not full is the last one."""
    return {"items": items, "next": cursor_of(last) if items and len(items) >= limit else None}
