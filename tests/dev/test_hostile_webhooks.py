"""Senders who mean harm, over HTTP against `turnout dev`: each attack with the control that gets through, and a server that
goes on serving with the memory it had."""

from __future__ import annotations

import gzip
import hmac
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.dev.commands import Dev, until

SECRET = "It's a Secret to Everybody"
MEGABYTE = 1024 * 1024
FLOWS = """
integration: desk
version: 1.0.0
connections:
  hook: {connector: webhook, type: secret}
flows:
  signed:
    trigger: {webhook: {verify: {scheme: github, connection: hook}}}
    steps:
      - {id: done, stop: {output: "${{ trigger.body }}"}}
  open:
    trigger: {webhook: {}}
    steps:
      - {id: done, stop: {output: "${{ trigger.body }}"}}
  length:
    trigger: {webhook: {}}
    steps:
      - {id: done, stop: {output: "${{ length(trigger.body.text) }}"}}
  echoed:
    trigger: {webhook: {respond: {status: 200, headers: {X-Said: "${{ trigger.query.say }}"}}}}
    steps:
      - {id: done, stop: {output: 1}}
"""


@dataclass
class Desk(Dev):
    """`asked` is how many executions were started to count the others."""

    asked: int = 0


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    directory = tmp_path_factory.mktemp("hostile")
    (directory / "turnout.toml").write_text("")
    (directory / "integration.yaml").write_text(FLOWS)
    (directory / "connections.yaml").write_text("hook: {secret: 'env:HOOK_SECRET'}\n")
    with Desk(directory, ("--connections", "connections.yaml"), {"HOOK_SECRET": SECRET}) as served:
        yield served


def signature(body: bytes, secret: str = SECRET) -> dict[str, str]:
    return {"x-hub-signature-256": "sha256=" + hmac.new(secret.encode(), body, "sha256").hexdigest()}


def serves(desk: Desk) -> bool:
    """The control: what is right still gets through, so what was refused was not refused because all is broken."""
    body = b'{"n": 1}'
    answer = desk.post("signed", content=body, headers={"content-type": "application/json", **signature(body)})
    return (answer.status_code, answer.json()) == (200, {"n": 1})


def kept(desk: Desk) -> set[Path]:
    """Every file of the payload store that holds content, half-written ones too."""
    return {path for path in (desk.directory / ".turnout" / "payloads").rglob("*") if path.is_file()}


def executions(desk: Desk) -> int:
    """How many were accepted so far. Records come in the order of acceptance: once that of a last one is there, all are; it
    is not counted."""
    asked = desk.post("open", wait="").json()["execution"]
    desk.record(asked)
    items = desk.client.get("/api/v1/executions", params={"limit": 500}).raise_for_status().json()["items"]
    desk.asked += 1
    return len(items) - desk.asked


def memory_bytes(desk: Desk) -> int:
    """What the process alone takes, in RAM and swapped out."""
    text = Path(f"/proc/{desk.process.pid}/smaps_rollup").read_text()
    fields = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in text.splitlines()[1:])}
    return (fields["Pss"] + fields.get("SwapPss", 0)) * 1024


