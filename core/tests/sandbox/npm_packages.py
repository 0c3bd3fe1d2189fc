"""Popular packages and what a step does with them: `packages/` pins them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from turnout.errors import BackendError
from turnout.interfaces.sandbox import CodeBundle
from turnout.local.npm import install, read_lockfile
from turnout.sandbox.module_map import MAP_FILE, survey

__all__ = ["PACKAGES", "bundle_with", "installed"]

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


async def installed(directory: Path) -> Path:
    """The layer with all of them, in a folder below `directory`."""
    lock = read_lockfile(Path(__file__).parent / "packages" / "package-lock.json", "package-lock.json")
    try:
        return await install(lock, directory)
    except BackendError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"the packages cannot be installed: {error}")


def bundle_with(layer: Path, directory: Path, source: str, *, mapped: bool) -> CodeBundle:
    """A bundle of one step that may import what is in the layer."""
    (directory / "package.json").write_text('{"type":"module"}')
    (directory / "step.js").write_text(source)
    (directory / "node_modules").symlink_to(layer / "node_modules")
    if mapped and (content := survey(directory, ["step.js"])):
        (directory / MAP_FILE).write_bytes(content)
    return CodeBundle(hash=str(directory), directory=str(directory), modules=("step.js",))
