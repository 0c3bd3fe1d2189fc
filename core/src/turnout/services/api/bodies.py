"""What bodies of several resources have in common: names, deletions, and values that are wrong only in the light of what is there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Final

import msgspec

from turnout.errors import SettingsError
from turnout.services.api.endpoint import Answer, Call
from turnout.services.api.parts import Parts
from turnout.services.api.problems import ProblemError
from turnout.services.customers import CustomerState

__all__ = ["Delete", "Deleted", "Name", "deleted", "existing", "wrong_values"]

_OPERATORS: Final = ("runner.", "stores.")
"""Settings of `turnout.toml` that keep a version from running here."""

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
def wrong_values(call: Call[Any, Any], *, status: int = 400) -> Iterator[None]:
    """Values of the body that do not hold are 400, as a body that cannot be read is. What the settings of this installation do
    not allow is 409, and for a customer's key no more than that: the reason may name other customers."""
    try:
        yield
    except SettingsError as error:
        if error.setting.startswith(_OPERATORS):
            own = "the settings of this installation do not allow it: ask whoever runs it"
            raise ProblemError(409, str(error) if call.principal.customer is None else own) from None
        where = "body: " if status == 400 else ""
        raise ProblemError(status, f"{where}{error}", faults=error.faults) from None


async def existing(parts: Parts, call: Call[Any, Any], *, growing: bool = False) -> str:
    """The customer that the path names, looked up. 404 where there is none, or it is none of the key's; with `growing`, 409 where
    it is being deleted."""
    name = call.customer()
    found = await parts.customers.documents.get(name)
    if found is None:
        raise ProblemError(404, f"no customer {name!r}")
    if growing and found.value.state is CustomerState.DELETING:
        raise ProblemError(409, f"customer {name!r} is being deleted")
    return name