def big(megabytes: int) -> Iterator[bytes]:
    for number in range(megabytes):
        yield number.to_bytes(8) * (MEGABYTE // 8)


@pytest.mark.parametrize(
    ("right", "kind"), [(True, "application/zip"), (False, "application/zip"), (False, "application/json")]
)
def test_a_body_of_100_megabytes_streams_whether_it_is_taken_or_refused(desk: Desk, right: bool, kind: str) -> None:
    digest = hmac.new(SECRET.encode(), digestmod="sha256")
    for chunk in big(100):
        digest.update(chunk)
    signed = digest.hexdigest() if right else "0" * 64
    assert serves(desk)
    before, files, most = memory_bytes(desk), kept(desk), [0]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            most[0] = max(most[0], memory_bytes(desk))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        headers = {"content-type": kind, "x-hub-signature-256": f"sha256={signed}"}
        answer = desk.post("signed", wait="", content=big(100), headers=headers)
    finally:
        done.set()
        watching.join()

    assert answer.status_code == (202 if right else 401)
    assert most[0] - before < 40 * MEGABYTE
    assert sum(path.stat().st_size for path in kept(desk) - files) // MEGABYTE == (100 if right else 0)
    assert right or kept(desk) == files
    if right:
        assert desk.record(answer.json()["execution"])["status"] == "succeeded"


def test_json_of_almost_100_megabytes_is_a_value(desk: Desk) -> None:
    """It says what is in it, so it has to be looked at whole. Control: 101 MB are refused, and what a sender is told says why."""

    def quoted(megabytes: int) -> Iterator[bytes]:
        yield b'{"text": "'
        for _ in range(megabytes):
            yield b"x" * MEGABYTE
        yield b'"}'

    headers = {"content-type": "application/json"}
    taken = desk.post("length", wait="60s", content=quoted(99), headers=headers)
    refused = desk.post("length", wait="60s", content=quoted(101), headers=headers)

    assert (taken.status_code, taken.json()) == (200, 99 * MEGABYTE)
    assert (refused.status_code, "send larger content as a file" in refused.text) == (413, True)
    assert serves(desk)


def test_a_sender_that_is_cut_off_leaves_nothing(desk: Desk) -> None:
    """Slowly first: what arrives is stored as it arrives."""
    files, before = kept(desk), executions(desk)
    head = (
        "POST /hooks/desk/open HTTP/1.1\r\nhost: x\r\ncontent-type: application/zip\r\n"
        f"content-length: {10 * MEGABYTE}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", httpx.URL(desk.ready["url"]).port)) as connection:
        connection.sendall(head.encode())
        for _ in range(8):
            connection.sendall(b"x" * MEGABYTE)
        begun = until(lambda: kept(desk) - files)

    until(lambda: not kept(desk) - files)
    assert begun
    assert executions(desk) == before
    assert serves(desk)


def exchange(desk: Desk, sent: bytes) -> bytes:
    """What is answered to raw bytes, until the server ends the connection or answers whole."""
    with socket.create_connection(("127.0.0.1", httpx.URL(desk.ready["url"]).port), timeout=30) as connection:
        answer = b""
        try:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            while chunk := connection.recv(65536):
                answer += chunk
        except TimeoutError:
            raise
        except OSError:
            pass  # cut off in the middle of what is too large
        return answer


START = b"POST /hooks/desk/open HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n"


