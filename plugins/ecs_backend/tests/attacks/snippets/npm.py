"""The bundle and its npm layer: packages that lead out of them."""

from __future__ import annotations

from typing import Final

from turnout.sandbox.code_view import OnDisk
from turnout_ecs.jail.launcher import seal_binary

from plugins.ecs_backend.tests.attacks.attack import Attack, Control, Group
from plugins.ecs_backend.tests.attacks.loosened import (
    UNCONFINED,
    LooseSource,
    careless_manifests,
    inheriting,
    patched,
)

_GROUP: Final[Group] = "npm layer"
_EVIL: Final = "node_modules/evil"
_ENTRY: Final = "module.exports = 'nothing'"

ATTACKS: Final = (
    Attack(
        name="read a file of the machine by a link in the layer",
        group=_GROUP,
        stopped_by="bundle alone",
        links={f"{_EVIL}/data.txt": "$ARENA/secret"},
        code="return fs.readFileSync('/bundle/node_modules/evil/data.txt', 'utf8')",
        held="refused ENOENT",
        control=Control(source=LooseSource, got="got a secret of the machine"),
    ),
    Attack(
        name="read the supervisor's environment by a link in the layer",
        group=_GROUP,
        stopped_by="bundle alone",
        links={f"{_EVIL}/data.txt": "/proc/self/environ"},
        code="return kit.fetch('node_modules/evil/data.txt').includes('PATH=')",
        held="refused ENOENT",
        control=Control(source=LooseSource, got="got true"),
    ),
    Attack(
        name="read the machine by a link to a folder in the layer",
        group=_GROUP,
        stopped_by="bundle alone",
        links={f"{_EVIL}/kept": "$ARENA"},
        code="return kit.fetch('node_modules/evil/kept/secret')",
        held="refused ENOENT",
        control=Control(source=LooseSource, got="got a secret of the machine"),
    ),
    Attack(
        name="run a module of another tenant's by a link",
        group=_GROUP,
        stopped_by="bundle alone",
        links={"other.mjs": "$ARENA/victim/victim.mjs"},
        code="return typeof (await import('./other.mjs')).default",
        held="refused ERR_MODULE_NOT_FOUND",
        control=Control(source=LooseSource, got="got function"),
    ),
    Attack(
        name="name a main file outside of the package",
        group=_GROUP,
        stopped_by="bundle alone",
        files={f"{_EVIL}/package.json": '{"name":"evil","main":"../../../module.cjs"}'},
        code="return require('evil')",
        held="refused MODULE_NOT_FOUND",
        control=Control(launch=patched(UNCONFINED), source=OnDisk, got="got a module of the machine"),
    ),
    Attack(
        name="climb out of the bundle by a relative require in a package",
        group=_GROUP,
        stopped_by="bundle alone",
        files={f"{_EVIL}/index.js": "module.exports = require('../../../module.cjs')", f"{_EVIL}/package.json": "{}"},
        code="return require('evil')",
        held="refused MODULE_NOT_FOUND",
        control=Control(launch=patched(UNCONFINED), source=OnDisk, got="got a module of the machine"),
    ),
    Attack(
        name="find a package in a folder above the bundle",
        group=_GROUP,
        stopped_by="bundle alone",
        code="return require('above')",
        held="refused MODULE_NOT_FOUND",
        control=Control(launch=patched(UNCONFINED), source=OnDisk, got="got a package of the machine"),
    ),
    Attack(
        name="load machine code that a package brings",
        group=_GROUP,
        stopped_by="seal, chroot",
        files={f"{_EVIL}/addon.node": seal_binary("node")},
        code="return typeof require('evil/addon.node')",
        held="refused ERR_DLOPEN_FAILED",
        control=Control(launch=inheriting(), source=OnDisk, got="got object"),
    ),
    Attack(
        name="have the supervisor parse a package.json that is nested without end",
        group=_GROUP,
        stopped_by="checks of package.json",
        files={f"{_EVIL}/package.json": "[" * 200_000, f"{_EVIL}/index.js": _ENTRY},
        code="return fs.existsSync('/bundle/package.json')",
        held="got true",
        control=Control(source=careless_manifests, got="the supervisor failed: RecursionError"),
    ),
)
