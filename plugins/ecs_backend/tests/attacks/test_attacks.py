"""Every attack is stopped by what it names, harms nobody else, and gets what it wants where that is off."""

from __future__ import annotations

import re
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from plugins.ecs_backend.tests.attacks.arena import Arena
from plugins.ecs_backend.tests.attacks.attack import Attack
from plugins.ecs_backend.tests.attacks.catalogue import ATTACKS

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def arena(jail: Path) -> AsyncIterator[Arena]:
    """One for all: whatever one attack leaves behind, the next ones and the victim meet. Any user gets to its files: that
    they do not is the jail's doing."""
    with tempfile.TemporaryDirectory(prefix="turnout-attacks-") as name:
        async with Arena(Path(name), jail) as made:
            yield made


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: f"{attack.group}: {attack.name}")
async def test_attack(arena: Arena, attack: Attack) -> None:
    held = await arena.attacked(attack)
    await arena.unharmed()
    got = await arena.uncontrolled(attack)

    assert re.fullmatch(attack.held, held, re.DOTALL), f"held: {held}"
    assert re.fullmatch(attack.control.got, got, re.DOTALL), f"without {attack.stopped_by}: {got}"
