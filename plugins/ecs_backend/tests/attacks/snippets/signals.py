"""Signals to processes that are not the sandbox's own."""

from __future__ import annotations

from typing import Final

from plugins.ecs_backend.tests.attacks.attack import Attack, Control, Group
from plugins.ecs_backend.tests.attacks.loosened import polite

_GROUP: Final[Group] = "signals"
_ROOT: Final = Control(off=("uid", "caps", "seccomp", "seal"), got="got true")
_SAME_USER: Final = Control(off=("seccomp", "seal"), same_user=True, got="got true")


def _attack(name: str, code: str, control: Control = _ROOT, stopped_by: str = "seccomp, uid") -> Attack:
    return Attack(name=name, group=_GROUP, stopped_by=stopped_by, code=code, held="refused EPERM", control=control)


ATTACKS: Final = (
    _attack("signal the supervisor", "return process.kill(input.supervisor, 0)"),
    _attack("signal the first process of the machine", "return process.kill(1, 0)"),
    _attack("kill another tenant's sandbox", "return process.kill(input.victim, 'SIGKILL')"),
    _attack("stop another tenant's sandbox", "return process.kill(input.victim, 'SIGSTOP')"),
    _attack("kill another tenant's sandbox by its group", "return process.kill(-input.victim, 'SIGKILL')"),
    _attack("open a debugger in another tenant's sandbox", "return process._debugProcess(input.victim) ?? true"),
    _attack(
        "kill a process of the same user",
        "return process.kill(input.victim, 'SIGKILL')",
        _SAME_USER,
        "seccomp, a user each",
    ),
    _attack("signal all processes of the same user", "return process.kill(-1, 0)", _SAME_USER, "seccomp, a user each"),
    _attack(
        "signal one's group", "return process.kill(0, 0)", Control(off=("seccomp", "seal"), got="got true"), "seccomp"
    ),
    Attack(
        name="outlive the end by ignoring every signal that can be ignored",
        group=_GROUP,
        stopped_by="SIGKILL",
        code="for (const name of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT']) process.on(name, () => {}); for (;;);",
        timeout_s=0.3,
        held="failed timeout: .*",
        control=Control(adjust=polite, timeout_s=0.3, wait_s=0.8, got="still running"),
    ),
)
