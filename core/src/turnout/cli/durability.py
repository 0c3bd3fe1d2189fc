"""What the project's queue and journal survive, said at the start of every command that runs executions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from turnout.cli.wording import one_line
from turnout.model.durability import Durability

if TYPE_CHECKING:
    from turnout.local.platform import Platform

__all__ = ["durability_lines"]

_SURVIVES = {
    Durability.MEMORY: "survives nothing",
    Durability.PROCESS: "survives the death of every process",
    Durability.HOST: "survives loss of power",
}


def durability_lines(platform: Platform) -> list[str]:
    """A line each for the queue and the journal: the backend's name, its durability class, and what it says of itself."""
    names, stores = platform.settings.stores, platform.stores
    lines = []
    for what, name, store in (("queue", names.queue, stores.queue), ("journal", names.journal, stores.journal)):
        line = f"{what}: {name}, {store.durability.value}: {_SURVIVES[store.durability]}"
        lines.append(one_line(f"{line}; {said}" if (said := store.describe()) else line))
    return lines
