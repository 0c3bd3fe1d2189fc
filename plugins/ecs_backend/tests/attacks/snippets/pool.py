"""What is left behind for whoever gets a process next, and processes that were made ready for somebody else."""

from __future__ import annotations

from typing import Final

from plugins.ecs_backend.tests.attacks.attack import Attack, Control, Group
from plugins.ecs_backend.tests.attacks.loosened import CredulousConversation

_GROUP: Final[Group] = "pool"
_ONE_EACH: Final = "a process for each execution"
_FOR_ONE: Final = "a process for one tenant and bundle"
_NEW_MODULES: Final = "modules anew for each execution"
_ANOMALY: Final = "a process with something left is not used again"
_STATE: Final = "export const state = { left: 'nothing' }"


def _attack(name: str, code: str, then: str, got: str, held: str = "got clean", stopped_by: str = _ONE_EACH) -> Attack:
    control = Control(same_process=True, got=got)
    return Attack(name=name, group=_GROUP, stopped_by=stopped_by, code=code, then=then, held=held, control=control)


def _renewed(
    name: str,
    code: str,
    then: str,
    got: str,
    *,
    held: str = "got clean",
    stopped_by: str = _ANOMALY,
    same_tenant: bool = True,
) -> Attack:
    """Where a process is used again for its tenant's next execution."""
    return Attack(
        name=name,
        group=_GROUP,
        stopped_by=stopped_by,
        code=code,
        then=then,
        reuse=True,
        same_tenant=same_tenant,
        files={"state.mjs": _STATE},
        held=held,
        control=Control(same_process=True, got=got),
    )


ATTACKS: Final = (
    _attack(
        "leave a global", "globalThis.left = input.secret", "return globalThis.left ? 'left' : 'clean'", "got left"
    ),
    _attack(
        "leave a secret in a module's state",
        "require('node:events').left = 'left'",
        "return require('node:events').left ?? 'clean'",
        "got left",
    ),
    _attack(
        "leave a timer that acts in the next execution",
        "setInterval(() => { globalThis.acted = 'acted' }, 1)",
        "await new Promise((done) => setTimeout(done, 30)); return globalThis.acted ?? 'clean'",
        "got acted",
    ),
    _attack(
        "leave a listener that sees how the next execution ends",
        "process.on('left', () => { globalThis.heard = 'heard' })",
        "process.emit('left'); return globalThis.heard ?? 'clean'",
        "got heard",
    ),
    _attack(
        "leave a patched fs that reads along",
        "const { readFileSync } = fs; fs.readFileSync = (...args) => { globalThis.read = args[0]; return readFileSync(...args) }",
        "fs.readFileSync('/bundle/package.json'); return globalThis.read ?? 'clean'",
        "got /bundle/package.json",
    ),
    _attack(
        "leave a patched require",
        "const Module = require('module'); const { _load } = Module; Module._load = (name, ...rest) => name === 'os' ? 'hijacked' : _load(name, ...rest)",
        "return require('os') === 'hijacked' ? 'hijacked' : 'clean'",
        "got hijacked",
    ),
    _attack(
        "leave an environment variable",
        "process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0'",
        "return process.env.NODE_TLS_REJECT_UNAUTHORIZED ?? 'clean'",
        "got 0",
    ),
    _attack(
        "leave a hook on all that is loaded",
        """
            const source = "export const bad = 'hijacked'";
            require('module').registerHooks({ load: (url, context, next) => url === 'node:zlib' ? { format: 'module', source, shortCircuit: true } : next(url, context) })""",
        "return (await import('node:zlib')).bad ?? 'clean'",
        "got hijacked",
    ),
    _attack(
        "leave a poisoned async context",
        "const { AsyncLocalStorage } = require('async_hooks'); globalThis.store = new AsyncLocalStorage(); globalThis.store.enterWith('left')",
        "return globalThis.store?.getStore?.() ?? (globalThis.store ? 'left' : 'clean')",
        "got left",
    ),
    _renewed(
        "leave a module's state where processes are used again",
        "globalThis.here = 'the same process'; (await import('./state.mjs')).state.left = 'left'",
        "return `${(await import('./state.mjs')).state.left} in ${globalThis.here}`",
        "got left in the same process",
        held="got nothing in the same process",
        stopped_by=_NEW_MODULES,
    ),
    _renewed(
        "leave a timer where processes are used again",
        "globalThis.left = 'left'; setInterval(() => {}, 1)",
        "return globalThis.left ?? 'clean'",
        "got left",
    ),
    _renewed(
        "leave a listener where processes are used again",
        "globalThis.left = 'left'; process.on('left', () => {})",
        "return globalThis.left ?? 'clean'",
        "got left",
    ),
    _renewed(
        "leave a global for another tenant where processes are used again",
        "globalThis.left = 'left'",
        "return globalThis.left ?? 'clean'",
        "got left",
        stopped_by=_FOR_ONE,
        same_tenant=False,
    ),
    _renewed(
        "say that it is clean before it is asked to be renewed",
        """
            globalThis.left = 'left';
            setInterval(() => {}, 1);
            const { Worker } = require('worker_threads');
            kit.send(kit.frame(kit.TYPES.RENEWED, kit.stealNonce(), 'clean'));
            return 'done'""",
        "return globalThis.left ?? 'clean'",
        "(got left|failed .*)",
    ),
    Attack(
        name="get another tenant into a process that was made ready for oneself",
        group=_GROUP,
        stopped_by=_FOR_ONE,
        module="globalThis.left = 'left'; export default () => 'done'",
        then="return globalThis.left ?? 'clean'",
        warm=True,
        held="got clean",
        control=Control(same_process=True, got="got left"),
    ),
    Attack(
        name="answer for the next execution while the process is made ready",
        group=_GROUP,
        stopped_by="nonce, a process for one tenant and bundle",
        module="""
            import { frame, result, send, TYPES } from './kit.mjs';
            const nonce = Buffer.alloc(8);
            send(Buffer.concat([frame(TYPES.PREPARED, nonce, ''), result('forged while it was loaded', nonce)]));
            export default () => ({ got: 'the one before' })""",
        then="return 'the real one'",
        warm=True,
        held="got the real one",
        control=Control(same_process=True, conversation=CredulousConversation, got="got the one before"),
    ),
)
