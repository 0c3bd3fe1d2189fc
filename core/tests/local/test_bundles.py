"""Bundles: named by content, built once, refusing what must not get in."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from turnout.errors import DefinitionError, NotFound
from turnout.local.bundles import BundleStore
from turnout.local.npm import read_lockfile
from turnout.model.definition import CodeSettings, CodeStep, Flow, Integration, Position

FILE = CodeStep(id="parse", file="lib/parse.js")
INLINE = CodeStep(
    id="large",
    source="export default (x) => x",
    source_position=Position(file="integration.yaml", line=31, column=5),
)


def integration_in(directory: Path, *steps: CodeStep, code: CodeSettings | None = None) -> Integration:
    flows = {"f": Flow(name="f", steps=steps)}
    return Integration(name="orders", directory=str(directory), flows=flows, code=code or CodeSettings())


@pytest.fixture
def project(tmp_path: Path) -> Path:
    directory = tmp_path / "project"
    (directory / "lib").mkdir(parents=True)
    (directory / "lib" / "parse.js").write_text("import './near.js'; export default () => 1")
    (directory / "lib" / "near.js").write_text("export {}")
    for left_out in ("tests/parse.test.js", "node_modules/x/index.js", ".hidden.js", "notes.md"):
        path = directory / left_out
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("left out")
    return directory


@pytest.fixture
def store(tmp_path: Path) -> BundleStore:
    return BundleStore(tmp_path / "store")


async def test_sources_and_inline_code_are_in_and_the_rest_is_not(project: Path, store: BundleStore) -> None:
    bundle = await store.build(integration_in(project, FILE, INLINE))

    code = Path(bundle.code.directory)
    names = sorted(path.relative_to(code).as_posix() for path in code.rglob("*") if path.is_file())
    assert names == [
        ".bundle.json",
        ".modules.map",
        "f.large.inline.mjs",
        "lib/near.js",
        "lib/parse.js",
        "package.json",
    ]
    assert bundle.code.modules == ("lib/parse.js", "f.large.inline.mjs")
    assert bundle.module_of("f", INLINE) == "f.large.inline.mjs"
    assert json.loads((code / ".bundle.json").read_text())["inline"]["f.large.inline.mjs"]["line"] == 31


async def test_the_same_content_has_the_same_hash_wherever_it_is(
    project: Path, store: BundleStore, tmp_path: Path
) -> None:
    first = await store.build(integration_in(project, FILE))
    moved = project.rename(tmp_path / "elsewhere")

    second = await store.build(integration_in(moved, FILE))

    assert first.hash == second.hash


async def test_a_changed_neighbour_changes_the_hash(project: Path, store: BundleStore) -> None:
    first = await store.build(integration_in(project, FILE))
    (project / "lib" / "near.js").write_text("export const changed = 1")

    assert (await store.build(integration_in(project, FILE))).hash != first.hash


async def test_a_bundle_is_found_again_by_its_hash(project: Path, store: BundleStore) -> None:
    built = await store.build(integration_in(project, FILE, INLINE))

    loaded = await store.load(built.hash)

    assert loaded.integration == built.integration
    assert loaded.code == built.code


@pytest.mark.parametrize("digest", ["0" * 64, "../../etc", ""])
async def test_an_unknown_hash_is_not_found(store: BundleStore, digest: str) -> None:
    with pytest.raises(NotFound):
        await store.load(digest)


async def test_builders_side_by_side_make_one_bundle(project: Path, store: BundleStore, tmp_path: Path) -> None:
    other = BundleStore(tmp_path / "store")

    bundles = await asyncio.gather(*(each.build(integration_in(project, FILE)) for each in (store, other) * 4))

    assert len({bundle.hash for bundle in bundles}) == 1
    assert [path.name for path in (tmp_path / "store" / "bundles").iterdir()] == [bundles[0].hash]


@pytest.mark.parametrize("file", ["../secret.js", "/etc/passwd", "lib/../../secret.js", "linked.js", "missing.js"])
async def test_code_from_outside_is_refused(project: Path, store: BundleStore, tmp_path: Path, file: str) -> None:
    (tmp_path / "secret.js").write_text("export default 1")
    (project / "linked.js").symlink_to(tmp_path / "secret.js")

    with pytest.raises(DefinitionError, match="step 'parse'"):
        await store.build(integration_in(project, replace(FILE, file=file)))


def lock_of(**package: Any) -> str:
    packages = {"": {"dependencies": {"x": "1.0.0"}}, "node_modules/x": {"version": "1.0.0", **package}}
    return json.dumps({"lockfileVersion": 3, "packages": packages})


@pytest.mark.parametrize(
    ("package", "why"),
    [
        ({}, "no integrity"),
        ({"resolved": "git+ssh://git@host/x.git#1", "integrity": "sha512-x"}, "not from the npm registry"),
        ({"resolved": "https://host/x.tgz", "integrity": "sha512-x"}, "not from the npm registry"),
        ({"resolved": "file:../x", "integrity": "sha512-x"}, "not from the npm registry"),
        ({"link": True, "integrity": "sha512-x"}, "link to a folder"),
        ({"version": "file:../../x", "integrity": "sha512-x"}, "only versions of the npm registry"),
        ({"version": "git+ssh://git@host/x.git", "inBundle": True}, "only versions of the npm registry"),
    ],
)
def test_what_cannot_be_pinned_is_refused(tmp_path: Path, package: Mapping[str, Any], why: str) -> None:
    (tmp_path / "package-lock.json").write_text(lock_of(**package))

    with pytest.raises(DefinitionError, match=why):
        read_lockfile(tmp_path / "package-lock.json", "package-lock.json")


def test_a_manifest_that_the_lockfile_does_not_match_is_refused(tmp_path: Path) -> None:
    (tmp_path / "package-lock.json").write_text(lock_of(integrity="sha512-x"))
    (tmp_path / "package.json").write_text('{"dependencies": {"x": "2.0.0"}}')

    with pytest.raises(DefinitionError, match="npm install"):
        read_lockfile(tmp_path / "package-lock.json", "package-lock.json")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"lockfileVersion": 1, "packages": {}}', "not json"])
def test_what_is_no_lockfile_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "package-lock.json").write_text(text)

    with pytest.raises(DefinitionError):
        read_lockfile(tmp_path / "package-lock.json", "package-lock.json")


async def test_an_existing_layer_needs_no_npm(project: Path, store: BundleStore, tmp_path: Path) -> None:
    lock = lock_of(integrity="sha512-x")
    (project / "package-lock.json").write_text(lock)
    layer = read_lockfile(project / "package-lock.json", "package-lock.json").layer
    (tmp_path / "store" / "npm" / layer / "node_modules" / "x").mkdir(parents=True)

    bundle = await store.build(integration_in(project, FILE, code=CodeSettings(dependencies="package-lock.json")))

    assert (Path(bundle.code.directory) / "node_modules" / "x").is_dir()
