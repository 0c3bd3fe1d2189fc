"""Data in a bundle without files is read as from disk, cannot be changed, and is all that there is to read."""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from turnout.interfaces.sandbox import CodeBundle
from turnout.local.process_sandbox import ProcessSandbox
from turnout.sandbox.node import environment, node_binary
from turnout.testing.sandbox import bundle_of

from .test_module_map import outcome_of, told
from .virtual_sandbox import VirtualSandbox

HERE = Path(__file__).parent
MACHINE = HERE.parents[1] / "src" / "turnout" / "sandbox" / "bootstrap" / "machine.cjs"
DATA = {
    "data.txt": "hello",
    "long.bin": "x" * 300_000,
    "deep/near.txt": "near",
    "deep/far/file.txt": "far",
}


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


def bundle_in(directory: Path) -> CodeBundle:
    for name, content in DATA.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(content)
    return bundle_of(directory, {"step.js": (HERE / "javascript" / "reads.mjs").read_text()})


async def test_data_is_read_as_from_disk(virtual: VirtualSandbox, plain: ProcessSandbox, tmp_path: Path) -> None:
    bundle = bundle_in(tmp_path)

    from_channel = told(await outcome_of(virtual, bundle))
    from_disk = told(await outcome_of(plain, bundle))

    assert isinstance(from_disk, dict)
    assert len(from_disk) > 35
    assert from_disk["text"] == "hello"
    assert from_disk["streamed"] == "ell"
    assert sorted_by_name(from_channel, "/bundle") == sorted_by_name(from_disk, str(tmp_path))


def sorted_by_name(found: object, directory: str) -> Any:
    text = json.dumps(found, sort_keys=True)
    return json.loads(text.replace(f"{directory}/", "/code/").replace(f'"{directory}"', '"/code"'))


WRITES = """
import fs from 'node:fs'
const tried = (action) => { try { action(); return 'done' } catch (error) { return error.code } }
export default () => [
  tried(() => fs.writeFileSync('data.txt', 'x')), tried(() => fs.appendFileSync(import.meta.dirname + '/data.txt', 'x')),
  tried(() => fs.openSync('data.txt', 'r+')), tried(() => fs.accessSync('data.txt', fs.constants.W_OK)),
  tried(() => fs.unlinkSync(import.meta.dirname + '/data.txt')), tried(() => fs.mkdirSync(import.meta.dirname + '/new')),
  tried(() => fs.copyFileSync('data.txt', 'copy.txt')), tried(() => fs.renameSync('data.txt', '/elsewhere')),
  fs.readFileSync('data.txt', 'utf8'),
]
"""


async def test_data_cannot_be_changed(virtual: VirtualSandbox, tmp_path: Path) -> None:
    (tmp_path / "data.txt").write_text("hello")

    outcome = told(await outcome_of(virtual, bundle_of(tmp_path, {"step.js": WRITES})))

    assert outcome == ["EROFS"] * 8 + ["hello"]
    assert (tmp_path / "data.txt").read_text() == "hello"


async def test_control_a_process_with_files_changes_them(plain: ProcessSandbox, tmp_path: Path) -> None:
    (tmp_path / "data.txt").write_text("hello")
    source = "import fs from 'node:fs'; export default () => fs.writeFileSync('data.txt', 'x')"

    assert told(await outcome_of(plain, bundle_of(tmp_path, {"step.js": source}))) is None
    assert (tmp_path / "data.txt").read_text() == "x"


SYSTEM = f"""
const os = require('os')
const refused = () => {{ throw Object.assign(new Error('no /proc'), {{ code: 'ERR_SYSTEM_ERROR', errno: -2 }}) }}
for (const name in os) if (typeof os[name] === 'function') os[name] = refused
process.memoryUsage = refused
process.memoryUsage.rss = refused
if (process.argv[2] === 'covered') {{
  const machine = require({json.dumps(str(MACHINE))})
  machine.enter('/somewhere')
  machine.install()
  machine.knowOs()
}}
const names = ['cpus', 'freemem', 'homedir', 'hostname', 'loadavg', 'networkInterfaces', 'release', 'totalmem', 'uptime', 'userInfo']
for (const name of names) os[name]()
const usage = process.memoryUsage()
console.log(JSON.stringify([usage.rss > 1e6, usage.heapUsed > 1e5, process.memoryUsage.rss() > 1e6, process.cwd()]))
"""


@pytest.mark.parametrize(("covered", "said"), [(True, '[true,true,true,"/somewhere"]\n'), (False, "")])
def test_what_the_system_refuses_to_tell_does_not_throw(tmp_path: Path, covered: bool, said: str) -> None:
    (tmp_path / "system.cjs").write_text(SYSTEM)
    argument = ["covered"] if covered else []

    done = subprocess.run(
        [node_binary(), str(tmp_path / "system.cjs"), *argument],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.stdout, done.returncode) == (said, 0 if covered else 1)
