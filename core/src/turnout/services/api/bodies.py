"""What bodies of several resources have in common: names, deletions, and values that are wrong only in the light of what is there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import msgspec

from turnout.errors import SettingsError
from turnout.services.api.endpoint import Answer
from turnout.services.api.problems import ProblemError

__all__ = ["Delete", "Deleted", "Name", "deleted", "wrong_values"]

Name = Annotated[
    str,
    msgspec.Meta(
        # The end is the end: `$` alone lets a line break follow.
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9_-]{0,99}$(?!\n)",
        max_length=100,
        description="Its address for ever: letters, digits, - and _.",
    ),
]


class Delete(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to delete."""

    force: Annotated[bool, msgspec.Meta(description="Cancel what runs, and wait for no `on_delete`.")] = False


class Deleted(msgspec.Struct, frozen=True, kw_only=True):
    """`waiting_for` says what has to end before it is gone, which the services see to; null once it is."""

    deleted: bool
    waiting_for: str | None


def deleted(waiting: str) -> Answer:
    """200 once it is gone, 202 while something is waited for."""
    body = Deleted(deleted=not waiting, waiting_for=waiting or None)
    return Answer(body=body, status=202 if waiting else 200)


@contextmanager
def wrong_values() -> Iterator[None]:
    """Values of the body that do not hold are 400, as a body that cannot be read is."""
    try:
        yield
    except SettingsError as error:
        raise ProblemError(400, f"body: {error}") from None
