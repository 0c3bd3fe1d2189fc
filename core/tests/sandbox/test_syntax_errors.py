"""Source that cannot be compiled is found by the process that tried: the error names its file and line."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from turnout.interfaces.sandbox import CodeBundle, Failure, Limits, Sandbox
from turnout.local.process_sandbox import ProcessSandbox
from turnout.sandbox.conversation import Conversation
from turnout.sandbox.frames import FrameType
from turnout.testing.sandbox import bundle_of, job

from .test_forged_results import Forger
from .virtual_sandbox import VirtualSandbox

WRONG = "export const a = 1\nexport const b = ("
CASES: dict[str, tuple[dict[str, str], str]] = {
    "the entry": ({"step.js": "const x = 1\nexport default () => {"}, "step.js:2"),
    "a neighbour": ({"step.js": "import './wrong.js'", "wrong.js": WRONG}, "wrong.js:2"),
    "a neighbour's neighbour in a folder": (
        {"step.js": "import './near.js'", "near.js": "\nimport './deep/wrong.mjs'", "deep/wrong.mjs": WRONG},
        "deep/wrong.mjs:2",
    ),
    "CommonJS": ({"step.cjs": "const x = 1\nmodule.exports = () => {"}, "step.cjs:2"),
    "CommonJS that CommonJS requires": ({"step.cjs": "require('./wrong.cjs')", "wrong.cjs": "a\nb c"}, "wrong.cjs:2"),
    "CommonJS that a module imports": ({"step.js": "import './wrong.cjs'", "wrong.cjs": "a\nb c"}, "wrong.cjs:2"),
    "a module that CommonJS requires": ({"step.cjs": "require('./wrong.mjs')", "wrong.mjs": WRONG}, "wrong.mjs:2"),
    "a dynamic import": ({"step.js": "await import('./wrong.js')", "wrong.js": WRONG}, "wrong.js:2"),
    "a line of 200 KB": ({"step.js": "import './wrong.js'", "wrong.js": f"\n[{'{},' * 70_000}] x"}, "wrong.js:2"),
    "a name that is not exported": ({"step.js": "\nimport { x } from './y.js'", "y.js": ""}, "step.js:2"),
    "code in the definition": (
        {
            "step.js": "const a = 1\nexport default () => {",
            ".bundle.json": '{"inline":{"step.js":{"file":"integration.yaml","line":10,"column":5}}}',
        },
        "integration.yaml:11",
    ),
    "a package": (
        {
            "step.js": "import 'p'",
            "node_modules/p/package.json": '{"type":"module","main":"i.js"}',
            "node_modules/p/i.js": WRONG,
        },
        "",
    ),
    "an error that the code made": ({"step.js": "throw Object.freeze(new SyntaxError('mine'))"}, ""),
}


@pytest.fixture(params=[ProcessSandbox, VirtualSandbox])
async def sandbox(request: pytest.FixtureRequest) -> AsyncIterator[Sandbox]:
    sandbox = request.param(warm_floor=1)
    yield sandbox
    await sandbox.close()


@pytest.mark.parametrize("case", CASES)
async def test_the_place_is_named(sandbox: Sandbox, tmp_path: Path, case: str) -> None:
    files, place = CASES[case]
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    bundle = replace(bundle_of(tmp_path, files), modules=())
    module = next(iter(files))
    handle = await sandbox.acquire("acme", bundle, Limits())

    outcomes = [await handle.run(job(module)) for _ in range(2)]
    await handle.release()

    for outcome in outcomes:
        assert isinstance(outcome, Failure), outcome
        assert outcome.kind == "import"
        assert outcome.message.startswith(f"{module} cannot be loaded: SyntaxError: ")
        assert outcome.message.endswith(f" ({place})") if place else "(" not in outcome.message
        assert not place or outcome.stack.endswith(f"\n    at {place}")
        assert str(tmp_path) not in outcome.message + outcome.stack


@pytest.mark.parametrize("place", ["/etc/passwd:1", f"/bundle/step.js:{'9' * 5000}", "/:1"])
async def test_a_place_that_is_made_up_is_no_more_than_text(place: str) -> None:
    error = {"name": "SyntaxError", "message": "no", "stack": f"file://{place}\nSyntaxError: no"}
    report = {"kind": "import", "message": "", "last": False, "network": False, "error": error}
    forger: Any = Forger(b"", kind=FrameType.ERROR, meta=json.dumps(report).encode())

    outcome = await Conversation(forger, CodeBundle(hash="h", directory="/b"), job("step.js"), mapped=False).run()

    assert isinstance(outcome, Failure)
    assert (outcome.message, outcome.stack) == ("step.js cannot be loaded: SyntaxError: no", "SyntaxError: no")
