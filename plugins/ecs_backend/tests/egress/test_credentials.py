"""Secrets reach their own hosts, and nothing of them comes back."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path

import pytest
from turnout.errors import UserError
from turnout.interfaces.sandbox import Credential
from turnout_ecs.egress.credentials import Credentials

from .node_side import Network, brokered, run_code
from .origin import NAME
from .played import Answer, Played, get

PLACEHOLDER = "turnout-secret-0123456789abcdef"
FOREIGN = "turnout-secret-fedcba9876543210"
SECRET = 'sk/live+"42"&<é>=%'
ASCII_SECRET = "sk_live_0123456789"


def using(network: Network, secret: str = ASCII_SECRET) -> Network:
    """Both names lead to the same server; each has a credential of its own."""
    port = network.origin.http
    network.hosts = (f"{NAME}:{port}", f"other.test:{port}", f"127.0.0.1:{port}")
    network.credentials = (
        Credential(
            placeholder=PLACEHOLDER, secret=secret, hosts=(f"{NAME}:{port}",), name="connection crm, field token"
        ),
        Credential(
            placeholder=FOREIGN,
            secret="foreign-secret",
            hosts=(f"other.test:{port}",),
            name="connection erp, field key",
        ),
    )
    return network


async def answered(
    network: Network, path: str = "/echo", *headers: str, body: str = "", method: str = "POST"
) -> Answer:
    host = f"{NAME}:{network.origin.http}"
    if not any(header.startswith("Transfer") for header in headers):
        headers = (*headers, f"Content-Length: {len(body.encode())}")
    async with brokered(network) as (_, end):
        played = Played(end)
        stream = await played.open(NAME, network.origin.http)
        await played.send(stream, get(host, path, "Connection: close", *headers, method=method, body=body))
        return await played.until(stream)


async def test_a_header_gets_the_secret_and_the_answer_the_placeholder(network: Network) -> None:
    answer = await answered(using(network), "/echo", f"Authorization: Bearer {PLACEHOLDER}", f"X-Key: {PLACEHOLDER}")

    assert network.origin.seen[0].header("authorization") == f"Bearer {ASCII_SECRET}"
    assert network.origin.seen[0].header("accept-encoding") == "identity"
    assert ASCII_SECRET.encode() not in answer.data
    assert answer.data.count(PLACEHOLDER.encode()) == 3  # both in the body, one in a header


async def test_control_without_the_credential_the_placeholder_arrives(network: Network) -> None:
    using(network)
    network.credentials = ()
    await answered(network, "/echo", f"Authorization: Bearer {PLACEHOLDER}", "Accept-Encoding: br")

    assert network.origin.seen[0].header("authorization") == f"Bearer {PLACEHOLDER}"
    assert network.origin.seen[0].header("accept-encoding") == "br"


@pytest.mark.parametrize("secret", [ASCII_SECRET, SECRET])
@pytest.mark.parametrize("written", ["user:{}", "{}:x", "{}:"])
async def test_basic_authorization_is_looked_into(network: Network, written: str, secret: str) -> None:
    token = base64.b64encode(written.format(PLACEHOLDER).encode()).decode()
    answer = await answered(using(network, secret), "/echo", f"Authorization: Basic {token}")

    sent = network.origin.seen[0].header("authorization")
    assert sent is not None
    made = sent.removeprefix("Basic ")
    assert base64.b64decode(made).decode() == written.format(secret)
    assert made.encode() not in answer.data  # it tells the secret just as well
    assert token.encode() in answer.data


async def test_path_and_query_get_the_secret_percent_encoded(network: Network) -> None:
    await answered(using(network, SECRET), f"/v1/{PLACEHOLDER}/x?key={PLACEHOLDER}&a=%2F")

    encoded = "sk%2Flive%2B%2242%22%26%3C%C3%A9%3E%3D%25"
    assert network.origin.seen[0].target == f"/v1/{encoded}/x?key={encoded}&a=%2F"
    assert network.exchanges[0].path == f"/v1/{PLACEHOLDER}/x"


@pytest.mark.parametrize("framing", ["stated", "chunked"])
@pytest.mark.parametrize(
    ("kind", "sent", "arrives"),
    [
        ("application/json; charset=utf-8", '{{"key":"{}"}}', json.dumps({"key": SECRET}, ensure_ascii=False, separators=(",", ":"))),
        ("application/x-www-form-urlencoded", "a=1&key={}", "a=1&key=sk%2Flive%2B%2242%22%26%3C%C3%A9%3E%3D%25"),
        ("application/soap+xml", "<k>{}</k>", "<k>sk/live+&quot;42&quot;&amp;&lt;é&gt;=%</k>"),
        ("text/plain", "{}", SECRET),
    ],
)  # fmt: skip
async def test_a_body_gets_the_secret_as_its_type_writes_text(
    network: Network, kind: str, sent: str, arrives: str, framing: str
) -> None:
    body = sent.format(PLACEHOLDER)
    if framing == "chunked":  # a chunk a letter
        chunks = "".join(f"1\r\n{letter}\r\n" for letter in body) + "0\r\n\r\n"
        await answered(
            using(network, SECRET), "/echo", f"Content-Type: {kind}", "Transfer-Encoding: chunked", body=chunks
        )
    else:
        await answered(using(network, SECRET), "/echo", f"Content-Type: {kind}", body=body)

    seen = network.origin.seen[0]
    assert seen.body.decode() == arrives
    assert (seen.header("content-length") is None) == (framing == "chunked")


@pytest.mark.parametrize("coding", ["", "&coding=gzip", "&coding=deflate"])
@pytest.mark.parametrize("chunked", ["", "&chunked"])
@pytest.mark.parametrize("secret", [ASCII_SECRET, SECRET])
async def test_an_echo_of_the_secret_does_not_come_back(
    network: Network, secret: str, chunked: str, coding: str
) -> None:
    """The server sends its answer in fifty pieces, so that the secret is cut."""
    answer = await answered(using(network, secret), f"/echo?x={chunked}{coding}", body=PLACEHOLDER * 40)

    assert answer.status == 200
    assert network.origin.seen[0].body.decode() == secret * 40
    assert answer.data.count(PLACEHOLDER.encode()) >= 40 or secret == SECRET  # written as JSON of Latin-1
    assert secret.encode() not in answer.data
    assert json.dumps(secret)[1:-1].encode() not in answer.data
    assert b"content-encoding" not in answer.data.lower().split(b"\r\n\r\n")[0]


async def test_an_answer_that_cannot_be_looked_through_is_refused(network: Network) -> None:
    answer = await answered(using(network), "/echo?coding=br")

    assert (answer.code, answer.status) == ("EPROTO", 0)
    assert "without compression" in answer.message


async def test_where_no_credential_goes_an_answer_is_left_as_it_is(network: Network) -> None:
    using(network)
    network.credentials = network.credentials[1:]
    answer = await answered(network, "/echo?coding=br")

    assert b"content-encoding: br" in answer.data


@pytest.mark.parametrize(
    ("path", "header", "body"),
    [
        ("/echo", f"Authorization: Bearer {FOREIGN}", ""),
        ("/echo", "Authorization: Basic " + base64.b64encode(f"u:{FOREIGN}".encode()).decode(), ""),
        (f"/echo?k={FOREIGN}", "X: y", ""),
        (f"/{FOREIGN}", "X: y", ""),
        ("/echo", "X: y", f"x{FOREIGN}y"),
        (
            "/echo",
            "Transfer-Encoding: chunked",
            f"5\r\n{FOREIGN[:5]}\r\n{len(FOREIGN) - 5:x}\r\n{FOREIGN[5:]}\r\n0\r\n\r\n",
        ),
    ],
)
async def test_a_placeholder_towards_another_host_is_refused(
    network: Network, path: str, header: str, body: str
) -> None:
    answer = await answered(using(network), path, header, body=body)

    assert answer.code == "EACCES"
    assert "connection erp, field key" in answer.message
    assert "other.test" in answer.message
    assert "foreign-secret" not in answer.message
    assert network.exchanges[0].refusal == answer.message
    assert FOREIGN not in network.origin.seen[0].body.decode() if network.origin.seen else True


async def test_a_large_body_must_not_have_placeholders(network: Network) -> None:
    big = "x" * 2000
    network.limits = replace(network.limits, rewritten_bytes=1000)
    without = await answered(using(network), "/v1/x", body=big)
    refused = await answered(using(network), "/v1/x", body=big + PLACEHOLDER)

    assert without.status == 200
    assert refused.code == "EMSGSIZE"
    assert "connection crm, field token" in refused.message


@pytest.mark.parametrize("secret", ["a\r\nX-Evil: 1", "a\nb", "a\0b"])
async def test_a_secret_cannot_add_headers(network: Network, secret: str) -> None:
    answer = await answered(using(network, secret), "/echo", f"X-Key: {PLACEHOLDER}")

    assert answer.code == "EINVAL"
    assert network.origin.seen == []
    assert secret not in answer.message


@pytest.mark.parametrize(
    "placeholder", ["", "short", "has blank in it, long", 'quote"quote"quote"', "é" * 20, "x" * 300]
)
def test_a_placeholder_cannot_be_mistaken(placeholder: str) -> None:
    with pytest.raises(UserError, match="placeholder"):
        Credentials([Credential(placeholder=placeholder, secret="s", hosts=())])


def test_a_secret_is_not_shown() -> None:
    assert ASCII_SECRET not in repr(Credential(placeholder=PLACEHOLDER, secret=ASCII_SECRET, hosts=()))


async def test_code_uses_a_credential_that_it_does_not_have(network: Network, tmp_path: Path) -> None:
    code = f"""
        const res = await fetch(base.http + '/echo', {{ headers: {{ authorization: 'Bearer {PLACEHOLDER}', 'x-key': '{PLACEHOLDER}' }} }})
        answer = [res.headers.get('x-echo-x-key'), await res.json()]"""
    header, echoed = await run_code(using(network), code, cwd=tmp_path)

    assert network.origin.seen[0].header("authorization") == f"Bearer {ASCII_SECRET}"
    assert header == PLACEHOLDER
    assert ["authorization", f"Bearer {PLACEHOLDER}"] in echoed["headers"]
