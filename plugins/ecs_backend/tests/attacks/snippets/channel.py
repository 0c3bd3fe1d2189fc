"""The channel to the supervisor: frames that the bootstrap would not send.

Code can find its own job's nonce, as `kit.stealNonce` does, and so speak for its own job; what it says then is checked.
"""

from __future__ import annotations

from typing import Final

from plugins.ecs_backend.tests.attacks.attack import Attack, Control, Group
from plugins.ecs_backend.tests.attacks.loosened import (
    CredulousConversation,
    LooseSource,
    UncheckedConversation,
    lenient_parser,
)

_GROUP: Final[Group] = "result channel"
_BROKEN: Final = "failed crashed: the code interfered with its sandbox's channel: .*"
_WRONG: Final = "const nonce = Buffer.alloc(8, 7);"
_RIGHT: Final = "const nonce = kit.stealNonce();"


def _forged(name: str, code: str, got: str, held: str = _BROKEN, stopped_by: str = "nonce") -> Attack:
    control = Control(conversation=CredulousConversation, got=got)
    return Attack(name=name, group=_GROUP, stopped_by=stopped_by, code=code, held=held, control=control)


def _unchecked(name: str, code: str, got: str, held: str = _BROKEN, timeout_s: float = 10.0) -> Attack:
    control = Control(conversation=UncheckedConversation, got=got)
    return Attack(
        name=name,
        group=_GROUP,
        stopped_by="checks of frames",
        code=code,
        held=held,
        control=control,
        timeout_s=timeout_s,
    )


def _length(name: str, code: str, got: str, held: str = _BROKEN) -> Attack:
    control = Control(adjust=lenient_parser, wait_s=0.4, got=got)
    return Attack(name=name, group=_GROUP, stopped_by="limits of the parser", code=code, held=held, control=control)


def _making(name: str, chunks: int, times: int, stopped_by: str, control: Control) -> Attack:
    code = f"""{_RIGHT}
        const piece = kit.frame(kit.TYPES.CHUNK, nonce, '', Buffer.alloc(500_000));
        for (let made = 0; made < {times}; made++) {{
          kit.send(kit.frame(kit.TYPES.STORE, nonce, '{{"name":"","type":""}}'));
          for (let sent = 0; sent < {chunks}; sent++) kit.send(piece);
          kit.ask(kit.TYPES.STORED, '');
        }}
        return 'all made'"""
    held = f"failed result_too_large: .*{stopped_by}.*"
    return Attack(name=name, group=_GROUP, stopped_by=f"`{stopped_by}`", code=code, held=held, control=control)


def _asked(name: str, place: str, got: str, held: str = "refused ENOENT") -> Attack:
    code = f"return kit.fetch({place})"
    control = Control(source=LooseSource, got=got)
    return Attack(name=name, group=_GROUP, stopped_by="bundle alone", code=code, held=held, control=control)


