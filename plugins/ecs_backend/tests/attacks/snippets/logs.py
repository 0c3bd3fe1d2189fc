"""The log: floods of it, and lines that are not what they look like."""

from __future__ import annotations

from typing import Final

from plugins.ecs_backend.tests.attacks.attack import Attack, Control, Group
from plugins.ecs_backend.tests.attacks.loosened import CredulousConversation, text_log

_GROUP: Final[Group] = "log channel"
_CUT: Final = r"got done\n.*warning: the log ends here: it is longer than 10000 bytes"
_BY_NONCE: Final = "const nonce = kit.stealNonce(); const line = (level, text) => kit.send(kit.frame(kit.TYPES.LOG, nonce, level, text));"


def _flood(name: str, code: str, got: str) -> Attack:
    control = Control(log_bytes=1 << 30, got=rf"got done\n.*{got}")
    return Attack(
        name=name, group=_GROUP, stopped_by="log limit", code=f"{code}; return 'done'", held=_CUT, control=control
    )


def _trick(name: str, code: str, held: str, got: str) -> Attack:
    control = Control(adjust=text_log, got=got)
    return Attack(name=name, group=_GROUP, stopped_by="lines as records", code=code, held=held, control=control)


def _left(name: str, code: str, got: str, memory_mb: int = 64) -> Attack:
    return Attack(
        name=name,
        group=_GROUP,
        stopped_by="a process for each execution",
        code=code,
        then="await new Promise((done) => setTimeout(done, 60)); return 'served'",
        held="got served",
        memory_mb=memory_mb,
        control=Control(same_process=True, memory_mb=memory_mb, got=rf"got served\n.*{got}.*"),
    )


ATTACKS: Final = (
    _flood("log without end", "for (let n = 1; n <= 3000; n++) console.log('x'.repeat(50) + n)", "info: x+3000"),
    _flood(
        "log empty lines without end",
        "for (let n = 1; n <= 3000; n++) console.log(''); console.log('the last')",
        "info: the last",
    ),
    _flood(
        "print without end to standard output",
        "for (let n = 1; n <= 300; n++) fs.writeSync(1, 'x'.repeat(500) + n + '\\n')",
        "info: x+300",
    ),
    _flood(
        "print empty lines without end to standard error",
        "for (let n = 1; n <= 30; n++) fs.writeSync(1, '\\n'.repeat(100)); fs.writeSync(1, 'the last\\n')",
        "info: the last",
    ),
    _flood(
        "print one line without end",
        "for (let n = 1; n <= 30; n++) fs.writeSync(1, 'x'.repeat(10000)); fs.writeSync(1, 'the last\\n')",
        "info: x+the last",
    ),
    _flood(
        "send lines by frames without end, whatever the bootstrap's own limit",
        f"{_BY_NONCE} for (let n = 1; n <= 1000; n++) line('info', 'x'.repeat(50) + n)",
        "info: x+1000",
    ),
    _trick(
        "make one line look like two",
        "console.log('harmless\\nerror: the supervisor was broken into')",
        "got null\ninfo: harmless⏎error: the supervisor was broken into",
        "got null\ninfo: harmless\nerror: the supervisor was broken into",
    ),
    _trick(
        "make up a level",
        f"{_BY_NONCE} line('root', 'trust me')",
        "got null\ninfo: trust me",
        "got null\nroot: trust me",
    ),
    _trick(
        "write a line that is no UTF-8",
        f"{_BY_NONCE} line('info', Buffer.from([0x61, 0xff, 0xfe, 0x62]))",
        "got null\ninfo: a\ufffd\ufffdb",
        "the supervisor failed: UnicodeDecodeError",
    ),
    Attack(
        name="forge a line of another job's log",
        group=_GROUP,
        stopped_by="nonce",
        code="kit.send(kit.frame(kit.TYPES.LOG, Buffer.alloc(8, 7), 'error', 'forged')); return 'done'",
        held="failed crashed: the code interfered with its sandbox's channel: .*",
        control=Control(conversation=CredulousConversation, got="got done\nerror: forged"),
    ),
    _left(
        "log into the next execution by a timer",
        "setInterval(() => console.log('from the one before'), 5); return 'done'",
        "info: from the one before",
    ),
    _left(
        "print into the next execution from a thread",
        """
            const { Worker } = require('worker_threads');
            const worker = new Worker("require('worker_threads').parentPort.postMessage(0); setInterval(() => require('fs').writeSync(1, 'from the one before\\\\n'), 5)", { eval: true });
            await new Promise((done) => worker.once('message', done));
            return 'done'""",
        "info: from the one before",
        memory_mb=700,
    ),
)
