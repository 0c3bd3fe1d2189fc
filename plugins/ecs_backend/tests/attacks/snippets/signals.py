"""Signals to processes that are not the sandbox's own."""

from __future__ import annotations

from plugins.ecs_backend.tests.attacks.attack import Attack, Control

_ROOT = ("uid", "caps", "seccomp", "seal")

ATTACKS = (
    Attack(
        name="kill the supervisor",
        group="signals",
        stopped_by="seccomp, uid",
        code="return process.kill(input.supervisor, 0)",
        held="refused EPERM",
        control=Control(off=_ROOT, got="got true"),
    ),
    Attack(
        name="kill another tenant's sandbox",
        group="signals",
        stopped_by="seccomp, uid",
        code="return process.kill(input.victim, 'SIGKILL')",
        held="refused EPERM",
        control=Control(off=_ROOT, got="got true"),
    ),
    Attack(
        name="stop another tenant's sandbox",
        group="signals",
        stopped_by="seccomp, uid",
        code="return process.kill(input.victim, 'SIGSTOP')",
        held="refused EPERM",
        control=Control(off=_ROOT, got="got true"),
    ),
)
