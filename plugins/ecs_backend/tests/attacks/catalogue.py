"""All attacks, in the order of their groups."""

from __future__ import annotations

from typing import Final

from plugins.ecs_backend.tests.attacks.attack import Attack
from plugins.ecs_backend.tests.attacks.snippets import globals as globals_
from plugins.ecs_backend.tests.attacks.snippets import memory, network, process, signals, threads

__all__ = ["ATTACKS"]

ATTACKS: Final[tuple[Attack, ...]] = (
    *globals_.ATTACKS,
    *process.ATTACKS,
    *memory.ATTACKS,
    *threads.ATTACKS,
    *signals.ATTACKS,
    *network.ATTACKS,
)
