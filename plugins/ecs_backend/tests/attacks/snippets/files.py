"""Files of the machine, and descriptors that are not the code's own."""

from __future__ import annotations

from typing import Final

from turnout.sandbox.code_view import OnDisk

from plugins.ecs_backend.tests.attacks.attack import Attack, Control, Group
from plugins.ecs_backend.tests.attacks.loosened import (
    UNCONFINED,
    LooseSource,
    patched,
    with_open_file,
    with_open_socket,
)

_GROUP: Final[Group] = "files and descriptors"
_OUTSIDE: Final = ("chroot", "rlimits", "seccomp", "seal")
_AS_ROOT: Final = ("chroot", "uid", "caps", "rlimits", "seccomp", "seal")


def _attack(
    name: str,
    code: str,
    *,
    got: str = "got a secret of the machine",
    held: str = "refused EPERM",
    stopped_by: str = "seal, chroot",
    off: tuple[str, ...] = _OUTSIDE,
    memory_mb: int = 64,
) -> Attack:
    control = Control(off=off, memory_mb=memory_mb, got=got)
    return Attack(
        name=name, group=_GROUP, stopped_by=stopped_by, code=code, held=held, memory_mb=memory_mb, control=control
    )


ATTACKS: Final = (
    _attack("read a file of the machine", "return fs.readFileSync(input.secret, 'utf8')"),
    _attack(
        "read a file of the machine by a path that climbs",
        "return fs.readFileSync(`/${'../'.repeat(20)}${input.secret}`, 'utf8')",
    ),
    _attack(
        "read a file of the machine by a stream",
        "let text = ''; for await (const piece of fs.createReadStream(input.secret)) text += piece; return text",
    ),
    _attack("read a file of the machine by promises", "return fs.promises.readFile(input.secret, 'utf8')"),
    _attack(
        "read a file of the machine by Node's binding",
        "const fd = process.binding('fs').open(input.secret, 0, 0); const b = Buffer.alloc(100); return b.toString('utf8', 0, fs.readSync(fd, b))",
    ),
    _attack(
        "read a file of the machine in a thread, which nothing of ours covers",
        """
            const { Worker } = require('worker_threads');
            const source = "const { parentPort, workerData } = require('worker_threads'); parentPort.postMessage(require('fs').readFileSync(workerData, 'utf8'))";
            const worker = new Worker(source, { eval: true, workerData: input.secret });
            return new Promise((done, failed) => worker.on('message', done).on('error', failed))""",
        memory_mb=700,
    ),
    _attack("look at a file of the machine", "return fs.statSync(input.secret).size > 0", got="got true"),
    _attack("list the root", "return fs.readdirSync('/').length > 0", got="got true", stopped_by="seal", off=("seal",)),
    _attack(
        "read the memory map of the process",
        "return fs.readFileSync('/proc/self/maps', 'utf8').length > 0",
        got="got true",
    ),
    _attack(
        "read what the supervisor was told by its environment",
        "return fs.readFileSync(`/proc/${input.supervisor}/environ`, 'utf8').includes('PATH=')",
        got="got true",
        stopped_by="seal, chroot, uid",
        off=_AS_ROOT,
    ),
    _attack(
        "read the memory of another tenant's sandbox",
        "fs.closeSync(fs.openSync(`/proc/${input.victim}/mem`, 'r')); return 'opened'",
        got="got opened",
        stopped_by="seal, chroot, uid",
        off=_AS_ROOT,
    ),
    _attack(
        "write a file of the machine",
        "fs.writeFileSync(`${input.drop}/written`, 'x'); return 'written'",
        got="(got written)",
        held="refused EPERM",
        stopped_by="seal, chroot, rlimits",
    ),
    _attack(
        "make a symbolic link",
        "fs.symlinkSync('/', `${input.drop}/link-${process.pid}`); return 'linked'",
        got="got linked",
    ),
    _attack(
        "delete a file of the machine",
        "fs.writeFileSync(`${input.drop}/gone`, ''); fs.unlinkSync(`${input.drop}/gone`); return 'deleted'",
        got="got deleted",
    ),
    _attack(
        "make a folder",
        "fs.mkdirSync(`${input.drop}/folder`); fs.rmdirSync(`${input.drop}/folder`); return 'made'",
        got="got made",
    ),
    _attack(
        "replace the bootstrap for whoever comes next",
        """
            const file = `${input.jail}/bootstrap/main.cjs`;
            const { mode } = fs.statSync(file);
            fs.chmodSync(file, 0o644);
            try { fs.closeSync(fs.openSync(file, 'r+')) } finally { fs.chmodSync(file, mode & 0o777) }
            return 'opened for writing'""",
        got="got opened for writing",
        stopped_by="seal, seccomp, uid, the tree's modes",
        off=_AS_ROOT,
    ),
    Attack(
        name="require a file of the machine",
        group=_GROUP,
        stopped_by="bundle alone, seal, chroot",
        code="return require('module').createRequire('/')(`${input.drop}/../module.cjs`)",
        held="refused MODULE_NOT_FOUND",
        control=Control(launch=patched(UNCONFINED), source=OnDisk, got="got a module of the machine"),
    ),
    Attack(
        name="import a file of the machine",
        group=_GROUP,
        stopped_by="bundle alone, seal, chroot",
        code="return (await import(`file://${input.drop}/../module.cjs`)).default",
        held="refused ERR_MODULE_NOT_FOUND",
        control=Control(launch=patched(UNCONFINED), source=OnDisk, got="got a module of the machine"),
    ),
    _attack(
        "open a data base on the disk",
        "const { DatabaseSync } = require('node:sqlite'); const db = new DatabaseSync(`${input.drop}/db`); db.exec('create table t (a)'); return 'made'",
        got="got made",
        held="refused ERR_SQLITE_ERROR",
    ),
    _attack(
        "give WebAssembly the root by WASI",
        "const { WASI } = require('node:wasi'); new WASI({ version: 'preview1', preopens: { '/': '/' } }); return 'open'",
        got="got open",
        held="refused (UVWASI_EPERM|UVWASI_.*|ERR_WASI.*|EPERM)",
        stopped_by="seal",
        off=("seal", "seccomp"),
    ),
    Attack(
        name="read what lies open in descriptors 0 to 63",
        group=_GROUP,
        stopped_by="launcher (close_range)",
        code="""
            for (let fd = 0; fd < 64; fd++) {
              try {
                if (!fs.fstatSync(fd).isFile()) continue;
                const bytes = Buffer.alloc(100);
                return bytes.toString('utf8', 0, fs.readSync(fd, bytes, 0, 100, null));
              } catch {}
            }
            return 'no file'""",
        held="got no file",
        control=Control(launch=with_open_file, got="got a secret of the machine"),
    ),
    Attack(
        name="find sockets beside its own two in descriptors 0 to 63",
        group=_GROUP,
        stopped_by="launcher (close_range)",
        code="""
            const found = [];
            for (let fd = 0; fd < 64; fd++) try { const s = fs.fstatSync(fd); if (s.isSocket() || s.isDirectory() || s.isBlockDevice()) found.push(fd) } catch {}
            return found.join()""",
        held="got 3,5",
        control=Control(launch=with_open_socket, got="got 3,(5,)?6"),
    ),
    Attack(
        name="close the lifeline",
        group=_GROUP,
        stopped_by="seal",
        code="fs.closeSync(4); return 'closed'",
        held="refused EPERM",
        control=Control(off=("seal",), got="got closed"),
    ),
    Attack(
        name="close the lifeline as a stream of Node's",
        group=_GROUP,
        stopped_by="seal",
        code="""
            const { Pipe, constants } = process.binding('pipe_wrap');
            const pipe = new Pipe(constants.SOCKET);
            kit.check(pipe.open(4));
            pipe.close();
            await new Promise((done) => setTimeout(done, 10));
            try { return fs.fstatSync(4) && 'open still' } catch { return 'closed' }""",
        held="got open still",
        control=Control(off=("seal",), got="got closed"),
    ),
    Attack(
        name="read the next execution's job as the bootstrap reads it",
        group=_GROUP,
        stopped_by="a process for each execution",
        code="""
            const binding = process.binding('fs');
            const { read } = binding;
            globalThis.heard = '';
            binding.read = function (fd, bytes, ...rest) {
              const count = read.call(this, fd, bytes, ...rest);
              if (fd === 3) globalThis.heard += Buffer.from(bytes).toString('latin1');
              return count;
            }""",
        then="return globalThis.heard?.includes('\"module\":\"then.mjs\"') ? 'heard' : 'clean'",
        held="got clean",
        control=Control(same_process=True, got="got heard"),
    ),
    Attack(
        name="ask for a file of the machine as the bootstrap asks for the bundle's",
        group=_GROUP,
        stopped_by="bundle alone",
        code="return kit.fetch('../secret')",
        held="refused ENOENT",
        control=Control(source=LooseSource, got="got a secret of the machine"),
    ),
)
