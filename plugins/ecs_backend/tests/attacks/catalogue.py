"""All attacks, in the order of their groups."""

from __future__ import annotations

from typing import Final

from plugins.ecs_backend.tests.attacks.attack import Attack
from plugins.ecs_backend.tests.attacks.snippets import (
    broker,
    channel,
    files,
    logs,
    memory,
    network,
    npm,
    pool,
    process,
    signals,
    threads,
    timing,
)
from plugins.ecs_backend.tests.attacks.snippets import globals as globals_

__all__ = ["ATTACKS"]

ATTACKS: Final[tuple[Attack, ...]] = (
    *globals_.ATTACKS,
    *process.ATTACKS,
    *memory.ATTACKS,
    *threads.ATTACKS,
    *files.ATTACKS,
    *signals.ATTACKS,
    *network.ATTACKS,
    *channel.ATTACKS,
    *logs.ATTACKS,
    *broker.ATTACKS,
    *pool.ATTACKS,
    *npm.ATTACKS,
    *timing.ATTACKS,
)
