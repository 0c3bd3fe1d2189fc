"""Requests that could mean something else to a server than to the broker, and processes that break the rules."""

from __future__ import annotations

import asyncio
import socket
import ssl
from dataclasses import replace
from pathlib import Path

import pytest
from turnout.interfaces.sandbox import Egress
from turnout_ecs.egress import Broker, EgressLimits, verifying_context
from turnout_ecs.egress.frames import WINDOW_BYTES, FrameKind, frame

from .node_side import Network, brokered
from .origin import NAME, authority, served
from .played import Answer, Played, get

SMUGGLED = {
    "another host": ("EACCES", "GET / HTTP/1.1\r\nHost: other.test\r\n\r\n"),
    "another port": ("EACCES", "GET / HTTP/1.1\r\nHost: {name}:1\r\n\r\n"),
    "no port where it is not the scheme's": ("EACCES", "GET / HTTP/1.1\r\nHost: {name}\r\n\r\n"),
    "no host": ("EPROTO", "GET / HTTP/1.1\r\n\r\n"),
    "no host, of HTTP/1.0": ("EACCES", "GET / HTTP/1.0\r\n\r\n"),
    "two hosts": ("EPROTO", "GET / HTTP/1.1\r\nHost: {host}\r\nHost: other.test\r\n\r\n"),
    "user information": ("EACCES", "GET / HTTP/1.1\r\nHost: other.test@{host}\r\n\r\n"),
    "an absolute target": ("EPROTO", "GET http://other.test/ HTTP/1.1\r\nHost: {host}\r\n\r\n"),
    "an absolute target, the same": ("EPROTO", "GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n"),
    "an authority as target": ("EPROTO", "GET other.test:80 HTTP/1.1\r\nHost: {host}\r\n\r\n"),
    "a tunnel": ("EPROTO", "CONNECT other.test:443 HTTP/1.1\r\nHost: {host}\r\n\r\n"),
    "an asterisk": ("EPROTO", "OPTIONS * HTTP/1.1\r\nHost: {host}\r\n\r\n"),
    "both framings": (
        "EPROTO",
        "POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    "two lengths": ("EPROTO", "POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcd"),
    "a length with a sign": ("EPROTO", "POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: +4\r\n\r\nabcd"),
    "another coding": ("EPROTO", "POST / HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: identity\r\n\r\n"),
    "two codings": ("EPROTO", "POST / HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
    "chunks that are none": ("EPROTO", "POST / HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
    "a blank before the colon": ("EPROTO", "GET / HTTP/1.1\r\nHost : {host}\r\n\r\n"),
    "a carriage return alone": ("EPROTO", "GET / HTTP/1.1\r\nHost: {host}\r\nX: a\rHost: other.test\r\n\r\n"),
    "a zero byte": ("EPROTO", "GET / HTTP/1.1\r\nHost: {host}\r\nX: a\0b\r\n\r\n"),
    "a blank in the target": ("EPROTO", "GET /a b HTTP/1.1\r\nHost: {host}\r\n\r\n"),
    "an upgrade": (
        "EPROTONOSUPPORT",
        "GET / HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    ),
    "HTTP/2": ("EPROTO", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "TLS": ("EPROTO", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
    "Redis": ("EPROTO", "*1\r\n$4\r\nPING\r\n\r\n"),
    "mail": ("EPROTO", "EHLO example.com\r\n\r\n"),
    "no end of headers": ("EPROTO", "GET / HTTP/1.1\r\nX: " + "a" * 70_000),
    "very many headers": (
        "EPROTO",
        "GET / HTTP/1.1\r\nHost: {host}\r\n" + "".join(f"x{n}: 1\r\n" for n in range(300)) + "\r\n",
    ),
}


@pytest.mark.parametrize("what", SMUGGLED)
async def test_a_request_that_is_not_plain_is_refused(network: Network, what: str) -> None:
    code, text = SMUGGLED[what]
    port = network.origin.http
    request = text.replace("{host}", f"{NAME}:{port}").replace("{name}", NAME)
    async with brokered(network) as (_, end):
        answer = await Played(end).ask(NAME, port, request.encode("latin-1"))

    assert (answer.code, answer.status) == (code, 0), answer
    assert network.exchanges[-1].refusal == answer.message
    assert network.exchanges[-1].status is None
    assert [seen.target for seen in network.origin.seen] == []


@pytest.mark.parametrize("host", ["{host}", "{upper}", "{dot}"])
async def test_control_a_plain_request_is_answered(network: Network, host: str) -> None:
    port = network.origin.http
    forms = {"{host}": f"{NAME}:{port}", "{upper}": f"{NAME.upper()}:{port}", "{dot}": f"{NAME}.:{port}"}
    async with brokered(network) as (_, end):
        answer = await Played(end).ask(NAME, port, get(forms[host]))

    assert answer.status == 200
    assert network.origin.seen[0].header("host") == f"{NAME}:{port}"


@pytest.mark.parametrize(
    ("host", "port", "tls"),
    [("", 80, False), (1, 80, False), (None, 80, False), (NAME, 0, False), (NAME, 65536, False), (NAME, "80", False),
     (NAME, True, False), (NAME, 80, 1), (["a"], 80, False), (NAME, -1, False), (NAME, 80.5, False)],
)  # fmt: skip
async def test_a_stream_leads_to_a_host_and_port_or_is_refused(
    network: Network, host: object, port: object, tls: object
) -> None:
    async with brokered(network) as (_, end):
        played = Played(end)
        answer = await played.until(await played.open(host, port, tls=tls))

    assert (answer.opened, answer.code) == (False, "EINVAL")


BROKEN = {
    "an unknown kind": frame(FrameKind.OPEN, 1, b"{}")[:8] + b"\x63" + b"{}",
    "what only the broker says": frame(FrameKind.REFUSED, 1, b"{}"),
    "data of a stream that was never opened": frame(FrameKind.DATA, 7, b"x"),
    "a huge frame": b"\xff\xff\xff\xff\x00\x00\x00\x01\x03",
    "an empty opening": frame(FrameKind.OPEN, 1),
    "credit of two bytes": frame(FrameKind.CREDIT, 1, b"\0\0"),
    "a stream twice": frame(FrameKind.OPEN, 1, b"{}") + frame(FrameKind.OPEN, 1, b"{}"),
    "a stream backwards": frame(FrameKind.OPEN, 2, b"{}") + frame(FrameKind.OPEN, 1, b"{}"),
}


@pytest.mark.parametrize("what", BROKEN)
async def test_a_process_that_breaks_the_protocol_loses_its_connection(network: Network, what: str) -> None:
    async with brokered(network) as (broker, end):
        played = Played(end)
        played.answers = {number: Answer() for number in range(10)}
        await played.write(BROKEN[what])

        assert await played.ended()
        assert broker.broken


async def test_more_data_than_the_window_ends_the_connection(network: Network) -> None:
    async with brokered(network) as (broker, end):
        played = Played(end)
        stream = await played.open(NAME, network.origin.http)
        head = get(f"{NAME}:{network.origin.http}", "/slow", f"Content-Length: {10**9}", method="POST")
        await played.send(stream, head)
        with pytest.raises(ConnectionError):
            await played.send(stream, bytes(200 * WINDOW_BYTES))
        assert "window" in broker.broken


async def test_more_credit_than_was_used_ends_the_connection(network: Network) -> None:
    async with brokered(network) as (broker, end):
        played = Played(end)
        stream = await played.open(NAME, network.origin.http)
        await played.until(stream, has=b"")
        await played.write(frame(FrameKind.CREDIT, stream, b"\0\0\0\1"))

        assert await played.ended()
        assert "credit" in broker.broken


async def test_what_the_process_does_not_take_in_is_not_fetched(network: Network) -> None:
    port, size = network.origin.http, 200 * 1024 * 1024
    async with brokered(network) as (_, end):
        lazy = Played(end, grants=False)
        big = await lazy.open(NAME, port)
        await lazy.send(big, get(f"{NAME}:{port}", f"/big?bytes={size}"))
        answer = await lazy.until(big, has=bytes(WINDOW_BYTES - 1024))
        other = await lazy.ask(NAME, port, get(f"{NAME}:{port}"))

        assert other.status == 200
        assert len(answer.data) == WINDOW_BYTES
        assert network.origin.sent < 32 * 1024 * 1024  # what the kernel holds on the way


async def test_control_it_is_all_fetched_where_the_process_takes_it_in(network: Network) -> None:
    port, size = network.origin.http, 32 * 1024 * 1024
    async with brokered(network) as (_, end):
        played = Played(end)
        stream = await played.open(NAME, port)
        request = get(f"{NAME}:{port}", f"/big?bytes={size}", "Connection: close")
        await played.send(stream, request)
        answer = await played.until(stream)

    assert len(answer.data) > size
    assert network.exchanges[0].received_bytes == size


async def test_streams_beyond_the_limit_are_refused(network: Network) -> None:
    network.limits = replace(network.limits, streams=3)
    async with brokered(network) as (_, end):
        played = Played(end)
        opened = [await played.open(NAME, network.origin.http) for _ in range(4)]
        answer = await played.until(opened[-1])

        assert answer.code == "EMFILE"


async def test_requests_beyond_the_limit_are_refused(network: Network) -> None:
    network.limits = replace(network.limits, requests=4)  # the opening of a connection counts too
    port = network.origin.http
    async with brokered(network) as (_, end):
        played = Played(end)
        answers = [await played.ask(NAME, port, get(f"{NAME}:{port}")) for _ in range(3)]

    assert [answer.status for answer in answers] == [200, 200, 0]
    assert "at most 4" in answers[2].message


async def test_nothing_is_reachable_without_a_job(network: Network) -> None:
    port = network.origin.http
    async with brokered(network) as (broker, end):
        played = Played(end)
        stream = await played.open(NAME, port)
        await played.send(stream, get(f"{NAME}:{port}"))
        assert (await played.until(stream, has=b"}")).status == 200
        broker.detach()
        await played.send(stream, get(f"{NAME}:{port}"))
        old = await played.until(stream)
        new = await played.ask(NAME, port, get(f"{NAME}:{port}"))
        broker.attach(network.egress())
        again = await played.ask(NAME, port, get(f"{NAME}:{port}"))

    assert (old.code, new.code, again.status) == ("EACCES", "EACCES", 200)
    assert len(network.origin.seen) == 2


async def test_the_next_job_has_the_hosts_of_its_own(network: Network) -> None:
    port = network.origin.http
    async with brokered(network) as (broker, end):
        played = Played(end)
        stream = await played.open(NAME, port)
        await played.send(stream, get(f"{NAME}:{port}"))
        await played.until(stream, has=b"}")
        broker.attach(Egress(hosts=("other.test",)))
        await played.send(stream, get(f"{NAME}:{port}"))
        answer = await played.until(stream)

    assert answer.code == "EACCES"
    assert "is not among" in answer.message


async def test_a_request_ends_with_its_job_and_is_observed(network: Network) -> None:
    port = network.origin.http
    async with brokered(network) as (broker, end):
        played = Played(end)
        stream = await played.open(NAME, port)
        await played.send(stream, get(f"{NAME}:{port}", "/slow"))
        async with asyncio.timeout(20):
            await network.origin.asked.wait()
        broker.detach()
        answer = await played.until(stream)
        async with asyncio.timeout(20):
            await network.origin.gone.wait()

    assert answer.code == "ECONNABORTED"
    assert [exchange.refusal for exchange in network.exchanges] == ["the job that made the request has ended"]


async def test_a_request_ends_when_the_code_closes_its_connection(network: Network) -> None:
    port = network.origin.http
    async with brokered(network) as (_, end):
        played = Played(end)
        stream = await played.open(NAME, port)
        await played.send(stream, get(f"{NAME}:{port}", "/slow"))
        async with asyncio.timeout(20):
            await network.origin.asked.wait()
            await played.write(frame(FrameKind.CLOSE, stream))
            await network.origin.gone.wait()

    assert network.exchanges[0].refusal == "the code closed the connection"


@pytest.mark.parametrize(
    ("limits", "path", "message"),
    [
        (EgressLimits(openable=("127.0.0.0/8",), first_byte_s=0.05), "/slow", "did not answer within"),
        (EgressLimits(openable=("127.0.0.0/8",), total_s=0.05), "/slow", "took longer than"),
    ],
)
async def test_an_answer_that_does_not_come_is_waited_for_so_long(
    network: Network, limits: EgressLimits, path: str, message: str
) -> None:
    port = network.origin.http
    network.limits = limits
    async with brokered(network) as (_, end):
        answer = await Played(end).ask(NAME, port, get(f"{NAME}:{port}", path))

    assert answer.code == "ETIMEDOUT"
    assert message in answer.message


@pytest.mark.parametrize("stated", [True, False])
async def test_bodies_have_a_largest_size(network: Network, stated: bool) -> None:
    port = network.origin.http
    network.limits = replace(network.limits, request_bytes=1000, response_bytes=1000)
    framing = "Content-Length: 1001" if stated else "Transfer-Encoding: chunked"
    body = "x" * 1001 if stated else f"{1001:x}\r\n{'x' * 1001}\r\n0\r\n\r\n"
    async with brokered(network) as (_, end):
        up = await Played(end).ask(NAME, port, get(f"{NAME}:{port}", "/echo", framing, method="POST", body=body))
        played = Played(end, _last=10)
        stream = await played.open(NAME, port)
        await played.send(stream, get(f"{NAME}:{port}", "/big?bytes=5000"))
        down = await played.until(stream)

    assert (up.code, down.code) == ("EMSGSIZE", "EMSGSIZE")


async def test_a_server_that_is_not_there_is_said_to_be_so(network: Network) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        network.hosts = (f"127.0.0.1:{port}",)
        async with brokered(network) as (_, end):
            answer = await Played(end).ask("127.0.0.1", port, get(f"127.0.0.1:{port}"))

    assert answer.code == "ECONNREFUSED"


async def test_a_name_without_address_is_said_to_be_so(network: Network) -> None:
    network.hosts = ("nowhere.example",)
    async with brokered(network) as (_, end):
        answer = await Played(end).ask("nowhere.example", 80, get("nowhere.example"))

    assert answer.code == "ENOTFOUND"


async def test_a_certificate_for_another_name_is_refused(network: Network) -> None:
    port = network.origin.https
    network.hosts = (f"other.test:{port}", f"a.wild.test:{port}", f"127.0.0.1:{port}")
    codes = {}
    async with brokered(network) as (_, end):
        for number, host in enumerate(("other.test", "a.wild.test")):
            answer = await Played(end, _last=number).ask(host, port, get(f"{host}:{port}"), tls=True)
            codes[host] = answer.code or answer.status

    assert codes == {"other.test": "ERR_TLS_CERT_ALTNAME_INVALID", "a.wild.test": 200}


async def test_a_certificate_of_an_unknown_authority_is_refused(network: Network, tmp_path: Path) -> None:
    authority(tmp_path)
    async with served(tmp_path) as stranger:
        network.origin = stranger
        async with brokered(network) as (_, end):
            refused = await Played(end).ask(NAME, stranger.https, get(f"{NAME}:{stranger.https}"), tls=True)
        network.ca = tmp_path / "ca.pem"
        async with brokered(network) as (_, end):
            trusted = await Played(end).ask(NAME, stranger.https, get(f"{NAME}:{stranger.https}"), tls=True)

    assert refused.code in {"UNABLE_TO_GET_ISSUER_CERT_LOCALLY", "UNABLE_TO_VERIFY_LEAF_SIGNATURE", "EPROTO"}
    assert trusted.status == 200


async def test_tls_is_not_spoken_in_the_clear_nor_the_other_way_round(network: Network) -> None:
    origin = network.origin
    async with brokered(network) as (_, end):
        clear = await Played(end).ask(NAME, origin.https, get(f"{NAME}:{origin.https}"))
        encrypted = await Played(end, _last=5).ask(NAME, origin.http, get(f"{NAME}:{origin.http}"), tls=True)

    assert (clear.status, encrypted.status) == (0, 0)
    assert encrypted.code in {"EPROTO", "ECONNRESET"}
    assert origin.seen == []


async def test_pipelined_requests_are_answered_in_turn(network: Network) -> None:
    port = network.origin.http
    one = get(f"{NAME}:{port}", "/one")
    async with brokered(network) as (_, end):
        played = Played(end)
        stream = await played.open(NAME, port)
        await played.send(stream, one + one.replace(b"/one", b"/two"))
        await played.until(stream, has=b"customer")
        await played.write(frame(FrameKind.END, stream))
        answer = await played.until(stream)

    assert answer.data.count(b"HTTP/1.1 200") == 2
    assert [exchange.path for exchange in network.exchanges] == ["/one", "/two"]


async def test_a_broker_closes_twice_and_with_a_process_that_is_gone(network: Network) -> None:
    ours, theirs = socket.socketpair()
    broker: Broker = await network.broker(ours)
    broker.attach(network.egress())
    played = Played(theirs)
    theirs.settimeout(0)
    stream = await played.open(NAME, network.origin.http)
    await played.send(stream, get(f"{NAME}:{network.origin.http}", "/slow"))
    theirs.close()
    async with asyncio.timeout(20):
        await broker.close()
        await broker.close()


def test_a_system_without_authorities_has_certifis(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = ssl.get_default_verify_paths()._replace(cafile="", capath="")
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: nothing)

    context = verifying_context.__wrapped__()

    assert context.cert_store_stats()["x509_ca"] > 50
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
