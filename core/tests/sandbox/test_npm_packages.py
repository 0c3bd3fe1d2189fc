"""Popular packages load from a bundle without files, do something, and give what they give from disk."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from turnout.local.process_sandbox import ProcessSandbox
from turnout.sandbox.node import environment, node_binary

from .npm_packages import PACKAGES, bundle_with, installed
from .test_module_map import outcome_of, told
from .virtual_sandbox import VirtualSandbox

HERE = Path(__file__).parent
RESOLVER = HERE.parents[1] / "src" / "turnout" / "sandbox" / "bootstrap" / "resolve.cjs"


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return asyncio.run(installed(tmp_path_factory.mktemp("npm")))


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


@pytest.mark.parametrize("mapped", [True, False])
@pytest.mark.parametrize("package", PACKAGES)
async def test_a_package_works_without_files(
    virtual: VirtualSandbox, plain: ProcessSandbox, layer: Path, tmp_path: Path, package: str, mapped: bool
) -> None:
    source, expected = PACKAGES[package]
    bundle = bundle_with(layer, tmp_path, source, mapped=mapped)

    assert told(await outcome_of(virtual, bundle)) == expected
    assert told(await outcome_of(plain, bundle)) == expected


async def test_packages_are_found_where_node_finds_them(layer: Path) -> None:
    compared = await compare(layer)

    assert compared["different"] == []
    assert compared["pairs"] > 10_000


CONDITIONAL: dict[str, object] = {
    "conditions": {"import": "./i.mjs", "require": "./r.cjs"},
    "nested": {
        ".": {"node": {"import": "./i.mjs", "default": "./r.cjs"}},
        "./sub": {"browser": "./x.js"},
        "./no": None,
        "./list": ["bad", {"browser": "./x.js"}, "./r.cjs"],
        "./bad": ["bad", "../x.js"],
        "./empty": [],
    },
    "patterns": {
        "./*": "./lib/*.js",
        "./deep/*": "./lib/deep/*.js",
        "./deep/private/*": None,
        "./*.css": "./lib/*.css",
        "./features/*/index": "./lib/*.js",
        "./dir/": "./lib/",
    },
    "outside": {
        ".": "../nested/r.cjs",
        "./a": "./../x.js",
        "./b": "./node_modules/x.js",
        "./c": "/etc/hostname",
        "./d": "c.js",
        "./e": "./%2e%2e/x.js",
        "./f": "./r%20x.js",
        "./g": 5,
    },
    "mixed": {".": "./r.cjs", "import": "./i.mjs"},
    "numbers": {".": {"0": "./r.cjs"}},
    "text": "./r.cjs",
    "list": ["./r.cjs"],
    "none": {},
    "false": False,
    "@scope/package": {".": "./r.cjs", "./x": "./i.mjs"},
}
OTHERS: dict[str, dict[str, object]] = {
    "wanting-main": {"main": "./nothing"},
    "number-main": {"main": 5},
    "folder-main": {"main": "lib"},
    "endless-main": {"main": "./r"},
    "main-above": {"main": "../text/r.cjs"},
    "own": {
        "type": "module",
        "exports": {".": "./i.mjs", "./x": "./lib/a.js"},
        "imports": {
            "#a": "./lib/a.js",
            "#text": "text",
            "#scoped": {"node": "@scope/package/x"},
            "#fs": "fs",
            "#node-fs": "node:fs",
            "#lib/*": "./lib/*.js",
            "#gone": "./lib/gone.js",
            "#no": None,
            "#absolute": "/x.js",
            "#above": "../x.js",
            "#url": "https://x.example/z",
        },
    },
}
FILES = (
    "i.mjs",
    "r.cjs",
    "r.js",
    "index.js",
    "x.js",
    "r x.js",
    "lib/a.js",
    "lib/index.js",
    "lib/deep/b.js",
    "lib/a.css",
)
ASKED = [
    "#a",
    "#text",
    "#scoped",
    "#fs",
    "#node-fs",
    "#lib/a",
    "#lib/deep/b",
    "#lib/../x",
    "#gone",
    "#no",
    "#absolute",
    "#above",
    "#url",
    "#lib/",
    "own/x",
    "own/y",
    "patterns/a",
    "patterns/deep/b",
    "patterns/deep/private/c",
    "patterns/a.css",
    "patterns/features/a/index",
    "patterns/../x",
    "patterns/dir/a.js",
    "patterns/node_modules/x",
    "patterns/deep/",
    "patterns/%2e%2e/x",
    "./r",
    "./lib",
    "./lib/",
    "./r%20x.js",
    "./r.js?x=1",
    "./r.js#y",
    "../text",
    "broken",
    "broken/x",
    "array",
    "conditions/x",
]


async def test_odd_packages_are_found_or_refused_as_by_node(tmp_path: Path) -> None:
    manifests: dict[str, dict[str, object]] = {name: {"exports": exports} for name, exports in CONDITIONAL.items()}
    asked = "\n".join(f"import({json.dumps(specifier)})" for specifier in (*ASKED, *manifests, *OTHERS))
    for name, manifest in {**manifests, **OTHERS}.items():
        for file in FILES:
            path = tmp_path / "node_modules" / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(asked)
        (tmp_path / "node_modules" / name / "package.json").write_text(json.dumps({"name": name, **manifest}))
    for name, text in {"broken": "{", "array": "[]"}.items():
        (tmp_path / "node_modules" / name).mkdir()
        (tmp_path / "node_modules" / name / "package.json").write_text(text)
        (tmp_path / "node_modules" / name / "index.js").touch()

    compared = await compare(tmp_path)

    assert compared["different"] == []
    assert compared["pairs"] > 2_000


async def compare(directory: Path) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        *(node_binary(), "--no-deprecation", "--no-warnings", "--experimental-import-meta-resolve"),
        *(str(HERE / "javascript" / "compare_resolvers.mjs"), str(RESOLVER), str(directory)),
        env=environment(),
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0
    compared: dict[str, Any] = json.loads(said)
    return compared
