"""Time without end: before, while and after the code returns."""

from __future__ import annotations

from typing import Final

from plugins.ecs_backend.tests.attacks.attack import Attack, Control, Group

_GROUP: Final[Group] = "timing"


def _attack(name: str, code: str = "", *, module: str = "", held: str = "failed timeout: .*") -> Attack:
    """`wait_s` is twice the time that the job may take: the control goes on."""
    control = Control(wait_s=0.4, got="still running")
    return Attack(
        name=name,
        group=_GROUP,
        stopped_by="time-out",
        code=code,
        module=module,
        timeout_s=0.2,
        held=held,
        control=control,
    )


ATTACKS: Final = (
    _attack("loop for ever", "for (;;);"),
    _attack(
        "wait for ever without a turn of the event loop", "Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)"
    ),
    _attack("return a promise that a timer keeps alive", "setInterval(() => {}, 1000); return new Promise(() => {})"),
    _attack("loop in a getter of the result", "return { get a() { for (;;); } }"),
    _attack("loop in toJSON of the result", "return { toJSON() { for (;;); } }"),
    _attack("loop in a proxy's trap of the result", "return new Proxy({}, { ownKeys() { for (;;); } })"),
    _attack("loop in the `then` of the result", "return { then() { for (;;); } }"),
    _attack("loop in what is thrown", "throw { get code() { for (;;); } }"),
    _attack("loop while the module is loaded", module="for (;;);"),
    _attack(
        "wait for ever while the module is loaded", module="setInterval(() => {}, 1000); await new Promise(() => {})"
    ),
    _attack("match a regular expression that never ends", "return /^(a+)+$/.test('a'.repeat(60) + 'b')"),
    _attack("raise a number to a power in one operation", "return String((3n ** 5000000n) ** 7n).length"),
    _attack(
        "keep the log busy, a line at a time",
        "for (;;) { console.log('x'); await new Promise((done) => setTimeout(done, 40)) }",
    ),
    _attack(
        "send a frame byte by byte",
        "for (const byte of kit.frame(kit.TYPES.LOG, Buffer.alloc(8), 'x'.repeat(1000))) { kit.send(Buffer.from([byte])); await new Promise((done) => setTimeout(done, 10)) }",
    ),
    Attack(
        name="return an array that is long and empty",
        group=_GROUP,
        stopped_by="result limit",
        code="const all = []; all.length = 300000; return all",
        held="failed result_too_large: .*",
        control=Control(result_bytes=4 << 20, got=r"got \[null, null.*"),
    ),
    _attack(
        "catch what ends it and go on",
        "process.on('uncaughtException', () => {}); for (;;) try { await null; throw 1 } catch {}",
    ),
)
