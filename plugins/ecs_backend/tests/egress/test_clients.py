"""The clients that customers' code uses work through the broker, in the clear and by TLS."""

from __future__ import annotations

from pathlib import Path

import pytest

from .node_side import Network, run_code

GET = {
    "fetch": "answer = await (await fetch(base.SCHEME + '/echo?a=1', { headers: { 'x-mine': 'yes' } })).json()",
    "node:http(s), imported": """
        const { get } = await import('node:SCHEME')
        answer = await new Promise((done, failed) => get(base.SCHEME + '/echo?a=1', { headers: { 'x-mine': 'yes' } }, (res) => {
          let text = ''; res.setEncoding('utf8'); res.on('data', (d) => { text += d }); res.on('end', () => done(JSON.parse(text)))
        }).on('error', failed))""",
    "node:http(s), required": """
        const web = require('SCHEME')
        answer = await new Promise((done, failed) => {
          const options = { host: 'api.turnout.test', port: ports.SCHEME, path: '/echo?a=1', headers: { 'x-mine': 'yes' } }
          const req = web.request(options, async (res) => {
            const pieces = []; for await (const piece of res) pieces.push(piece); done(JSON.parse(Buffer.concat(pieces)))
          })
          req.on('error', failed); req.end()
        })""",
    "process.getBuiltinModule": """
        const web = process.getBuiltinModule('node:SCHEME')
        answer = await new Promise((done, failed) => web.get(base.SCHEME + '/echo?a=1', { headers: { 'x-mine': 'yes' } },
          async (res) => done(JSON.parse(Buffer.concat(await res.toArray())))).on('error', failed))""",
    "axios": """
        const axios = (await import('axios')).default
        answer = (await axios.get(base.SCHEME + '/echo?a=1', { headers: { 'x-mine': 'yes' } })).data""",
    "axios, required": """
        answer = (await require('axios').get(base.SCHEME + '/echo?a=1', { headers: { 'x-mine': 'yes' } })).data""",
    "got": """
        const got = (await import('got')).default
        answer = await got(base.SCHEME + '/echo?a=1', { headers: { 'x-mine': 'yes' } }).json()""",
    "got, of HTTP/2 where it can": """
        const got = (await import('got')).default
        answer = await got(base.SCHEME + '/echo?a=1', { headers: { 'x-mine': 'yes' }, http2: true }).json()""",
    "undici": """
        const { request } = await import('undici')
        answer = await (await request(base.SCHEME + '/echo?a=1', { headers: { 'x-mine': 'yes' } })).body.json()""",
    "undici's fetch": """
        const { fetch } = await import('undici')
        answer = await (await fetch(base.SCHEME + '/echo?a=1', { headers: { 'x-mine': 'yes' } })).json()""",
    "node-fetch": """
        const nodeFetch = (await import('node-fetch')).default
        answer = await (await nodeFetch(base.SCHEME + '/echo?a=1', { headers: { 'x-mine': 'yes' } })).json()""",
}


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("client", GET)
async def test_a_client_gets_an_answer(network: Network, npm_layer: Path, client: str, scheme: str) -> None:
    answer = await run_code(network, GET[client].replace("SCHEME", scheme), cwd=npm_layer)

    assert (answer["method"], answer["target"]) == ("GET", "/echo?a=1")
    assert ["x-mine", "yes"] in answer["headers"]
    (exchange,) = network.exchanges
    assert (exchange.method, exchange.path, exchange.status, exchange.tls) == ("GET", "/echo", 200, scheme == "https")
    assert exchange.port == getattr(network.origin, scheme)


POST = {
    "fetch": "answer = await (await fetch(base.SCHEME + '/echo', { method: 'POST', body: JSON.stringify({ a: 'é' }) })).json()",
    "fetch, streaming": """
        const body = new ReadableStream({ start(c) { c.enqueue(new TextEncoder().encode('{"a":')); c.enqueue(new TextEncoder().encode('"é"}')); c.close() } })
        answer = await (await fetch(base.SCHEME + '/echo', { method: 'POST', body, duplex: 'half' })).json()""",
    "axios": """
        const axios = (await import('axios')).default
        answer = (await axios.post(base.SCHEME + '/echo', { a: 'é' })).data""",
    "got": """
        const got = (await import('got')).default
        answer = await got.post(base.SCHEME + '/echo', { json: { a: 'é' } }).json()""",
    "node-fetch": """
        const nodeFetch = (await import('node-fetch')).default
        answer = await (await nodeFetch(base.SCHEME + '/echo', { method: 'POST', body: '{"a":"é"}' })).json()""",
    "node:http(s), in pieces, having asked": """
        const web = require('SCHEME')
        answer = await new Promise((done, failed) => {
          const headers = { expect: '100-continue' }
          const req = web.request(base.SCHEME + '/echo', { method: 'POST', headers }, async (res) => done(JSON.parse(Buffer.concat(await res.toArray()))))
          req.on('error', failed); req.on('continue', () => { req.write('{"a":'); req.end('"é"}') })
        })""",
}


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("client", POST)
async def test_a_client_sends_a_body(network: Network, npm_layer: Path, client: str, scheme: str) -> None:
    answer = await run_code(network, POST[client].replace("SCHEME", scheme), cwd=npm_layer)

    assert answer["body"].encode("latin-1").decode() == '{"a":"é"}'
    (exchange,) = network.exchanges
    assert exchange.sent_bytes == len('{"a":"é"}'.encode())


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_the_aws_sdk_puts_and_gets_an_object(network: Network, npm_layer: Path, scheme: str) -> None:
    code = """
        const { S3Client, PutObjectCommand, GetObjectCommand } = await import('@aws-sdk/client-s3')
        const client = new S3Client({ region: 'eu-west-1', endpoint: base.SCHEME, forcePathStyle: true,
          credentials: { accessKeyId: 'a', secretAccessKey: 'b' }, requestChecksumCalculation: 'WHEN_REQUIRED' })
        const put = await client.send(new PutObjectCommand({ Bucket: 'bucket', Key: 'key', Body: 'x'.repeat(3000000) }))
        const got = await client.send(new GetObjectCommand({ Bucket: 'bucket', Key: 'key' }))
        answer = [put.ETag, (await got.Body.transformToString()).length]"""

    assert await run_code(network, code.replace("SCHEME", scheme), cwd=npm_layer) == ['"e"', 3_000_000]


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_stripes_sdk_creates_a_customer(network: Network, npm_layer: Path, scheme: str) -> None:
    code = """
        const Stripe = (await import('stripe')).default
        const stripe = new Stripe('sk_test_1', { host: 'api.turnout.test', port: ports.SCHEME, protocol: 'SCHEME' })
        answer = (await stripe.customers.create({ email: 'a@example.com' })).id"""

    assert await run_code(network, code.replace("SCHEME", scheme), cwd=npm_layer) == "cus_1"
    assert network.origin.seen[0].body == b"email=a%40example.com"
