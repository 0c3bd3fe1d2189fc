"""Other processes, more threads, and processors that are kept busy."""

from __future__ import annotations

from typing import Final

from plugins.ecs_backend.tests.attacks.attack import Attack, Control, Group

_GROUP: Final[Group] = "processes and threads"
_OPEN: Final = ("seccomp", "seal")
_NODE: Final = "`${input.jail}/node`, ['-p', '\"a process\"']"


def _attack(
    name: str, code: str, *, held: str = "refused (EPERM|EAGAIN|ENOSYS)", off: tuple[str, ...] = _OPEN
) -> Attack:
    control = Control(off=off, got="got a process")
    return Attack(name=name, group=_GROUP, stopped_by="seccomp", code=code, held=held, control=control)


ATTACKS: Final = (
    _attack(
        "child_process.spawn",
        f"""
            const child = require('child_process').spawn({_NODE});
            return new Promise((done, failed) => {{
              child.on('error', failed);
              child.stdout.on('data', (data) => done(`${{data}}`.trim()));
            }})""",
    ),
    _attack(
        "child_process.spawnSync",
        f"""
            const {{ error, stdout }} = require('child_process').spawnSync({_NODE});
            if (error) throw error;
            return `${{stdout}}`.trim()""",
    ),
    _attack(
        "child_process.execFile",
        f"return (await util.promisify(require('child_process').execFile)({_NODE})).stdout.trim()",
    ),
    _attack(
        "child_process.exec, by a shell",
        """
            const options = { shell: `${input.jail}/node` };
            const run = (code) => util.promisify(require('child_process').execFile)(`${input.jail}/node`, ['-p', code]);
            const { exec } = require('child_process');
            return new Promise((done, failed) => exec('"unused"', options, (error) => {
              if (error && typeof error.code === 'string') failed(error);
              else run('"a process"').then(({ stdout }) => done(stdout.trim()), failed);
            }))""",
    ),
    _attack(
        "child_process.fork",
        """
            const child = require('child_process').fork('-', [], { execPath: `${input.jail}/node`, execArgv: ['-e', 'process.send("a process")'] });
            return new Promise((done, failed) => child.on('message', done).on('error', failed))""",
    ),
    _attack(
        "cluster.fork",
        """
            const cluster = require('cluster');
            cluster.setupPrimary({ exec: '-', args: [], execArgv: ['-e', 'process.send("a process")'] });
            process.execPath = `${input.jail}/node`;
            const worker = cluster.fork();
            return new Promise((done, failed) => worker.on('message', done).on('error', failed))""",
    ),
    Attack(
        name="start threads without end",
        group=_GROUP,
        stopped_by="rlimits",
        code="""
            const { Worker } = require('worker_threads');
            const start = () => new Promise((done, failed) => {
              const worker = new Worker('setTimeout(() => {}, 1e6)', { eval: true, resourceLimits: { maxOldGenerationSizeMb: 8 } });
              worker.on('online', done).on('error', failed);
            });
            for (let count = 1; count <= 28; count++) await start();
            return '28 threads'""",
        memory_mb=16_000,
        held="refused ERR_WORKER_INIT_FAILED",
        control=Control(off=("rlimits",), memory_mb=16_000, got="got 28 threads"),
    ),
    Attack(
        name="leave a busy thread behind",
        group=_GROUP,
        stopped_by="a process for each execution",
        code="""
            const { Worker } = require('worker_threads');
            globalThis.shared = new Int32Array(new SharedArrayBuffer(4));
            new Worker("const { workerData } = require('worker_threads'); for (;;) Atomics.add(workerData, 0, 1)", { eval: true, workerData: globalThis.shared });
            while (!Atomics.load(globalThis.shared, 0)) await new Promise((done) => setTimeout(done, 1));
            return 'left'""",
        then="return globalThis.shared ? 'still running' : 'gone'",
        memory_mb=700,
        held="got gone",
        control=Control(same_process=True, memory_mb=700, got="got still running"),
    ),
    Attack(
        name="keep a processor busy in threads while the code waits",
        group=_GROUP,
        stopped_by="time-out",
        code="""
            const { Worker } = require('worker_threads');
            for (let n = 0; n < 2; n++) new Worker('for (;;);', { eval: true });
            await new Promise(() => {})""",
        memory_mb=1400,
        timeout_s=0.4,
        held="failed timeout: .*",
        control=Control(memory_mb=1400, wait_s=0.8, got="still running"),
    ),
    Attack(
        name="starve the event loop by promises",
        group=_GROUP,
        stopped_by="time-out",
        code="for (;;) await null",
        timeout_s=0.3,
        held="failed timeout: .*",
        control=Control(wait_s=0.6, got="still running"),
    ),
    Attack(
        name="starve the event loop by process.nextTick",
        group=_GROUP,
        stopped_by="time-out",
        code="const again = () => process.nextTick(again); again(); await new Promise(() => {})",
        timeout_s=0.3,
        held="failed timeout: .*",
        control=Control(wait_s=0.6, got="still running"),
    ),
)