ATTACKS: Final = (
    _forged(
        "forge a result without the nonce",
        f"{_WRONG} kit.send(kit.result('forged', nonce)); return 'real'",
        "got forged",
    ),
    _forged(
        "forge a result with the nonce of what belongs to no job",
        "kit.send(kit.result('forged', Buffer.alloc(8))); return 'real'",
        "got forged",
    ),
    _forged(
        "forge a failure without the nonce",
        f"""{_WRONG}
            kit.send(kit.frame(kit.TYPES.ERROR, nonce, JSON.stringify({{ kind: 'timeout', message: 'forged', last: false, network: false }})));
            return 'real'""",
        "failed timeout: forged",
    ),
    _forged(
        "guess nonces, a million bytes of results",
        """
            const all = [];
            for (let n = 0; n < 12000; n++) { const nonce = Buffer.alloc(8); nonce.writeUInt32BE(n); all.push(kit.result('forged', nonce)) }
            kit.send(Buffer.concat(all));
            return 'real'""",
        "got forged",
    ),
    _forged(
        "say that it is ready, in the middle of a job",
        f"{_RIGHT} kit.send(kit.frame(kit.TYPES.READY, nonce, '')); return 'real'",
        "got real",
        stopped_by="checks of frames",
    ),
    _forged(
        "say that it is renewed, in the middle of a job",
        f"{_RIGHT} kit.send(kit.frame(kit.TYPES.RENEWED, nonce, 'clean')); return 'real'",
        "got real",
        stopped_by="checks of frames",
    ),
    Attack(
        name="leave a second result for the next execution",
        group=_GROUP,
        stopped_by="a process for each execution, nonce",
        code=f"{_RIGHT} kit.send(kit.result('mine', nonce)); kit.send(kit.result('yours too', nonce)); return 'real'",
        then="return 'the real one'",
        held="got the real one",
        control=Control(same_process=True, conversation=CredulousConversation, got="got yours too"),
    ),
    Attack(
        name="send a result when the job is over",
        group=_GROUP,
        stopped_by="a process for each execution, nonce",
        code=f"""{_RIGHT}
            const {{ Worker }} = require('worker_threads');
            const bytes = kit.result('from the one before', nonce);
            const source = "const {{ workerData, parentPort }} = require('worker_threads'); parentPort.postMessage(0); const fs = require('fs'); for (;;) {{ Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20); fs.writeSync(3, workerData) }}";
            const worker = new Worker(source, {{ eval: true, workerData: bytes }});
            await new Promise((done) => worker.once('message', done));
            return 'first'""",
        then="await new Promise((done) => setTimeout(done, 100)); return 'the real one'",
        memory_mb=700,
        held="got the real one",
        control=Control(
            same_process=True, memory_mb=700, conversation=CredulousConversation, got="got from the one before"
        ),
    ),
    _length(
        "announce a body of four gigabytes",
        f"{_WRONG} kit.send(kit.frame(kit.TYPES.LOG, nonce, 'info', '', 0xffffffff)); return 'real'",
        "still running",
    ),
    _length(
        "announce a meta of four gigabytes",
        f"{_WRONG} const head = kit.frame(kit.TYPES.LOG, nonce, ''); head.writeUInt32BE(0xffffffff, 9); kit.send(head); return 'real'",
        "still running",
    ),
    _length(
        "send a frame of a type that there is not",
        f"{_WRONG} kit.send(kit.frame(99, nonce, 'x')); return 'real'",
        "got real",
    ),
    _length(
        "send a frame that only the supervisor sends",
        f"{_WRONG} kit.send(kit.frame(kit.TYPES.JOB, nonce, '{{}}')); return 'real'",
        "got real",
    ),
    Attack(
        name="send half a frame and swallow what the bootstrap sends",
        group=_GROUP,
        stopped_by="time-out",
        code=f"{_RIGHT} kit.send(kit.frame(kit.TYPES.LOG, nonce, 'info', '', 900000)); return 'real'",
        timeout_s=0.2,
        held="failed timeout: .*",
        control=Control(wait_s=0.4, got="still running"),
    ),
    Attack(
        name="ask without end and never read an answer",
        group=_GROUP,
        stopped_by="time-out, backpressure",
        code=f"{_RIGHT} const asked = kit.frame(kit.TYPES.READ, nonce, JSON.stringify({{ file: 0, stream: 1 }})); for (;;) kit.send(asked)",
        timeout_s=0.3,
        held="failed timeout: .*",
        control=Control(wait_s=0.6, got="still running"),
    ),
    _unchecked(
        "read a file that is not in the input",
        "return kit.ask(kit.TYPES.READ, JSON.stringify({ file: 7, stream: 1 })).slice(0, 21)",
        "got another tenant's file",
    ),
    _unchecked(
        "read a file by a negative number",
        "return kit.ask(kit.TYPES.READ, JSON.stringify({ file: -1, stream: 1 })).slice(0, 21)",
        "got another tenant's file",
    ),
    _unchecked(
        "have an input file open two hundred times",
        "for (let stream = 1; stream <= 200; stream++) kit.ask(kit.TYPES.READ, JSON.stringify({ file: 0, stream })); return 'all open'",
        "got all open",
        held="refused EMFILE: .*",
    ),
    _making("make two hundred files", 0, 200, "limits.files", Control(files=1000, got="got all made")),
    _making(
        "make a file of ten megabytes", 20, 1, "limits.files_size", Control(files_bytes=1 << 30, got="got all made")
    ),
    _making(
        "make ten files of a megabyte", 2, 10, "limits.files_size", Control(files_bytes=1 << 30, got="got all made")
    ),
    _unchecked(
        "return a file that was never stored",
        f"""{_RIGHT}
            kit.send(kit.frame(kit.TYPES.RESULT, nonce, '{{"cpu_ms":1,"network":false,"files":[["/got",{{"stored":7}}]]}}', '{{"got":null}}'));
            return 'real'""",
        "got null",
    ),
    _unchecked(
        "return what is no JSON",
        f'{_RIGHT} kit.send(kit.frame(kit.TYPES.RESULT, nonce, \'{{"cpu_ms":1,"network":false,"files":[]}}\', \'{{"got":\')); return \'real\'',
        "the supervisor failed: JSONDecodeError",
        held="failed .*",
    ),
    _unchecked(
        "return JSON that is nested without end",
        f"{_RIGHT} kit.send(kit.frame(kit.TYPES.RESULT, nonce, '{{\"cpu_ms\":1,\"network\":false,\"files\":[]}}', '['.repeat(200000) + ']'.repeat(200000))); return 'real'",
        "the supervisor failed: RecursionError",
        held="failed .*",
    ),
    _unchecked(
        "return a number with a hundred thousand digits",
        f"{_RIGHT} kit.send(kit.frame(kit.TYPES.RESULT, nonce, '{{\"cpu_ms\":1,\"network\":false,\"files\":[]}}', '9'.repeat(100000))); return 'real'",
        "the supervisor failed: ValueError",
        held="failed not_json: .*",
    ),
    _unchecked(
        "throw an error from a line with a number of five thousand digits",
        """
            const stack = `Error: no\\n    at /bundle/attack.mjs:${'9'.repeat(5000)}:1`;
            setTimeout(() => { throw Object.assign(new Error('no'), { stack }) });
            await new Promise((done) => setTimeout(done, 1000))""",
        "the supervisor failed: ValueError",
        held="failed Error: no",
    ),
    _unchecked(
        "describe an error by megabytes of stack",
        f"""{_RIGHT}
            const stack = '    at ' + 'a (:1'.repeat(350000);
            kit.send(kit.frame(kit.TYPES.ERROR, nonce, JSON.stringify({{ kind: '', message: '', last: false, network: false, error: {{ stack }} }})));
            return 'real'""",
        "the supervisor failed: ValueError",
        held="failed Error: ",
        timeout_s=5.0,
    ),
    _unchecked(
        "return bytes that are no UTF-8",
        f"{_RIGHT} kit.send(kit.frame(kit.TYPES.RESULT, nonce, '{{\"cpu_ms\":1,\"network\":false,\"files\":[]}}', Buffer.from('22ff22', 'hex'))); return 'real'",
        "the supervisor failed: UnicodeDecodeError",
        held="failed .*",
    ),
    _unchecked(
        "describe an error that is nested without end",
        f"""{_RIGHT}
            const cause = '{{"name":"","message":"","stack":"","cause":';
            const error = cause.repeat(40000) + 'null' + '}}'.repeat(40000);
            kit.send(kit.frame(kit.TYPES.ERROR, nonce, `{{"kind":"","message":"","last":false,"network":false,"error":${{error}}}}`));
            return 'real'""",
        "the supervisor failed: RecursionError",
    ),
    _unchecked(
        "ask with what is nested without end",
        f"{_RIGHT} kit.send(kit.frame(kit.TYPES.READ, nonce, '{{\"more\":' + '['.repeat(200000) + ']'.repeat(200000) + '}}')); return 'real'",
        "the supervisor failed: RecursionError",
    ),
    _asked("ask for a file above the bundle", "'../secret'", "got a secret of the machine"),
    _asked("ask for a file by an absolute path", "input.secret", "got a secret of the machine"),
    _asked("ask for another tenant's bundle", "'../victim/victim.mjs'", "got .*calls.*"),
    _asked(
        "ask for a path with a NUL",
        "'attack.mjs\\0../secret'.split('\\0').reverse().join('\\0').replace('../secret\\0attack.mjs', '../secret')",
        "got a secret of the machine",
    ),
    _asked("ask for a place a megabyte long", "'./'.repeat(500000) + '../secret'", "got a secret of the machine"),
)
