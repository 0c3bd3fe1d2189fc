"""The process itself: its user, its program, its options, its environment."""

from __future__ import annotations

from plugins.ecs_backend.tests.attacks.attack import Attack, Control
from plugins.ecs_backend.tests.attacks.loosened import InheritingLaunch, PatientConversation

_OPEN = ("seccomp", "seal")
_ROOT = ("uid", "caps", "seccomp", "seal")

ATTACKS = (
    Attack(
        name="become root",
        group="process",
        stopped_by="seccomp, uid",
        code="process.setuid(0); return process.getuid()",
        held="refused EPERM",
        control=Control(off=_ROOT, got="got 0"),
    ),
    Attack(
        name="become another group",
        group="process",
        stopped_by="seccomp, caps",
        code="process.setgid(1); return process.getgid()",
        held="refused EPERM",
        control=Control(off=_ROOT, got="got 1"),
    ),
    Attack(
        name="read the environment of the supervisor",
        group="process",
        stopped_by="launcher (an environment of its own)",
        code="return Object.keys(process.env).sort().join()",
        held="got HOME,LANG,PATH,TZ,UV_THREADPOOL_SIZE",
        control=Control(launch=InheritingLaunch, got="got .*PYTEST_CURRENT_TEST.*"),
    ),
    Attack(
        name="become another program",
        group="process",
        stopped_by="seal",
        code="process.execve(`${input.jail}/node`, ['node', '-p', '\"another program\"'], {})",
        held="failed crashed: the process ended with signal 6 before the code returned.*",
        control=Control(
            off=("seal",),
            conversation=PatientConversation,
            got="failed crashed: .* exit status 0 .*\ninfo: another program",
        ),
    ),
    Attack(
        name="load machine code of the machine's as an addon",
        group="process",
        stopped_by="seal, chroot",
        code="process.dlopen({ exports: {} }, input.addon); return 'loaded'",
        held="refused ERR_DLOPEN_FAILED",
        control=Control(off=("chroot", *_OPEN), got="got loaded"),
    ),
    Attack(
        name="read a file of the machine by a path",
        group="files and descriptors",
        stopped_by="seal, chroot",
        code="return fs.readFileSync(input.secret, 'utf8')",
        held="refused EPERM",
        control=Control(off=("chroot", *_OPEN), got="got a secret of the machine"),
    ),
)
