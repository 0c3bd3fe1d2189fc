"""The notifier: how a message about an incident leaves for people: by mail, to a chat, to who is on call."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, ClassVar, Final

from pydantic import AfterValidator, BaseModel
from pydantic_core import PydanticCustomError

from turnout.interfaces.opening import NoOptions, Openable

__all__ = ["LONGEST_SUBJECT", "LONGEST_TEXT", "Notification", "Notifier", "Phase", "Reference"]

LONGEST_SUBJECT: Final = 200
LONGEST_TEXT: Final = 8000
"""Characters."""


_REFERENCE: Final = re.compile(r"[a-z][a-z0-9-]*:\S+")


def _reference(given: str) -> str:
    if not _REFERENCE.fullmatch(given) or given.startswith(("http:", "https:", "mailto:")):
        raise PydanticCustomError("reference", 'a reference is expected, "env:NAME" or "secret:NAME", and no value')
    return given


Reference = Annotated[str, AfterValidator(_reference)]
"""An option that names a secret and is none: `env:NAME`, `secret:NAME`."""


class Phase(StrEnum):
    """What a message says of its incident: it began, it goes on, it is over. `test` belongs to none."""

    OPENED = "opened"
    REPEATED = "repeated"
    RESOLVED = "resolved"
    TEST = "test"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """A message, without secrets. `id` is the same each time the message is sent, and no other's; `incident` is the same for all
    messages of one incident, at most 64 letters, digits and dashes. Times are seconds since the epoch.

    `subject` is one line of at most `LONGEST_SUBJECT` characters, `text` lines of at most `LONGEST_TEXT` together; neither has
    control characters, nor such as change the direction of text. Beyond that they are anybody's words: whatever the channel takes
    for markup, a command or a header has to be made harmless. `severity` is info, warning, error or critical. `details` are
    what it is about, by name, as harmless as `subject`.
    """

    id: str
    incident: str
    phase: Phase
    severity: str
    at: float
    opened_at: float
    subject: str
    text: str
    details: Mapping[str, str] = field(default_factory=dict)


class Notifier(Openable, ABC):
    """Sends messages through one channel, at least once each: who receives them tells one that came twice by `id`.

    Each sentence is a promise and a test in `turnout.testing.notifier`. `options` is the model that `[alerts.channels.<name>]`
    is read with, without its `kind`; values of secrets stand there by reference.
    """

    options: ClassVar[type[BaseModel]] = NoOptions

    @abstractmethod
    async def send(self, notification: Notification) -> str:
        """Send it, and return what the other side said, on one line: it has taken the message.

        `Undeliverable` if it refuses this message and would again; `Overloaded` if it asks to be left alone for a while;
        `SettingsError` if it does not take what the channel is set up with (a password, an address); any other
        `BackendError` if it cannot be reached or fails: all of these three are worth another try. No error has a secret in it.
        A call returns within 30 seconds. Several may be under way at once.
        """

    @abstractmethod
    async def close(self) -> None: ...
