"""The contract of sandboxes that run Python, kept by jails; and what else a jail is for Python."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from turnout.interfaces.sandbox import Failure, Limits, Outcome, Success
from turnout.model.execution import LogLine
from turnout.testing.python_sandbox import PythonSandboxContract, python_bundle
from turnout.testing.sandbox import job
from turnout_ecs.jail.options import ChrootOptions
from turnout_ecs.jail.sandbox import ChrootSandbox


@pytest.fixture
async def sandbox(jail: Path) -> AsyncIterator[ChrootSandbox]:
    sandbox = ChrootSandbox(ChrootOptions(jail=jail, warm_floor=1))
    await sandbox.start()
    yield sandbox
    await sandbox.close()


class TestPythonInJails(PythonSandboxContract):
    @pytest.fixture
    async def sandbox(self, sandbox: ChrootSandbox) -> ChrootSandbox:
        return sandbox


async def run(sandbox: ChrootSandbox, bundle: Path, source: str, data: Any = None, **fields: Any) -> Outcome:
    handle = await sandbox.acquire("acme", python_bundle(bundle, source), Limits())
    try:
        return await handle.run(job("step.py", data, **fields))
    finally:
        await handle.release()


def value(outcome: Outcome) -> Any:
    assert isinstance(outcome, Success), outcome
    return json.loads(outcome.output.json)


@pytest.mark.parametrize(
    "attempt",
    [
        "open('/python/stdlib.pack', 'rb')",
        "open('/bundle/step.py')",
        "__import__('os').listdir('/')",
        "__import__('socket').socket()",
        "__import__('os').fork()",
        "__import__('os').kill(1, 9)",
        "__import__('os').execv('/python/bin/python', ['python'])",
        "__import__('os').posix_spawn('/python/bin/python', ['python'], {})",
        "__import__('os').setuid(0)",
        "__import__('os').mkdir('/new')",
        "__import__('mmap').mmap(-1, 4096, prot=7)",
        "__import__('_imp').create_dynamic(__import__('importlib.machinery').machinery.ModuleSpec('x', None, origin='/node'))",
        "__import__('ctypes')",
        "__import__('resource').setrlimit(8, (1, 1))",
    ],
)
async def test_a_way_out_is_closed(sandbox: ChrootSandbox, tmp_path: Path, attempt: str) -> None:
    outcome = await run(sandbox, tmp_path, f"def main(input, context):\n    {attempt}\n    return 'out'")

    assert isinstance(outcome, Failure), outcome
    assert outcome.kind in ("PermissionError", "ModuleNotFoundError", "ImportError", "OSError", "ValueError", "error")


async def test_the_process_is_as_it_is_to_be(sandbox: ChrootSandbox, tmp_path: Path) -> None:
    handle = await sandbox.acquire("acme", python_bundle(tmp_path, "def main(i, c): return 1"), Limits())
    await handle.run(job("step.py"))

    receipt = handle.receipt()
    await handle.release()

    assert receipt.uid >= 70_000
    assert {"chroot", "seccomp", "seal"} <= set(receipt.layers)


async def test_modules_packages_and_their_data_come_over_the_channel(sandbox: ChrootSandbox, tmp_path: Path) -> None:
    package = tmp_path / "layer" / "site-packages" / "loud"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("from .volume import up\n")
    (package / "volume.py").write_text(
        "from importlib.resources import files\ndef up(text): return text + files('loud').joinpath('mark.txt').read_text()\n"
    )
    (package / "mark.txt").write_text("!")
    bundle = tmp_path / "bundle"
    (bundle / "names" / "deep").mkdir(parents=True)
    (bundle / "names" / "deep" / "one.py").write_text("from ..two import x as y\n")
    (bundle / "names" / "two.py").write_text("x = 2\n")
    (bundle / "site-packages").symlink_to("../layer/site-packages")
    source = "import loud\nfrom names.deep.one import y\ndef main(i, c): return [loud.up('hey'), y]"

    assert value(await run(sandbox, bundle, source)) == ["hey!", 2]


async def test_an_exception_in_a_module_of_the_bundle_shows_its_frame(sandbox: ChrootSandbox, tmp_path: Path) -> None:
    (tmp_path / "near.py").write_text("def fall():\n    raise ValueError('down')\n")

    outcome = await run(sandbox, tmp_path, "import near, json\ndef main(i, c): json.loads('1'); near.fall()")

    assert isinstance(outcome, Failure)
    assert outcome.stack.splitlines() == [
        "ValueError: down",
        "    at fall (near.py:2:5)",
        "    at main (step.py:2:34)",
    ]


async def test_threads_and_the_event_loop_work(sandbox: ChrootSandbox, tmp_path: Path) -> None:
    source = """import asyncio
