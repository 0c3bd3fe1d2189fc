"""All attacks, in the order of their groups."""

from __future__ import annotations

from typing import Final

from plugins.ecs_backend.tests.attacks.attack import Attack
from plugins.ecs_backend.tests.attacks.snippets import network, process, signals

__all__ = ["ATTACKS"]

ATTACKS: Final[tuple[Attack, ...]] = (*process.ATTACKS, *signals.ATTACKS, *network.ATTACKS)
