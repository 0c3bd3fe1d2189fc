"""The process itself: its user, its program, its options, its environment."""

from __future__ import annotations

from typing import Final

from plugins.ecs_backend.tests.attacks.attack import Attack, Control, Group
from plugins.ecs_backend.tests.attacks.loosened import PatientConversation, inheriting

_GROUP: Final[Group] = "process"
_OPEN: Final = ("seccomp", "seal")
_ROOT: Final = ("uid", "caps", "seccomp", "seal")
_OUTSIDE: Final = ("chroot", "rlimits", "seccomp", "seal")

ATTACKS: Final = (
    Attack(
        name="become root",
        group=_GROUP,
        stopped_by="seccomp, uid",
        code="process.setuid(0); return process.getuid()",
        held="refused EPERM",
        control=Control(off=_ROOT, got="got 0"),
    ),
    Attack(
        name="become root by the effective user",
        group=_GROUP,
        stopped_by="seccomp, uid",
        code="process.seteuid(0); return process.geteuid()",
        held="refused EPERM",
        control=Control(off=_ROOT, got="got 0"),
    ),
    Attack(
        name="become another group",
        group=_GROUP,
        stopped_by="seccomp, caps",
        code="process.setgid(1); return process.getgid()",
        held="refused EPERM",
        control=Control(off=_ROOT, got="got 1"),
    ),
    Attack(
        name="join root's groups",
        group=_GROUP,
        stopped_by="seccomp, caps",
        code="process.setgroups([0, 42]); return process.getgroups().includes(42)",
        held="refused EPERM",
        control=Control(off=_ROOT, got="got true"),
    ),
    Attack(
        name="read the environment of the supervisor",
        group=_GROUP,
        stopped_by="launcher (an environment of its own)",
        code="return Object.keys(process.env).sort().join()",
        held="got HOME,LANG,PATH,TZ,UV_THREADPOOL_SIZE",
        control=Control(launch=inheriting(), got="got .*PYTEST_CURRENT_TEST.*"),
    ),
    Attack(
        name="become another program",
        group=_GROUP,
        stopped_by="seal",
        code="process.execve(`${input.jail}/node`, ['node', '-p', '\"another program\"'], {})",
        held="failed crashed: the process ended with signal 6 before the code returned\n.*execve failed.*EPERM.*",
        control=Control(
            off=("seal",),
            conversation=PatientConversation,
            got="failed crashed: .* exit status 0 .*\ninfo: another program",
        ),
    ),
    Attack(
        name="load machine code as an addon",
        group=_GROUP,
        stopped_by="seal, chroot",
        code="process.dlopen({ exports: {} }, input.addon); return 'loaded'",
        held="refused ERR_DLOPEN_FAILED",
        control=Control(off=("chroot", *_OPEN), got="got loaded"),
    ),
    Attack(
        name="write a diagnostic report to the disk",
        group=_GROUP,
        stopped_by="seal, chroot, rlimits",
        code="""
            process.report.directory = input.drop;
            process.report.writeReport('report.json');
            return fs.existsSync(`${input.drop}/report.json`)""",
        held="got false\n.*",
        control=Control(off=_OUTSIDE, got="got true\n.*"),
    ),
    Attack(
        name="write a heap snapshot to the disk",
        group=_GROUP,
        stopped_by="seal, chroot, rlimits",
        code="return require('v8').writeHeapSnapshot(`${input.drop}/heap`).slice(-5)",
        held="refused .*(EPERM|ENOENT).*",
        control=Control(off=_OUTSIDE, got="got /heap"),
    ),
    Attack(
        name="open a debugger's port",
        group=_GROUP,
        stopped_by="seccomp",
        code="const inspector = require('inspector'); inspector.open(0, '127.0.0.1'); return inspector.url() ? 'open' : 'closed'",
        held="(got closed|refused ).*",
        control=Control(off=_OPEN, got="got open\n.*Debugger listening.*"),
    ),
    Attack(
        name="open a debugger's port by SIGUSR1",
        group=_GROUP,
        stopped_by="Node's options, seccomp",
        code="""
            process.debugPort = 0;
            process.kill(process.pid, 'SIGUSR1');
            for (let n = 0; n < 20 && !require('inspector').url(); n++) await new Promise((done) => setTimeout(done, 10));
            return require('inspector').url() ? 'open' : 'closed'""",
        held="(got closed|failed crashed: .* signal 10 .*)",
        control=Control(launch=inheriting(without=["--disable-sigusr1"]), got="got open\n.*Debugger listening.*"),
    ),
    Attack(
        name="slow another tenant's sandbox down by its priority",
        group=_GROUP,
        stopped_by="seccomp, uid",
        code="const os = require('os'); os.setPriority(input.victim, 19); return os.getPriority(input.victim)",
        held="got 0",
        control=Control(off=_ROOT, got="got 19"),
    ),
    Attack(
        name="take others along by process.abort",
        group=_GROUP,
        stopped_by="a process for each execution",
        code="process.abort()",
        then="return 'served'",
        held="got served",
        control=Control(same_process=True, got="failed crashed: .*"),
    ),
    Attack(
        name="take others along by an exit with status 0",
        group=_GROUP,
        stopped_by="a process for each execution",
        code="process.reallyExit(0)",
        then="return 'served'",
        held="got served",
        control=Control(same_process=True, got="failed crashed: .*"),
    ),
    Attack(
        name="change the time zone for whoever comes next",
        group=_GROUP,
        stopped_by="a process for each execution",
        code="process.env.TZ = 'Asia/Tokyo'; return new Date(0).getHours()",
        then="return new Date(0).getHours()",
        held="got 0",
        control=Control(same_process=True, got="got 9"),
    ),
)
