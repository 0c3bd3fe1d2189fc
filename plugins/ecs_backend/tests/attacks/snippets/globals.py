"""The language's own objects: poisoned for whoever comes next, or to get at what the bootstrap keeps to itself."""

from __future__ import annotations

from typing import Final

from plugins.ecs_backend.tests.attacks.attack import Attack, Control, Group
from plugins.ecs_backend.tests.attacks.loosened import patched

_GROUP: Final[Group] = "globals and prototypes"
_ONE_EACH: Final = "a process for each execution"
_SAME: Final = "same_process"

_LATE_CALLS: Final = (
    "captured.cjs",
    "const uncurry = bind.bind(call);",
    "const uncurry = (f) => (self, ...args) => f.call(self, ...args);",
)
_LATE_STRINGIFY: Final = (
    "captured.cjs",
    "stringify: JSON.stringify",
    "stringify: (...args) => JSON.stringify(...args)",
)
_LATE_WRITE: Final = ("captured.cjs", "writeSync: fs.writeSync", "writeSync: (...args) => fs.writeSync(...args)")
_SLOPPY: Final = ("main.cjs", '"use strict";', "")
_OPEN_INTERNALS: Final = ("graph.cjs", "Builtin.setRealmAllowRequireByUsers(open);", "return cache;")

ATTACKS: Final = (
    Attack(
        name="pollute Object.prototype for the next execution",
        group=_GROUP,
        stopped_by=_ONE_EACH,
        code="Object.prototype.isAdmin = true; return 'polluted'",
        then="return ({}).isAdmin ?? 'clean'",
        held="got clean",
        control=Control(same_process=True, got="got true"),
    ),
    Attack(
        name="listen in on JSON.parse of the next execution",
        group=_GROUP,
        stopped_by=_ONE_EACH,
        code="const { parse } = JSON; JSON.parse = (text) => { globalThis.heard = text; return parse(text) }",
        then="JSON.parse('{\"card\":4111}'); return globalThis.heard ?? 'nothing was heard'",
        held="got nothing was heard",
        control=Control(same_process=True, got='got {"card":4111}'),
    ),
    Attack(
        name="replace Promise for the next execution",
        group=_GROUP,
        stopped_by=_ONE_EACH,
        code="Promise.prototype.finally = () => 'hijacked'",
        then="return Promise.resolve('clean').finally(() => {})",
        held="got clean",
        control=Control(same_process=True, got="got hijacked"),
    ),
    Attack(
        name="have getters of Array.prototype run in the next execution",
        group=_GROUP,
        stopped_by=_ONE_EACH,
        code="Object.defineProperty(Array.prototype, 'customers', { get() { return 'mallory' } })",
        then="return [].customers ?? 'clean'",
        held="got clean",
        control=Control(same_process=True, got="got mallory"),
    ),
    Attack(
        name="write the result by a JSON.stringify of one's own",
        group=_GROUP,
        stopped_by="captured intrinsics",
        code="JSON.stringify = () => '{\"got\":\"forged\"}'; return 'real'",
        held="got real",
        control=Control(launch=patched(_LATE_STRINGIFY), got="got forged"),
    ),
    Attack(
        name="see the bootstrap's arguments by Function.prototype.call",
        group=_GROUP,
        stopped_by="captured intrinsics",
        code="""
            const { call } = Function.prototype;
            let seen = 0;
            Function.prototype.call = function (...args) { seen++; return Reflect.apply(this, args[0], args.slice(1)) };
            console.debug('x');
            Function.prototype.call = call;
            return seen""",
        held="got 0\ndebug: x",
        control=Control(launch=patched(_LATE_CALLS), got="got [1-9][0-9]*\ndebug: x"),
    ),
    Attack(
        name="see the job's nonce by a replaced fs.writeSync",
        group=_GROUP,
        stopped_by="captured intrinsics",
        code="""
            const { writeSync } = fs;
            let nonce = 'no nonce';
            fs.writeSync = function (fd, bytes, ...rest) { nonce = bytes.subarray(1, 9).toString('hex'); return writeSync(fd, bytes, ...rest) };
            require('module').syncBuiltinESMExports();
            console.debug('x');
            return nonce""",
        held="got no nonce\ndebug: x",
        control=Control(launch=patched(_LATE_WRITE), got="got [0-9a-f]{16}\ndebug: x"),
    ),
    Attack(
        name="get the bootstrap's functions from a stack trace",
        group=_GROUP,
        stopped_by="strict code",
        module="""
            export default new Function(`
              Error.prepareStackTrace = (error, frames) => frames.map((frame) => frame.getFunction()?.name).filter(Boolean);
              return { got: new Error().stack.join() }`)""",
        held="got anonymous",
        control=Control(launch=patched(_SLOPPY), got="got anonymous,run.*"),
    ),
    Attack(
        name="require Node's own internals",
        group=_GROUP,
        stopped_by="internals shown to the bootstrap alone",
        code="return typeof require('internal/test/binding').internalBinding",
        held="refused MODULE_NOT_FOUND",
        control=Control(launch=patched(_OPEN_INTERNALS), got="got function"),
    ),
)
