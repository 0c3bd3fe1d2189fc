"""A container that takes away what the jail needs is told at the start: without KILL, code that never ends would run for ever."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

PR_CAPBSET_DROP = 24
STARTING = """
import asyncio, sys
from turnout_ecs.jail.bubblewrap import BubblewrapSandbox
from turnout_ecs.jail.sandbox import ChrootSandbox
try:
    asyncio.run({"bubblewrap": BubblewrapSandbox, "chroot": ChrootSandbox}[sys.argv[1]]().start())
except Exception as error:
    print(error)
"""


def drop(capability: int) -> None:
    if ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0):
        raise OSError("the capability cannot be dropped")


@pytest.mark.parametrize(
    ("sandbox", "name", "number"),
    [
        ("chroot", "SYS_CHROOT", 18),
        ("chroot", "SETUID", 7),
        ("chroot", "SETGID", 6),
        ("chroot", "KILL", 5),
        ("bubblewrap", "KILL", 5),
    ],
)
def test_a_sandbox_names_the_capability_that_is_missing(
    needs_root: None, tmp_path: Path, sandbox: str, name: str, number: int
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STARTING, sandbox],
        preexec_fn=partial(drop, number),
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
        check=False,
    )

    assert f"the {sandbox} sandbox needs the capability {name}," in done.stdout, done.stderr
    assert f"`--cap-add {name}`" in done.stdout
