"""What code finds in the place of Node's network: connections that behave as Node's do, as far as there can be any."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from turnout.sandbox.node import node_binary

from .node_side import BOOTSTRAP, Network, run_code
from .origin import NAME

MEGABYTES = 60


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_large_answer_passes_without_being_held(network: Network, tmp_path: Path, scheme: str) -> None:
    code = f"""
        const res = await fetch(base.{scheme} + '/big?bytes={MEGABYTES * 1024 * 1024}')
        let total = 0; let most = 0
        for await (const piece of res.body) {{ total += piece.length; most = Math.max(most, process.memoryUsage().rss) }}
        answer = [total, most]"""
    total, most = await run_code(network, code, cwd=tmp_path)

    assert total == MEGABYTES * 1024 * 1024 == network.exchanges[0].received_bytes
    assert most < 200 * 1024 * 1024


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_large_body_is_sent(network: Network, tmp_path: Path, scheme: str) -> None:
    code = f"""
        const body = Buffer.alloc(5_000_000, 'abcdefg')
        const one = await (await fetch(base.{scheme} + '/echo', {{ method: 'POST', body }})).json()
        const {{ request }} = await import('node:{scheme}')
        const two = await new Promise((done, failed) => {{
          const req = request(base.{scheme} + '/echo', {{ method: 'PUT' }}, async (res) => done(JSON.parse(Buffer.concat(await res.toArray()))))
          req.on('error', failed)
          for (let at = 0; at < 50; at++) req.write(body.subarray(0, 100_000))
          req.end()
        }})
        answer = [one.length, two.length]"""

    assert await run_code(network, code, cwd=tmp_path) == [5_000_000, 5_000_000]
    assert network.origin.seen[0].body == (b"abcdefg" * 714_286)[:5_000_000]


async def test_a_compressed_answer_arrives_as_it_is(network: Network, npm_layer: Path) -> None:
    code = """
        const { get } = await import('node:http')
        const raw = await new Promise((done) => get(base.http + '/gzip', async (res) => done([res.headers['content-encoding'], Buffer.concat(await res.toArray()).length])))
        const axios = (await import('axios')).default
        answer = [raw, (await (await fetch(base.https + '/gzip')).text()).length, (await axios.get(base.http + '/gzip')).data.length]"""
    raw, by_fetch, by_axios = await run_code(network, code, cwd=npm_layer)

    assert raw[0] == "gzip"
    assert raw[1] < 1000
    assert by_fetch == by_axios == 11_000


async def test_redirects_are_the_clients_and_checked_each(network: Network, npm_layer: Path) -> None:
    code = """
        const follow = async (to) => {
          try { return (await fetch(base.http + '/redirect?to=' + encodeURIComponent(to))).status } catch (error) { return error.cause.code }
        }
        const axios = (await import('axios')).default
        answer = [
          await follow(base.https + '/v1/x'), await follow('http://169.254.169.254/latest/'), await follow('http://other.example/'),
          await axios.get(base.http + '/redirect?to=' + encodeURIComponent('http://127.0.0.1:1/')).catch((error) => error.code),
          (await fetch(base.http + '/redirect?to=/v1/x', { redirect: 'manual' })).status,
        ]"""

    assert await run_code(network, code, cwd=npm_layer) == [200, "EACCES", "EACCES", "EACCES", 302]


async def test_a_refusal_says_what_to_add_where(network: Network, tmp_path: Path) -> None:
    code = """
        const http = await import('node:http')
        const [one, two] = [
          await fetch('https://api.example.com/').catch((error) => error.cause),
          await new Promise((done) => http.get('http://api.example.com:8080/', () => done()).on('error', done)),
        ]
        answer = [one, two].map((error) => [error instanceof Error, error.code, error.message])"""
    message = "{0} is not among this integration's hosts: add it to `code: {{hosts: [{0}]}}`"

    assert await run_code(network, code, cwd=tmp_path) == [
        [True, "EACCES", message.format("api.example.com")],
        [True, "EACCES", message.format("api.example.com:8080")],
    ]


async def test_requests_are_given_up(network: Network, npm_layer: Path) -> None:
    code = """
        const axios = (await import('axios')).default
        const got = (await import('got')).default
        const { request } = await import('node:https')
        const name = (error) => error.code ?? error.name
        const controller = new AbortController()
        setTimeout(() => controller.abort(), 20)
        answer = [
          await fetch(base.http + '/slow', { signal: controller.signal }).catch((error) => error.name),
          await fetch(base.https + '/slow', { signal: AbortSignal.timeout(20) }).catch((error) => error.name),
          await axios.get(base.http + '/slow', { timeout: 20 }).catch(name),
          await got(base.https + '/slow', { timeout: { request: 20 }, retry: { limit: 0 } }).catch(name),
          await new Promise((done) => { const req = request(base.https + '/slow', { timeout: 20 }); req.on('timeout', () => req.destroy()); req.on('error', (error) => done(name(error))); req.end() }),
        ]"""

    assert await run_code(network, code, cwd=npm_layer) == [
        "AbortError",
        "TimeoutError",
        "ECONNABORTED",
        "ETIMEDOUT",
        "ECONNRESET",
    ]
    assert {exchange.refusal for exchange in network.exchanges} == {"the code closed the connection"}


async def test_a_server_that_does_not_answer_in_time_is_an_error(network: Network, tmp_path: Path) -> None:
    network.limits = replace(network.limits, first_byte_s=0.05)
    code = "answer = await fetch(base.http + '/slow').catch((error) => [error.cause.code, error.cause.message])"
    code_, message = await run_code(network, code, cwd=tmp_path)

    assert code_ == "ETIMEDOUT"
    assert "did not answer within 0.05 s" in message


async def test_many_requests_at_a_time(network: Network, tmp_path: Path) -> None:
    code = """
        const one = async (number) => (await (await fetch(base[number % 2 ? 'http' : 'https'] + '/echo?n=' + number)).json()).target
        answer = await Promise.all(Array.from({ length: 100 }, (_, number) => one(number)))"""

    assert await run_code(network, code, cwd=tmp_path) == [f"/echo?n={number}" for number in range(100)]
    assert network.origin.connections <= 100


@pytest.mark.parametrize("client", ["fetch", "agent"])
async def test_connections_are_kept_for_the_next_request(network: Network, tmp_path: Path, client: str) -> None:
    code = """
        const https = await import('node:https')
        const agent = new https.Agent({ keepAlive: true })
        const clients = {
          fetch: async () => (await fetch(base.https + '/v1/x')).text(),
          agent: () => new Promise((done, failed) => https.get(base.https + '/v1/x', { agent }, async (res) => done(await res.toArray())).on('error', failed)),
        }
        for (let at = 0; at < 10; at++) await clients.CLIENT()"""
    await run_code(network, code.replace("CLIENT", client), cwd=tmp_path)

    assert [exchange.status for exchange in network.exchanges] == [200] * 10
    assert network.origin.connections == 1


async def test_a_server_that_hangs_up_between_requests_is_not_noticed(network: Network, tmp_path: Path) -> None:
    network.origin.close_after_answer = True
    await run_code(
        network, "for (let at = 0; at < 10; at++) await (await fetch(base.http + '/v1/x')).text()", cwd=tmp_path
    )

    assert [exchange.status for exchange in network.exchanges] == [200] * 10


async def test_what_there_is_not_says_so(network: Network, npm_layer: Path) -> None:
    code = """
        const net = require('net'); const tls = require('tls'); const http2 = require('http2')
        const failed = (socket) => new Promise((done) => { socket.on('error', (error) => done([error.code, error.message])) })
        const thrown = (call) => { try { call() } catch (error) { return [error.code, error.message] } }
        const websocket = new WebSocket('ws://api.turnout.test:' + ports.http)
        const redis = net.connect(ports.http, 'api.turnout.test'); redis.write('PING\\r\\n\\r\\n')
        const tunnel = require('http').request({ host: 'api.turnout.test', port: ports.http, method: 'CONNECT', path: 'other.example:443' }); tunnel.end()
        const attempts = {
          http2: thrown(() => http2.connect(base.https)),
          unix: failed(net.connect('/var/run/docker.sock')),
          certificate: failed(tls.connect({ host: 'api.turnout.test', port: ports.https, key: 'k', cert: 'c' })),
          inside: failed(tls.connect({ socket: new net.Socket(), host: 'api.turnout.test' })),
          redis: failed(redis),
          tunnel: failed(tunnel),
          websocket: new Promise((done) => { websocket.onerror = () => done(['error', '']) }),
        }
        answer = Object.fromEntries(await Promise.all(Object.entries(attempts).map(async ([name, one]) => [name, await one])))"""
    answer = await run_code(network, code, cwd=npm_layer)

    assert {name: said[0] for name, said in answer.items()} == {
        "http2": "EPROTONOSUPPORT",
        "unix": "EACCES",
        "certificate": "EPROTONOSUPPORT",
        "inside": "EPROTONOSUPPORT",
        "redis": "EPROTO",
        "tunnel": "EPROTO",
        "websocket": "error",
    }
    assert "only HTTP works in the sandbox" in answer["redis"][1]
    assert any("no WebSockets" in exchange.refusal for exchange in network.exchanges)


async def test_sockets_are_sockets(network: Network, tmp_path: Path) -> None:
    code = """
        const net = require('net'); const tls = require('tls')
        const seen = []
        require('diagnostics_channel').subscribe('net.client.socket', ({ socket }) => seen.push(socket))
        const talk = (socket, ready) => new Promise((done, failed) => {
          let text = ''
          socket.on(ready, () => socket.write('GET /v1/x HTTP/1.1\\r\\nHost: api.turnout.test:' + socket.remotePort + '\\r\\nConnection: close\\r\\n\\r\\n'))
          socket.setEncoding('utf8').on('data', (data) => { text += data }).on('error', failed)
          socket.on('close', (hadError) => done([text.slice(0, 15), hadError, socket.bytesRead === text.length, socket.bytesWritten > 0]))
        })
        const plain = net.createConnection({ host: 'api.turnout.test', port: ports.http })
        const before = [plain.connecting, plain.readyState]
        const made = new net.Socket().connect(ports.http, 'api.turnout.test')
        const secret = tls.connect(ports.https, 'api.turnout.test', { ALPNProtocols: ['h2', 'http/1.1'] })
        answer = [
          before, ...(await Promise.all([talk(plain, 'connect'), talk(made, 'ready'), talk(secret, 'secureConnect')])),
          [plain, made, secret].map((socket) => [socket instanceof net.Socket, socket.destroyed, socket.readyState]),
          [secret instanceof tls.TLSSocket, secret.encrypted, secret.authorized, secret.alpnProtocol, secret.getProtocol()],
          seen.length,
        ]"""
    talked = ["HTTP/1.1 200 \r\n", False, True, True]
    answer = await run_code(network, code, cwd=tmp_path)

    assert answer[0] == [True, "opening"]
    assert answer[1:4] == [talked] * 3
    assert answer[4] == [[True, True, "closed"]] * 3
    assert answer[5] == [True, True, True, "http/1.1", "TLSv1.3"]
    assert answer[6] >= 3


async def test_names_have_addresses_that_lead_to_them(network: Network, tmp_path: Path) -> None:
    code = """
        const dns = require('dns'); const http = require('http')
        const one = await new Promise((done, failed) => dns.lookup('api.turnout.test', (error, address) => error ? failed(error) : done(address)))
        const { address, family } = await dns.promises.lookup('api.turnout.test')
        const all = await new Promise((done, failed) => dns.lookup('127.0.0.1', { all: true }, (error, found) => error ? failed(error) : done(found)))
        const options = { host: one, port: ports.http, path: '/v1/x', headers: { host: 'api.turnout.test:' + ports.http } }
        const status = await new Promise((done, failed) => http.get(options, (res) => done(res.resume().statusCode)).on('error', failed))
        answer = [one === address, family, all, status]"""

    assert await run_code(network, code, cwd=tmp_path) == [True, 4, [{"address": "127.0.0.1", "family": 4}], 200]


async def test_a_process_without_requests_ends_by_itself_though_connections_are_kept(
    network: Network, tmp_path: Path
) -> None:
    code = """
        const http = await import('node:http')
        const agent = new http.Agent({ keepAlive: true })
        await new Promise((done, failed) => http.get(base.http + '/v1/x', { agent }, (res) => res.resume().on('end', done)).on('error', failed))
        await (await fetch(base.https + '/v1/x')).text()
        answer = 'over'"""

    assert await run_code(network, code, cwd=tmp_path, within_s=30) == "over"


async def test_a_broker_that_is_gone_is_an_error(network: Network, tmp_path: Path) -> None:
    script = f"""
        require({str(BOOTSTRAP)!r}).install()
        fetch('http://{NAME}/').catch((error) => console.log(error.cause.code))"""
    process = await asyncio.create_subprocess_exec(
        node_binary(), "-e", script, cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stdin=asyncio.subprocess.DEVNULL
    )
    async with asyncio.timeout(30):
        out, _ = await process.communicate()

    assert out.decode().strip() in {"EBADF", "ECONNRESET", "EINVAL", "ERR_INVALID_FD_TYPE"}


async def test_nothing_is_loaded_before_it_is_needed(network: Network, tmp_path: Path) -> None:
    code = """
        const network = (one) => /^NativeModule (net|tls|http|https|_http_.*|dns|internal\\/deps\\/undici\\/undici)$/.test(one)
        const before = process.moduleLoadList.filter(network)
        require('node:http')
        const plain = process.moduleLoadList.filter(network)
        await fetch('data:,x')
        const all = process.moduleLoadList.filter(network)
        answer = [before, plain.includes('NativeModule net'), plain.includes('NativeModule tls'), all.includes('NativeModule tls')]"""

    assert await run_code(network, code, cwd=tmp_path) == [[], True, False, True]
