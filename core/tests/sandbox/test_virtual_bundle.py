"""A bundle without files: what code does with one on disk it does with one that comes over the channel."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from turnout.interfaces.sandbox import Failure, Limits, Outcome, Sandbox, Success
from turnout.local.process_sandbox import ProcessSandbox
from turnout.model.execution import LogLine
from turnout.testing.sandbox import SandboxContract, bundle_of, job

from .test_hostile_code import HIJACKS
from .test_module_map import CASES, outcome_of, told, written
from .virtual_sandbox import VirtualSandbox


class TestVirtualSandbox(SandboxContract):
    @pytest.fixture
    async def sandbox(self) -> AsyncIterator[Sandbox]:
        sandbox = VirtualSandbox()
        await sandbox.start()
        yield sandbox
        await sandbox.close()


@pytest.fixture
async def virtual() -> AsyncIterator[VirtualSandbox]:
    sandbox = VirtualSandbox()
    yield sandbox
    await sandbox.close()


@pytest.fixture
async def plain() -> AsyncIterator[ProcessSandbox]:
    sandbox = ProcessSandbox(warm_floor=1)
    yield sandbox
    await sandbox.close()


REQUIRE = "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);"
MORE_CASES = {
    "names of CommonJS through another's": "import { deep, own } from './star.cjs'; export default () => [deep, own]",
    "a folder and a file without its end": f"{REQUIRE} export default () => [require('./folder'), require('./plain'), require('.')]",
    "a module that CommonJS requires": f"{REQUIRE} export default () => require('esm').own",
    "JSON that is required": f"{REQUIRE} export default () => require('./data.json')",
    "JSON without saying so": "export default async () => import('./data.json')",
    "JSON said to be JavaScript": "export default async () => import('./near.js', { with: { type: 'json' } })",
    "JavaScript without a type": "import at from 'typeless'; import cjs from 'typeless/c.js'; export default () => [at, cjs]",
    "a computed import": "export default async (x) => (await import('./ne' + 'ar.js')).near",
    "a module that is not there, while running": "export default async () => import('./absent.js')",
    "a package that is not there, required": f"{REQUIRE} export default () => require('absent')",
    "a file that is not there, required": f"{REQUIRE} export default () => require('./absent')",
    "what a package does not export": "export default async () => import('esm/src/own.js')",
    "what a package exports to require": f"{REQUIRE} export default () => require('esm/deep/none')",
    "where a package is": f"{REQUIRE} export default () => require.resolve('cjs').split('/').slice(-3)",
    "where one would be, seen from elsewhere": (
        f"{REQUIRE} export default () => require.resolve('./other', {{ paths: [import.meta.dirname + '/node_modules/cjs'] }}).split('/').at(-1)"
    ),
    "where an import would lead": "export default () => import.meta.resolve('esm').split('/').at(-1)",
    "the package.json of a package and of a file": (
        "import { findPackageJSON } from 'node:module'; const found = (what) => findPackageJSON(what, import.meta.url)\n"
        "export default () => ['esm', 'esm/nothing', './node_modules/typeless/m.js', './step.js'].map(found)"
    ),
    "a folder that is imported": "export default async () => import('./folder')",
    "a file without its end, imported": "export default async () => import('./folder/../plain')",
    "a package's file without its end": "export default async () => import('cjs/other')",
    "a file above without its end": "export default async () => import('typeless/up.js')",
    "wrong JSON": f"{REQUIRE} export default () => require('./wrong.json')",
    "wrong CommonJS": f"{REQUIRE} export default () => require('./wrong.cjs')",
    "a cycle of CommonJS": f"{REQUIRE} export default () => require('./a.cjs').seen",
    "CommonJS loaded again": (
        f"{REQUIRE} export default () => {{ const a = require('./count.cjs'); delete require.cache[require.resolve('./count.cjs')];"
        " return a !== require('./count.cjs') }"
    ),
    "built-in modules": (
        f"import {{ sep }} from 'path'; {REQUIRE} export default async () => [sep, require('node:os').EOL, (await import('url')).URL === URL]"
    ),
    "a built-in module that is none": "export default async () => import('node:nothing')",
    "code in a URL": "export default async () => (await import('data:text/javascript,export default 5')).default",
    "types": "import { typed } from './typed.ts'; export default () => typed",
    "what is no module": "export default async () => import('./notes.txt')",
    "the stack of an error": "import { fails } from './throws-later.js'; export default () => fails()",
}
MORE_FILES = {
    "star.cjs": "__exportStar(require('./deep.cjs'), exports); exports.own = 1\n"
    "function __exportStar(from, to) { for (const name in from) to[name] = from[name] }",
    "deep.cjs": "exports.deep = 'deep'",
    "folder/index.js": "export default 'folder'",
    "plain.js": "export default 'plain'",
    "index.js": "export default 'top'",
    "a.cjs": "exports.early = 1; exports.seen = require('./b.cjs').seen",
    "b.cjs": "exports.seen = require('./a.cjs').early",
    "count.cjs": "module.exports = {}",
    "wrong.json": "{",
    "wrong.cjs": "const a = 1\nconst b = (",
    "typed.ts": "export const typed: number = 3",
    "notes.txt": "notes",
    "throws-later.js": "export function fails() {\n  throw new TypeError('later')\n}",
    "node_modules/typeless/package.json": '{"main": "m.js"}',
    "node_modules/typeless/m.js": "export default import.meta.url.split('/').at(-1)",
    "node_modules/typeless/up.js": "module.exports = import('../../plain')",
    "node_modules/typeless/c.js": "module.exports = typeof require",
}


@pytest.mark.parametrize("mapped", [True, False])
@pytest.mark.parametrize("case", [*CASES, *MORE_CASES])
async def test_code_sees_no_difference(
    plain: ProcessSandbox, virtual: VirtualSandbox, tmp_path: Path, case: str, mapped: bool
) -> None:
    source = CASES[case][0] if case in CASES else MORE_CASES[case]
    bundle = written(tmp_path, {**MORE_FILES, "step.js": source}, mapped=mapped)

    from_disk = told(await outcome_of(plain, bundle))
    from_channel = told(await outcome_of(virtual, bundle))

    if case == "its own address":  # it ends in the length of the path
        assert str(from_channel).startswith("step.js")
    else:
        assert json.loads(json.dumps(from_channel).replace("/bundle/", "")) == json.loads(
            json.dumps(from_disk).replace(f"{tmp_path}/", "")
        )


@pytest.mark.parametrize(
    "how", ["import 'above'", "await import('../above.js')", "require('/etc/hostname')", "require('../above')"]
)
async def test_nothing_outside_is_imported(virtual: VirtualSandbox, tmp_path: Path, how: str) -> None:
    (tmp_path / "node_modules" / "above").mkdir(parents=True)
    (tmp_path / "node_modules" / "above" / "index.js").write_text("module.exports = 1")
    (tmp_path / "above.js").write_text("export default 1")
    bundle = written(tmp_path / "code", {"step.js": f"{REQUIRE} {how}; export default () => 1"}, mapped=True)

    outcome = await outcome_of(virtual, bundle)

    assert isinstance(outcome, Failure)
    assert "Cannot find" in outcome.message


FETCHED = """
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
const require = createRequire(import.meta.url)
const tried = (action) => { try { return String(action()) } catch (error) { return error.code } }
export default (paths) => paths.map((path) => [tried(() => readFileSync(path, 'utf8')), tried(() => require(path))])
"""


async def test_links_that_leave_the_bundle_are_not_there(virtual: VirtualSandbox, tmp_path: Path) -> None:
    bundle = written(tmp_path / "code", {"step.js": FETCHED, "inside.txt": "inside"}, mapped=True)
    code = tmp_path / "code"
    (tmp_path / "secret.json").write_text('"secret"')
    (code / "out.json").symlink_to(tmp_path / "secret.json")
    (code / "up").symlink_to(tmp_path)
    (code / "in.txt").symlink_to("inside.txt")
    paths = ["/bundle/out.json", "/bundle/up/secret.json", "/bundle/../secret.json", "/bundle/in.txt"]

    handle = await virtual.acquire("acme", bundle, Limits())
    outcome = await handle.run(job("step.js", paths))
    await handle.release()

    assert told(outcome) == [["ENOENT", "MODULE_NOT_FOUND"]] * 3 + [["inside", None]]


async def test_control_a_process_with_files_follows_the_same_links(plain: ProcessSandbox, tmp_path: Path) -> None:
    bundle = written(tmp_path / "code", {"step.js": FETCHED}, mapped=True)
    (tmp_path / "secret.json").write_text('"secret"')
    (tmp_path / "code" / "out.json").symlink_to(tmp_path / "secret.json")

    handle = await plain.acquire("acme", bundle, Limits())
    outcome = await handle.run(job("step.js", [f"{tmp_path}/code/out.json"]))
    await handle.release()

    assert told(outcome) == [['"secret"', "MODULE_NOT_FOUND"]]


LATER = {
    "late.mjs": "export default 'late'",
    "late.cjs": "module.exports = require('./data.json')",
    "data.json": '{"a": 1}',
}


@pytest.mark.parametrize(
    "hijack",
    [
        *HIJACKS,
        "Object.prototype.exports = Object.prototype.type = Object.prototype.main = './forged.js'",
        "String.prototype.split = String.prototype.indexOf = String.prototype.startsWith = () => 0",
        "Array.prototype[Symbol.iterator] = function* () { yield 'forged' }",
        "Object.keys = Object.hasOwn = Array.isArray = () => { throw new Error('hijacked') }",
        "globalThis.URL = class {}",
    ],
)
async def test_hijacked_builtins_do_not_mislead_the_loader(
    virtual: VirtualSandbox, tmp_path: Path, hijack: str
) -> None:
    source = f"""{REQUIRE}
    export default async () => {{
      {hijack}
      return [(await import('./late.mjs')).default, require('./late.cjs').a]
    }}"""
    bundle = written(tmp_path, {**LATER, "step.js": source}, mapped=True)

    outcome = await outcome_of(virtual, bundle)
    after = await outcome_of(virtual, bundle_of(tmp_path / "other", {"step.js": "export default () => 'fine'"}))

    assert told(after) == "fine"
    if "Promise.prototype.then" in hijack:  # what Node's own loader cannot do without
        assert isinstance(outcome, Failure)
    else:
        assert told(outcome) == ["late", 1]


async def test_a_mapped_bundle_is_loaded_without_a_question(tmp_path: Path) -> None:
    sandbox = VirtualSandbox(warm_floor=0)
    bundle = written(tmp_path, {"step.js": "import { own } from 'esm'; export default () => own"}, mapped=True)

    handle = await sandbox.acquire("acme", bundle, Limits())
    (tmp_path / "node_modules").rename(tmp_path / "gone")
    (tmp_path / "step.js").unlink()
    outcome = await handle.run(job("step.js"))
    await handle.release()
    await sandbox.close()

    assert told(outcome) == "own"


async def test_a_file_that_is_too_large_is_refused(virtual: VirtualSandbox, tmp_path: Path) -> None:
    bundle = written(tmp_path, {"step.js": FETCHED}, mapped=True)
    with (tmp_path / "large.bin").open("wb") as file:
        file.truncate(64 * 1024 * 1024 + 1)

    handle = await virtual.acquire("acme", bundle, Limits())
    outcome = await handle.run(job("step.js", ["/bundle/large.bin"]))
    await handle.release()

    assert told(outcome) == [["EFBIG", "EFBIG"]]


COUNTING = """
import './near.js'
import { createRequire } from 'node:module'
const counted = createRequire(import.meta.url)('./count.cjs')
let calls = 0
export default () => [++calls, (counted.calls = (counted.calls ?? 0) + 1), globalThis.evaluated = (globalThis.evaluated ?? 0) + 1]
"""


@pytest.mark.parametrize("kind", [VirtualSandbox, ProcessSandbox])
async def test_a_renewed_process_evaluates_modules_anew(
    tmp_path: Path, kind: type[VirtualSandbox | ProcessSandbox]
) -> None:
    bundle = written(tmp_path, {"step.js": COUNTING, "count.cjs": "module.exports = {}"}, mapped=True)
    sandbox = kind(warm_floor=1)
    outcomes: list[Outcome] = []

    handle = await sandbox.acquire("acme", bundle, Limits())
    process = handle._process  # type: ignore[attr-defined]
    for _ in range(2):
        outcomes.append(await handle.run(job("step.js")))
        outcomes.append(await handle.run(job("step.js")))
        assert await process.renew()
    await handle.release()
    await sandbox.close()

    assert [told(outcome) for outcome in outcomes] == [[1, 1, 1], [2, 2, 2], [1, 1, 3], [2, 2, 4]]


@pytest.mark.parametrize(
    ("source", "fit"),
    [
        ("import util from 'node:util'; export default () => util.inspect(1)", True),
        ("export default () => void process.stdout.write('x')", True),
        ("export default () => void setInterval(() => {}, 1000)", False),
        ("export default () => (process.stdout.write('x'), void setInterval(() => {}, 1000))", False),
        ("export default () => void process.on('beforeExit', () => {})", False),
        (
            (
                "import { Worker } from 'node:worker_threads';"
                "export default () => new Promise((done) => {"
                "const worker = new Worker('setInterval(() => {}, 1000)', { eval: true });"
                "worker.on('online', () => { worker.unref(); done(); }) })"
            ),
            False,
        ),
    ],
)
async def test_what_could_act_in_the_next_execution_makes_a_process_unfit_for_it(
    tmp_path: Path, source: str, fit: bool
) -> None:
    sandbox = VirtualSandbox(warm_floor=1)
    handle = await sandbox.acquire("acme", written(tmp_path, {"step.js": source}, mapped=True), Limits())

    await handle.run(job("step.js"))

    assert await handle._process.renew() is fit  # type: ignore[attr-defined]
    await handle.release()
    await sandbox.close()


async def test_a_renewed_process_asks_for_no_source_again(tmp_path: Path) -> None:
    code = tmp_path / "code"
    bundle = written(code, {"step.js": COUNTING, "count.cjs": "module.exports = {}"}, mapped=False)
    sandbox = VirtualSandbox(warm_floor=0)

    handle = await sandbox.acquire("acme", bundle, Limits())
    first = await handle.run(job("step.js"))
    assert await handle._process.renew()  # type: ignore[attr-defined]
    code.rename(tmp_path / "gone")
    second = await handle.run(job("step.js"))
    await handle.release()
    await sandbox.close()

    assert (told(first), told(second)) == ([1, 1, 1], [1, 1, 2])


PRINTING = """
process.stdout.write('out\\n')
process.stderr.write(Buffer.from('err\\n'), () => { globalThis.told = (globalThis.told ?? 0) + 1 })
export default async () => {
  await new Promise((done) => process.stdout.end('last ' + 'x'.repeat(100_000) + '\\n', done))
  return [globalThis.told, process.stdout.fd, process.getActiveResourcesInfo()]
}
"""


@pytest.mark.parametrize("kind", [VirtualSandbox, ProcessSandbox])
async def test_printing_leaves_nothing_behind(tmp_path: Path, kind: type[VirtualSandbox | ProcessSandbox]) -> None:
    bundle = written(tmp_path, {"step.js": PRINTING}, mapped=True)
    sandbox = kind(warm_floor=0)
    lines: list[LogLine] = []

    handle = await sandbox.acquire("acme", bundle, Limits())
    outcome = await handle.run(job("step.js", log=lines.append))
    renewed = await handle._process.renew()  # type: ignore[attr-defined]
    await handle.release()
    await sandbox.close()

    assert told(outcome) == [1, 1, []]
    assert sorted((line.level, line.message[:5]) for line in lines) == [
        ("error", "err"),
        ("info", "last "),
        ("info", "out"),
    ]
    assert renewed


BALLAST = """
import { createRequire } from 'node:module'
export const ballast = Array.from({ length: 65536 }, Math.random)
createRequire(import.meta.url)('./ballast.cjs')
globalThis.kept ??= []
export default (keep) => { if (keep) globalThis.kept.push(ballast); return ballast.length }
"""


@pytest.mark.parametrize("keep", [False, True])
async def test_what_a_renewed_process_forgets_is_freed(tmp_path: Path, keep: bool) -> None:
    """With `keep`, the control, the code holds on to what each evaluation made."""
    other = "exports.ballast = Array.from({ length: 65536 }, Math.random)"
    bundle = written(tmp_path, {"step.js": BALLAST, "ballast.cjs": other}, mapped=True)
    sandbox = VirtualSandbox(warm_floor=0)
    outcome: Outcome | None = None

    handle = await sandbox.acquire("acme", bundle, Limits(memory_bytes=64 * 1024 * 1024))
    for _ in range(200):
        outcome = await handle.run(job("step.js", keep))
        if not isinstance(outcome, Success):
            break
        assert await handle._process.renew()  # type: ignore[attr-defined]
    await handle.release()
    await sandbox.close()

    if keep:
        assert isinstance(outcome, Failure)
        assert outcome.kind == "memory"
    else:
        assert isinstance(outcome, Success)


@pytest.mark.parametrize("size", [1024 * 1024, 1024 * 1024 + 1, 5_000_000])
async def test_large_data_and_modules_arrive_whole(virtual: VirtualSandbox, tmp_path: Path, size: int) -> None:
    (tmp_path / "data.bin").write_bytes(bytes(range(256)) * (size // 256) + b"z" * (size % 256))
    (tmp_path / "large.mjs").write_text("export default 'large' //".ljust(size, "x"))
    source = """import { readFileSync } from 'node:fs'; import { createHash } from 'node:crypto'
    export default async () => {
      const data = readFileSync('data.bin')
      return [data.length, createHash('sha256').update(data).digest('hex'), (await import('./large' + '.mjs')).default]
    }"""

    outcome = await outcome_of(virtual, written(tmp_path, {"step.js": source}, mapped=False))

    content = (tmp_path / "data.bin").read_bytes()
    assert told(outcome) == [size, hashlib.sha256(content).hexdigest(), "large"]


async def test_node_internals_are_not_shown_to_code(plain: ProcessSandbox, tmp_path: Path) -> None:
    source = f"""import module from 'node:module'; {REQUIRE}
    const tried = async (action) => {{ try {{ return typeof await action() }} catch (error) {{ return error.code }} }}
    export default async () => [
      await tried(() => require('internal/util')), await tried(() => require('node:internal/util')),
      await tried(() => import('internal/util')), await tried(() => process.getBuiltinModule('internal/util')),
      module.builtinModules.some((name) => name.includes('internal')), await tried(() => require('node:sqlite')),
    ]"""

    outcome = await outcome_of(plain, bundle_of(tmp_path, {"step.js": source}))

    missing = ["MODULE_NOT_FOUND", "ERR_UNKNOWN_BUILTIN_MODULE", "ERR_MODULE_NOT_FOUND", "undefined"]
    assert told(outcome) == [*missing, False, "object"]
