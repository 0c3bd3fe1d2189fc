"""More memory than an execution may have, of each kind that there is."""

from __future__ import annotations

from typing import Final

from plugins.ecs_backend.tests.attacks.attack import Attack, Control, Group
from plugins.ecs_backend.tests.attacks.loosened import inheriting

_GROUP: Final[Group] = "memory"
_KEPT: Final = "(refused ERR_MEMORY_ALLOCATION_FAILED|refused .*(allocation|allocate|memory).*|failed memory: .*)"
_MOST_MB: Final = 1024


def _attack(name: str, stopped_by: str, code: str, *, got: str = "got 320", held: str = _KEPT) -> Attack:
    """Takes some 320 MB where 64 are given, with 192 for what is not the heap."""
    control = Control(off=("rlimits",), memory_mb=_MOST_MB, got=got)
    return Attack(name=name, group=_GROUP, stopped_by=stopped_by, code=code, held=held, control=control)


ATTACKS: Final = (
    _attack(
        "fill the heap with arrays",
        "heap limit",
        "const all = []; while (all.length < 40) all.push(new Array(1024 * 1024).fill(all.length + 0.5)); return all.length * 8",
    ),
    _attack(
        "fill the heap with objects that hold each other",
        "heap limit",
        "let last = null; for (let n = 0; n < 5e6; n++) last = { last, n, a: 1, b: 2, c: 3 }; return last.n > 1 ? 320 : 0",
    ),
    _attack(
        "hold buffers",
        "rlimits, memory watch",
        "const all = []; while (all.length < 8) all.push(Buffer.alloc(40 << 20, 1)); return all.length * 40",
    ),
    _attack(
        "hold one buffer that is larger than all that is allowed",
        "rlimits",
        "return Buffer.alloc(320 << 20, 1).length / 1024 / 1024",
        held="refused ERR_MEMORY_ALLOCATION_FAILED",
    ),
    _attack(
        "hold shared array buffers",
        "rlimits, memory watch",
        "const all = []; while (all.length < 8) all.push(new Uint8Array(new SharedArrayBuffer(40 << 20)).fill(1)); return all.length * 40",
    ),
    _attack(
        "grow a resizable buffer",
        "rlimits, memory watch",
        """
            const buffer = new ArrayBuffer(0, { maxByteLength: 320 << 20 });
            for (let mb = 40; mb <= 320; mb += 40) { buffer.resize(mb << 20); new Uint8Array(buffer).fill(1) }
            return buffer.byteLength / 1024 / 1024""",
    ),
    _attack(
        "grow the memory of WebAssembly",
        "rlimits, memory watch",
        """
            const memory = new WebAssembly.Memory({ initial: 0, maximum: 5120 });
            for (let mb = 40; mb <= 320; mb += 40) { memory.grow(640); new Uint8Array(memory.buffer).fill(1) }
            return memory.buffer.byteLength / 1024 / 1024""",
    ),
    _attack(
        "hold text outside of the heap",
        "rlimits, memory watch",
        "const bytes = Buffer.alloc(40 << 20, 97), all = []; while (all.length < 7) all.push(bytes.latin1Slice()); return 40 + all.length * 40",
    ),
    _attack(
        "preallocate an array of holes",
        "heap limit",
        "const all = []; while (all.length < 4) { const a = new Array(11e6); a[0] = 1; all.push(a) } return all.length * 80",
    ),
    _attack(
        "have threads with heaps of their own",
        "rlimits, memory watch",
        """
            const { Worker } = require('worker_threads');
            const source = "const all = []; while (all.length < 20) all.push(new Array(1024 * 1024).fill(all.length + 0.5)); require('worker_threads').parentPort.postMessage(all.length * 8); setTimeout(() => all, 1e6)";
            const resourceLimits = { maxOldGenerationSizeMb: 4096 };
            const one = () => new Promise((done, failed) => new Worker(source, { eval: true, resourceLimits }).on('message', done).on('error', failed));
            return (await one()) + (await one())""",
        held="(refused .*|failed (memory|crashed): .*)",
    ),
    _attack(
        "try again and again to hold what was refused",
        "rlimits, memory watch",
        """
            const all = [];
            for (let tries = 0; tries < 1000 && all.length < 80; tries++) try { all.push(Buffer.alloc(4 << 20, 1)) } catch {}
            return all.length >= 80 ? 320 : 'less'""",
        held="(got less|failed memory: .*)",
    ),
    Attack(
        name="recurse without end",
        group=_GROUP,
        stopped_by="V8's stack limit",
        code="const down = (n) => down(n + 1) + 1; return down(0)",
        held="refused Maximum call stack size exceeded",
        control=Control(launch=inheriting(more=["--stack-size=900000"]), got="failed crashed: .* signal 11 .*"),
    ),
)
