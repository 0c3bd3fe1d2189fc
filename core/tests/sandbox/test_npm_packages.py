"""Popular packages load from a bundle without files, do something, and give what they give from disk."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from turnout.errors import BackendError
from turnout.interfaces.sandbox import CodeBundle
from turnout.local.npm import install, read_lockfile
from turnout.local.process_sandbox import ProcessSandbox
from turnout.sandbox.module_map import MAP_FILE, survey
from turnout.sandbox.node import environment, node_binary

from .test_module_map import outcome_of, told
from .virtual_sandbox import VirtualSandbox

HERE = Path(__file__).parent
RESOLVER = HERE.parents[1] / "src" / "turnout" / "sandbox" / "bootstrap" / "resolve.cjs"
REQUIRE = "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);"
MOCK = "const agent = new MockAgent(); agent.disableNetConnect()"
S3_CLIENT = """const client = new S3Client({
  region: 'eu-west-1', endpoint: 'https://s3.example', credentials: { accessKeyId: 'a', secretAccessKey: 'b' },
  requestHandler: { handle: async () => ({ response: { statusCode: 200, headers: { etag: '"e"' } } }) } })"""
PACKAGES = {
    "fast-xml-parser": (
        "import { XMLParser } from 'fast-xml-parser'; export default () => new XMLParser().parse('<a><b>1</b></a>')",
        {"a": {"b": 1}},
    ),
    "axios": (
        """import axios, { AxiosError } from 'axios'
        const adapter = async (config) => ({ data: { url: config.url }, status: 200, statusText: '', headers: {}, config })
        export default async () => [(await axios.get('https://h.example/', { adapter })).data, new AxiosError('x', 'C').code]""",
        [{"url": "https://h.example/"}, "C"],
    ),
    "axios, required": (
        f"{REQUIRE} export default () => require('axios').default.getUri({{ url: '/a', params: {{ b: 1 }} }})",
        "/a?b=1",
    ),
    "got": (
        "import got, { HTTPError } from 'got'; export default () => [got.extend({ prefixUrl: 'https://h.example' }).defaults.options.prefixUrl, HTTPError.name]",
        ["https://h.example/", "HTTPError"],
    ),
    "undici": (
        f"""import {{ MockAgent, fetch }} from 'undici'
        export default async () => {{
          {MOCK}
          agent.get('https://h.example').intercept({{ path: '/' }}).reply(200, {{ ok: true }})
          return (await fetch('https://h.example/', {{ dispatcher: agent }})).json()
        }}""",
        {"ok": True},
    ),
    "node-fetch": (
        """import fetch, { Headers, Response } from 'node-fetch'
        export default async () => [new Headers({ a: '1' }).get('a'), await (await fetch('data:text/plain,hi')).text()]""",
        ["1", "hi"],
    ),
    "stripe": (
        """import Stripe from 'stripe'
        const stripe = new Stripe('sk_test_1')
        const sign = { payload: '{"id":"evt_1"}', secret: 'whsec_x' }
        export default () => {
          const header = stripe.webhooks.generateTestHeaderString(sign)
          return [typeof stripe.charges.create, stripe.webhooks.constructEvent(sign.payload, header, sign.secret).id]
        }""",
        ["function", "evt_1"],
    ),
    "@aws-sdk/client-s3": (
        f"""import {{ PutObjectCommand, S3Client }} from '@aws-sdk/client-s3'
        {S3_CLIENT}
        export default async () => (await client.send(new PutObjectCommand({{ Bucket: 'b', Key: 'k', Body: 'x' }}))).ETag""",
        '"e"',
    ),
    "@aws-sdk/client-s3, required": (
        f"{REQUIRE} const {{ S3Client }} = require('@aws-sdk/client-s3'); {S3_CLIENT}; export default () => client.config.region()",
        "eu-west-1",
    ),
    "lodash": (
        """import _ from 'lodash'; import fp from 'lodash/fp.js'; import chunk from 'lodash/chunk.js'
        export default () => [chunk([1, 2, 3], 2), _.camelCase('a b'), fp.map((x) => x + 1)([1])]""",
        [[[1, 2], [3]], "aB", [2]],
    ),
    "date-fns": (
        """import { addDays, format } from 'date-fns'; import { de } from 'date-fns/locale'
        export default () => [format(addDays(new Date(0), 1), 'yyyy-MM-dd'), format(new Date(0), 'MMMM', { locale: de })]""",
        ["1970-01-02", "Januar"],
    ),
    "csv-parse": (
        """import { parse } from 'csv-parse'; import { parse as sync } from 'csv-parse/sync'
        export default async () => {
          const rows = []
          for await (const row of parse('a,b\\n1,2')) rows.push(row)
          return [rows, sync('x;y', { delimiter: ';' })]
        }""",
        [[["a", "b"], ["1", "2"]], [["x", "y"]]],
    ),
}


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lock = read_lockfile(HERE / "packages" / "package-lock.json", "package-lock.json")
    try:
        return asyncio.run(install(lock, tmp_path_factory.mktemp("npm")))
    except BackendError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"the packages cannot be installed: {error}")


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
    (tmp_path / "package.json").write_text('{"type":"module"}')
    (tmp_path / "step.js").write_text(source)
    (tmp_path / "node_modules").symlink_to(layer / "node_modules")
    if mapped and (content := survey(tmp_path, ["step.js"])):
        (tmp_path / MAP_FILE).write_bytes(content)
    bundle = CodeBundle(hash=tmp_path.name, directory=str(tmp_path), modules=("step.js",))

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
