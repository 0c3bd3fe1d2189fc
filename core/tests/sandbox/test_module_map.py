"""The module map makes imports quicker and changes nothing else: each case gives the same with it and without."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from turnout.interfaces.sandbox import CodeBundle, Failure, Limits, Outcome, Sandbox, Success
from turnout.local.process_sandbox import ProcessSandbox
from turnout.sandbox.module_map import MAP_FILE, SoundMaps, survey
from turnout.testing.sandbox import job

ESM = '{"type":"module","exports":{".":"./main.js","./deep/*":"./src/*.js"},"imports":{"#own":"./src/own.js"}}'
PACKAGE = {
    "node_modules/esm/package.json": ESM,
    "node_modules/esm/main.js": "export { own } from '#own'; export const url = import.meta.url",
    "node_modules/esm/src/own.js": "export const own = 'own'",
    "node_modules/esm/src/part.js": "import { own } from '#own'; export default `part of ${own}`",
    "node_modules/cjs/package.json": '{"main":"lib.js"}',
    "node_modules/cjs/lib.js": "exports.named = require('./other').value; exports.main = require.main === module",
    "node_modules/cjs/other.js": "exports.value = module.parent.id.endsWith('lib.js')",
}
CASES = {
    "exports and imports of a package": (
        "import { own } from 'esm'; import part from 'esm/deep/part'; export default () => [own, part]",
        ["own", "part of own"],
    ),
    "CommonJS": (
        """import all, { named } from 'cjs'; import { createRequire } from 'node:module'
        const again = createRequire(import.meta.url)('cjs')
        export default () => [named, all.main, all === again]""",
        [True, False, True],
    ),
    "CommonJS beside modules": (
        "import './near.js'; import all from 'cjs'; import { own } from 'esm'; export default () => [all.named, own]",
        [True, "own"],
    ),
    "what require() finds after an import": (
        """import { url } from 'esm'; import { createRequire } from 'node:module'
        export default () => createRequire(import.meta.url)('esm').url === url""",
        True,
    ),
    "JSON": ("import data from './data.json' with { type: 'json' }; export default () => data", {"a": 1}),
    "a cycle": ("import { even } from './even.js'; export default () => even(4)", True),
    "top-level await": ("const it = await import('esm'); export default () => it.own", "own"),
    "its own address": ("export default () => import.meta.url.split('/').at(-1) + import.meta.filename.length", None),
    "a query": (
        "import * as a from './near.js'; import * as b from './near.js?2'; export default () => a === b",
        False,
    ),
    "a mark before the first character": ("import at from './marked.js'; export default () => at", "1"),
    "a missing package": ("import 'absent'; export default () => 1", None),
    "a missing name": ("import { nothing } from './near.js'; export default () => 1", None),
    "a syntax error": ("import './wrong.js'; export default () => 1", None),
    "an error while loading": ("import './throws.js'; export default () => 1", None),
    "an odd specifier": ("import 'constructor'; export default () => 1", None),
}
NEIGHBOURS = {
    "package.json": '{"type":"module"}',
    "data.json": '{"a":1}',
    "near.js": "export const near = 1",
    "even.js": "import { odd } from './odd.js'; export const even = (n) => n === 0 || odd(n - 1)",
    "odd.js": "import { even } from './even.js'; export const odd = (n) => n !== 0 && even(n - 1)",
    "marked.js": "\ufeffexport default new Error().stack.match(/marked.js:(\\d+)/)[1]",
    "wrong.js": "export const a = 1\nexport const b = (",
    "throws.js": "export const a = 1\nthrow new TypeError('no')",
}


def written(
    directory: Path, files: Mapping[str, str], *, mapped: bool, modules: tuple[str, ...] = ("step.js",)
) -> CodeBundle:
    for name, source in {**NEIGHBOURS, **PACKAGE, **files}.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    if mapped:
        content = survey(directory, modules)
        assert content is not None
        (directory / MAP_FILE).write_bytes(content)
    return CodeBundle(hash=directory.name, directory=str(directory), modules=modules)


@pytest.fixture
async def sandbox() -> AsyncIterator[ProcessSandbox]:
    sandbox = ProcessSandbox(warm_floor=1)
    yield sandbox
    await sandbox.close()


async def outcome_of(sandbox: Sandbox, bundle: CodeBundle, module: str = "step.js") -> Outcome:
    handle = await sandbox.acquire("acme", bundle, Limits())
    try:
        return await handle.run(job(module))
    finally:
        await handle.release()


def told(outcome: Outcome) -> object:
    if isinstance(outcome, Success):
        return json.loads(outcome.output.json)
    return (outcome.kind, outcome.message, outcome.stack)


@pytest.mark.parametrize("case", CASES)
async def test_the_map_changes_nothing(sandbox: ProcessSandbox, tmp_path: Path, case: str) -> None:
    source, expected = CASES[case]
    plain = written(tmp_path / "a", {"step.js": source}, mapped=False)
    mapped = written(tmp_path / "b", {"step.js": source}, mapped=True)

    without = told(await outcome_of(sandbox, plain))
    with_map = told(await outcome_of(sandbox, mapped))

    assert with_map == without
    assert expected is None or with_map == expected


async def test_the_map_is_what_modules_are_loaded_from(sandbox: ProcessSandbox, tmp_path: Path) -> None:
    bundle = written(tmp_path, {"step.js": "import { own } from 'esm'; export default () => own"}, mapped=True)
    await outcome_of(sandbox, bundle)
    (tmp_path / "node_modules/esm/src/own.js").unlink()

    assert told(await outcome_of(sandbox, bundle)) == "own"


async def test_entries_share_what_both_import(sandbox: ProcessSandbox, tmp_path: Path) -> None:
    one = "import { counter } from './counter.js'; export default () => ++counter.n"
    files = {"counter.js": "export const counter = { n: 0 }", "step.js": one, "other.js": one}
    bundle = written(tmp_path, files, mapped=True, modules=("step.js", "other.js"))

    handle = await sandbox.acquire("acme", bundle, Limits())

    assert told(await handle.run(job("step.js"))) == 1
    assert told(await handle.run(job("other.js"))) == 2
    await handle.release()


async def test_the_bundle_and_its_layer_may_move(sandbox: ProcessSandbox, tmp_path: Path) -> None:
    source = {"step.js": "import { url } from 'esm'; export default () => url"}
    written(tmp_path / "a" / "code", source, mapped=True)
    shutil.move(tmp_path / "a" / "code" / "node_modules", tmp_path / "packages")
    shutil.move(tmp_path / "a" / "code", tmp_path / "code")
    (tmp_path / "code" / "node_modules").symlink_to("../packages")
    bundle = CodeBundle(hash="moved", directory=str(tmp_path / "code"), modules=("step.js",))

    assert await SoundMaps().has(bundle)
    assert told(await outcome_of(sandbox, bundle)) == f"file://{tmp_path}/packages/esm/main.js"


@pytest.mark.parametrize("fault", ["missing", "cut", "changed", "stale", "other version", "source gone", "not a file"])
async def test_a_map_that_does_not_fit_is_left_alone(sandbox: ProcessSandbox, tmp_path: Path, fault: str) -> None:
    bundle = written(tmp_path, {"step.js": "import { near } from './near.js'; export default () => near"}, mapped=True)
    path = tmp_path / MAP_FILE
    content = path.read_bytes()
    match fault:
        case "missing":
            path.unlink()
        case "cut":
            path.write_bytes(content[: len(content) // 2])
        case "changed":
            path.write_bytes(content.replace(b"near = 1", b"near = 2"))
        case "stale":
            (tmp_path / "near.js").write_text("export const near = 3")
        case "other version":
            path.write_bytes(b"turnout-modules-0" + content[17:])
        case "source gone":
            (tmp_path / "step.js").write_text("export default () => 4")
            (tmp_path / "near.js").unlink()
        case _:
            path.unlink()
            path.mkdir()

    assert not await SoundMaps().has(bundle)
    assert told(await outcome_of(sandbox, bundle)) == {"stale": 3, "source gone": 4}.get(fault, 1)


def test_making_the_map_runs_nothing(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    source = f"import {{ writeFileSync }} from 'node:fs'; writeFileSync({json.dumps(str(mark))}, 'x'); export default 1"

    bundle = written(tmp_path, {"step.js": source}, mapped=True)

    assert (Path(bundle.directory) / MAP_FILE).is_file()
    assert not mark.exists()


def test_without_any_module_there_is_no_map(tmp_path: Path) -> None:
    (tmp_path / "step.cjs").write_text("module.exports = 1")

    assert survey(tmp_path, ["step.cjs", "absent.js"]) is None


@pytest.mark.parametrize("how", ["import 'above'", "await import('above')", "require('above')", "import '../above.js'"])
async def test_what_lies_outside_the_bundle_is_not_imported(sandbox: ProcessSandbox, tmp_path: Path, how: str) -> None:
    (tmp_path / "node_modules" / "above").mkdir(parents=True)
    (tmp_path / "node_modules" / "above" / "index.js").write_text("module.exports = 1")
    (tmp_path / "above.js").write_text("export default 1")
    start = "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);"
    bundle = written(tmp_path / "bundle", {"step.js": f"{start} {how}; export default () => 1"}, mapped=True)

    outcome = await outcome_of(sandbox, bundle)

    assert isinstance(outcome, Failure)
    assert outcome.kind == "import"
    assert "in the bundle: outside it," in outcome.message
    assert "lockfile" in outcome.message