@pytest.mark.parametrize(
    ("attack", "statuses"),
    [
        (START + b"x-a: " + b"a" * 1_000_000 + b"\r\n\r\n", (b"400", b"431", b"")),
        (START + b"".join(b"x-%d: a\r\n" % n for n in range(50_000)) + b"\r\n", (b"400", b"431", b"")),
        (START + b"x-a: " + b"a" * 70_000 + b"\r\n\r\n", (b"400",)),
        (b"POST /hooks/desk/open?" + b"a" * 70_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n", (b"400",)),
        (START + b"transfer-encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n", (b"400", b"")),
        (START + b"transfer-encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n", (b"400", b"")),
        (START + b"transfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\nhello", (b"400", b"")),
        (START + b"transfer-encoding: chunked\r\n\r\n5\r\nhel", (b"400", b"")),
        (
            START + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
            (b"400", b""),
        ),
        (START + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}x", (b"400", b"")),
        (START + b"content-length: -1\r\n\r\n{}", (b"400", b"")),
        (START + b"content-length: 100\r\n\r\n{}", (b"400", b"")),
        (b"POST /hooks/desk/open HTTP/9.9\r\nhost: x\r\n\r\n", (b"400", b"505", b"")),
        (b"POST /hooks/desk/open\0 HTTP/1.1\r\nhost: x\r\n\r\n", (b"400", b"404", b"")),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", (b"400", b"")),
    ],
)
def test_what_is_no_request_starts_nothing(desk: Desk, attack: bytes, statuses: tuple[bytes, ...]) -> None:
    before = executions(desk)

    answer = exchange(desk, attack)

    assert answer.partition(b" ")[2][:3] in statuses
    assert executions(desk) == before
    fits = START + b"x-a: " + b"a" * 60_000 + b"\r\ncontent-length: 2\r\n\r\n{}"
    assert exchange(desk, fits).startswith(b"HTTP/1.1 202")
    assert serves(desk)


def test_a_bomb_is_not_unpacked(desk: Desk) -> None:
    """200 MB of zeros in 200 KB, signed: what was sent is what the flow gets. Control: sent as it is, JSON is read."""
    bomb = gzip.compress(b'"' + b"0" * (200 * MEGABYTE) + b'"', 9)
    before = memory_bytes(desk)
    headers = {"content-type": "application/json", "content-encoding": "gzip", **signature(bomb)}

    answer = desk.post("signed", content=bomb, headers=headers)

    assert (answer.status_code, len(answer.content)) == (200, len(bomb))
    assert memory_bytes(desk) - before < 40 * MEGABYTE
    assert serves(desk)


def test_a_signature_that_comes_twice_is_refused(desk: Desk) -> None:
    """So nobody can let one server look at the first of them and another at the second."""
    body = b"{}"
    [(name, right)] = signature(body).items()
    wrong = "sha256=" + "0" * 64

    def status(*signatures: str) -> int:
        headers = [("content-type", "application/json"), *((name, one) for one in signatures)]
        return desk.client.post("/hooks/desk/signed", content=body, headers=headers).status_code

    assert (status(right, wrong), status(wrong, right), status(right, right), status(right)) == (401, 401, 401, 202)


@pytest.mark.parametrize("path", ["signed", "signed?x-hub-signature-256=sha256=0", "signed/", "SIGNED", "%73igned"])
def test_a_door_has_no_other_side(desk: Desk, path: str) -> None:
    """Neither another spelling of the address nor another method gets around the signature."""
    before = executions(desk)

    statuses = {
        desk.client.request(method, f"/hooks/desk/{path}", content=b"{}").status_code
        for method in ("POST", "GET", "PUT", "PATCH", "DELETE")
    }

    assert statuses <= {401, 404, 307}
    assert executions(desk) == before


@pytest.mark.parametrize("said", ["a\r\nset-cookie: admin=1", "a\nb", "\x00", "\u560a\u560dset-cookie: x"])
def test_a_sender_cannot_add_headers_to_its_answer(desk: Desk, said: str) -> None:
    attacked = desk.client.post("/hooks/desk/echoed", params={"say": said})
    control = desk.client.post("/hooks/desk/echoed", params={"say": "hello"})

    assert attacked.status_code == 202
    assert not {"x-said", "set-cookie"} & set(attacked.headers)
    assert (control.status_code, control.headers["x-said"]) == (200, "hello")


@pytest.mark.parametrize("depth", [201, 100_000])
def test_json_that_is_too_deep_is_text(desk: Desk, depth: int) -> None:
    deep = b"[" * depth + b"]" * depth

    answer = desk.post("open", content=deep, headers={"content-type": "application/json"})
    control = desk.post("open", content=b"[" * 50 + b"]" * 50, headers={"content-type": "application/json"})

    assert (answer.status_code, answer.json()) == (200, deep.decode())
    assert control.status_code == 200
    assert serves(desk)


def test_heads_and_options_start_nothing(desk: Desk) -> None:
    before = executions(desk)

    head, options = (desk.client.request(method, "/hooks/desk/open") for method in ("HEAD", "OPTIONS"))

    assert (head.status_code, head.content, options.status_code) == (200, b"", 204)
    assert "POST" in options.headers["allow"]
    assert executions(desk) == before
    assert desk.client.head("/hooks/desk/nothing").status_code == 404


def test_hundreds_who_send_nothing_more_do_not_keep_others_out(desk: Desk) -> None:
    port = httpx.URL(desk.ready["url"]).port
    waiting = [socket.create_connection(("127.0.0.1", port)) for _ in range(300)]
    try:
        for connection in waiting:
            connection.sendall(START + b"content-length: 1000000\r\n\r\n{")

        begun = time.monotonic()
        assert serves(desk)
        assert time.monotonic() - begun < 30
    finally:
        for connection in waiting:
            connection.close()