from concurrent.futures import ThreadPoolExecutor
def twice(n): return 2 * n
async def main(input, context):
    with ThreadPoolExecutor(4) as pool:
        pooled = list(pool.map(twice, range(3)))
    threaded = await asyncio.to_thread(twice, 21)
    return [pooled, threaded, *await asyncio.gather(asyncio.sleep(0.01, 'a'), asyncio.sleep(0, 'b'))]
"""

    assert value(await run(sandbox, tmp_path, source)) == [[0, 2, 4], 42, "a", "b"]


COMMON: Sequence[str] = (
    *("abc", "argparse", "base64", "bisect", "calendar", "collections", "configparser", "contextlib", "copy", "csv"),
    *("dataclasses", "datetime", "decimal", "difflib", "email.message", "enum", "fractions", "functools", "gzip"),
    *(
        "hashlib",
        "heapq",
        "hmac",
        "html.parser",
        "http.client",
        "inspect",
        "io",
        "itertools",
        "json",
        "locale",
        "logging",
    ),
    *(
        "math",
        "operator",
        "os",
        "pathlib",
        "pickle",
        "pprint",
        "queue",
        "random",
        "re",
        "secrets",
        "shutil",
        "statistics",
    ),
    *("string", "struct", "tarfile", "tempfile", "textwrap", "threading", "time", "traceback", "types", "typing"),
    *("unicodedata", "urllib.parse", "urllib.request", "uuid", "warnings", "weakref", "xml.dom.minidom", "xml.sax"),
    *("xml.etree.ElementTree", "zipfile", "zlib", "zoneinfo", "bz2", "lzma", "ast", "cmath", "array", "asyncio"),
)


async def test_the_standard_library_is_there(sandbox: ChrootSandbox, tmp_path: Path) -> None:
    source = """import importlib
def main(names, context):
    missing = []
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:
            missing.append(f'{name}: {error!r}')
    import hashlib, uuid, datetime, decimal
    assert len(hashlib.sha256(b'x').hexdigest()) == 64
    uuid.uuid4(), datetime.datetime.now(), decimal.Decimal('1.1') + 1
    return missing
"""

    assert value(await run(sandbox, tmp_path, source, list(COMMON))) == []


async def test_nothing_is_said_that_the_code_did_not_say(sandbox: ChrootSandbox, tmp_path: Path) -> None:
    lines: list[LogLine] = []

    await run(sandbox, tmp_path, "def main(i, c): print('this')", log=lines.append)

    assert [line.message for line in lines] == ["this"]


COUNTING = """import neighbour, builtins
neighbour.count += 1
def main(start, context):
    if start: __import__('threading').Thread(target=__import__('time').sleep, args=(60,)).start()
    builtins.runs = getattr(builtins, 'runs', 0) + 1
    return [neighbour.count, builtins.runs]
"""


@pytest.mark.parametrize(("start", "seen"), [(False, [[1, 1], [1, 2], [1, 3]]), (True, [[1, 1]] * 3)])
async def test_a_process_that_is_used_again_has_fresh_modules_and_nothing_that_runs(
    jail: Path, tmp_path: Path, *, start: bool, seen: object
) -> None:
    sandbox = ChrootSandbox(ChrootOptions(jail=jail, warm_floor=0, max_processes=1, reuse="tenant"))
    await sandbox.start()
    (tmp_path / "neighbour.py").write_text("count = 0")

    values = [value(await run(sandbox, tmp_path, COUNTING, start)) for _ in range(3)]
    await sandbox.close()

    assert values == seen
