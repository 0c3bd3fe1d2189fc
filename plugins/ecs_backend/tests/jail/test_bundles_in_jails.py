"""Customers' code in a jail, where nothing can be opened: popular packages, data of the bundle, questions to the system."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from turnout.interfaces.sandbox import CodeBundle, Failure, Limits, Success
from turnout.testing.sandbox import bundle_of, job
from turnout_ecs.jail.options import ChrootOptions
from turnout_ecs.jail.sandbox import ChrootSandbox

from core.tests.sandbox.npm_packages import PACKAGES, bundle_with, installed


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return asyncio.run(installed(tmp_path_factory.mktemp("npm")))


@pytest.fixture
async def sandbox(jail: Path) -> AsyncIterator[ChrootSandbox]:
    sandbox = ChrootSandbox(ChrootOptions(jail=jail))
    await sandbox.start()
    yield sandbox
    await sandbox.close()


async def output_of(sandbox: ChrootSandbox, bundle: CodeBundle) -> object:
    handle = await sandbox.acquire("acme", bundle, Limits())
    try:
        outcome = await handle.run(job("step.js"))
    finally:
        await handle.release()
    assert isinstance(outcome, Success), outcome
    return json.loads(outcome.output.json)


@pytest.mark.parametrize("package", PACKAGES)
async def test_a_package_works_in_a_jail(sandbox: ChrootSandbox, layer: Path, tmp_path: Path, package: str) -> None:
    source, expected = PACKAGES[package]

    assert await output_of(sandbox, bundle_with(layer, tmp_path, source, mapped=True)) == expected


DATA = """
import fs from 'node:fs'
const tried = (action) => { try { return action() } catch (error) { return error.code } }
export default async () => [
  fs.readFileSync('data.txt', 'utf8'), (await fs.promises.readdir('/bundle')).length,
  tried(() => fs.writeFileSync('data.txt', '')), tried(() => fs.readFileSync('/node')), fs.existsSync('/etc/hostname'),
]
"""


async def test_the_bundles_data_is_there_and_nothing_else(sandbox: ChrootSandbox, tmp_path: Path) -> None:
    (tmp_path / "data.txt").write_text("data")

    assert await output_of(sandbox, bundle_of(tmp_path, {"step.js": DATA})) == ["data", 3, "EROFS", "EPERM", False]


SYSTEM = """
import os from 'node:os'
export default () => {
  const thrown = []
  for (const name of Object.keys(os)) {
    if (typeof os[name] !== 'function' || name === 'setPriority') continue
    try { os[name]() } catch (error) { thrown.push(name) }
  }
  const { rss, heapUsed } = process.memoryUsage()
  return [thrown, rss > heapUsed, process.memoryUsage.rss() > 0, process.cwd(), process.resourceUsage().maxRSS > 0]
}
"""


async def test_no_question_to_the_system_throws(sandbox: ChrootSandbox, tmp_path: Path) -> None:
    assert await output_of(sandbox, bundle_of(tmp_path, {"step.js": SYSTEM})) == [[], True, True, "/bundle", True]


async def test_source_that_cannot_be_compiled_is_found_in_the_jail(sandbox: ChrootSandbox, tmp_path: Path) -> None:
    sources = {"step.js": "import './near.js'", "near.js": "import './wrong.cjs'", "wrong.cjs": "a\nb c"}
    handle = await sandbox.acquire("acme", bundle_of(tmp_path, sources), Limits())

    outcome = await handle.run(job("step.js"))
    await handle.release()

    assert isinstance(outcome, Failure)
    assert outcome.message == "step.js cannot be loaded: SyntaxError: Unexpected identifier 'c' (wrong.cjs:2)"
