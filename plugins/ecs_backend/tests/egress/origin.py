"""A web server to make requests to: in the clear and by TLS, on loopback addresses."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import gzip
import ipaddress
import json
import ssl
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import h11
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

__all__ = ["NAME", "Origin", "Seen", "authority", "served"]

NAME = "api.turnout.test"


@dataclass(frozen=True)
class Seen:
    """A request as the server got it."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        found = [value for key, value in self.headers if key == name]
        assert len(found) < 2, found
        return found[0] if found else None


@dataclass
class Origin:
    """`seen` is what came, `connections` how many connections were made, `sent` the bytes written of `/big`."""

    http: int = 0
    https: int = 0
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0
    sent: int = 0
    stored: dict[str, bytes] = field(default_factory=dict)
    close_after_answer: bool = False
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def ports(self) -> tuple[int, int]:
        return self.http, self.https

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            await self._requests(reader, writer)
        except (OSError, h11.RemoteProtocolError):
            self.gone.set()
        except asyncio.CancelledError:
            return  # the server closes
        finally:
            writer.transport.abort()

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        http = h11.Connection(h11.SERVER)
        while True:
            request, body = None, b""
            while True:
                event = http.next_event()
                if event is h11.NEED_DATA:
                    if http.they_are_waiting_for_100_continue:
                        writer.write(http.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
                    http.receive_data(await reader.read(65536))
                elif isinstance(event, h11.Request):
                    request = event
                elif isinstance(event, h11.Data):
                    body += event.data
                else:
                    break
            if request is None:
                return
            headers = [(name.decode(), value.decode("latin-1")) for name, value in request.headers]
            seen = Seen(request.method.decode(), request.target.decode(), headers, body)
            self.seen.append(seen)
            self.asked.set()
            await self._answer(seen, http, reader, writer)
            if self.close_after_answer or http.our_state is not h11.DONE:
                return
            http.start_next_cycle()

    async def _answer(
        self, seen: Seen, http: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        parts = urlsplit(seen.target)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        if parts.path == "/slow":
            if not await reader.read(1):
                self.gone.set()
            return
        if parts.path == "/big":
            await self._big(int(query["bytes"]), http, writer)
            return
        status, headers, body = self._content(seen, parts.path, query)
        if seen.method == "HEAD":
            headers.append(("content-length", str(len(body))))
            body = b""
        elif "chunked" not in query:
            headers.append(("content-length", str(len(body))))
        writer.write(http.send(h11.Response(status_code=status, headers=headers)) or b"")
        step = max(1, len(body) // 50)
        for at in range(0, len(body), step):
            writer.write(http.send(h11.Data(data=body[at : at + step])) or b"")
        writer.write(http.send(h11.EndOfMessage()) or b"")
        await writer.drain()

    def _content(self, seen: Seen, path: str, query: dict[str, str]) -> tuple[int, list[tuple[str, str]], bytes]:
        if path == "/redirect":
            return 302, [("location", query["to"])], b""
        if path == "/gzip":
            return 200, [("content-encoding", "gzip")], gzip.compress(b"compressed " * 1000)
        if path.startswith("/bucket/"):
            if seen.method == "PUT":
                self.stored[path] = seen.body
            return 200, [("etag", '"e"')], self.stored[path] if seen.method == "GET" else b""
        if path != "/echo":
            return 200, [("content-type", "application/json")], b'{"id": "cus_1", "object": "customer"}'
        headers = [(f"x-echo-{name}", value) for name, value in seen.headers if name.startswith("x-")]
        said = {"method": seen.method, "target": seen.target, "headers": seen.headers, "length": len(seen.body)}
        said["body"] = seen.body[: 1024 * 1024].decode("latin-1")
        body = json.dumps(said).encode()
        match query.get("coding"):
            case None:
                return 200, headers, body
            case "gzip":
                body = gzip.compress(body)
            case "deflate":
                body = zlib.compress(body)
        return 200, [*headers, ("content-encoding", query["coding"])], body

    async def _big(self, count: int, http: h11.Connection, writer: asyncio.StreamWriter) -> None:
        writer.write(http.send(h11.Response(status_code=200, headers=[("content-length", str(count))])) or b"")
        piece = bytes(65536)
        while self.sent < count:
            data = piece[: min(len(piece), count - self.sent)]
            writer.write(http.send(h11.Data(data=data)) or b"")
            self.sent += len(data)
            await writer.drain()
        writer.write(http.send(h11.EndOfMessage()) or b"")
        await writer.drain()


@contextlib.asynccontextmanager
async def served(folder: Path, address: str = "127.0.0.1") -> AsyncIterator[Origin]:
    """An origin, with the certificate of the authority in `folder` (see `authority`)."""
    origin = Origin()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "server.pem")
    async with contextlib.AsyncExitStack() as stack:
        ports = []
        for tls in (None, context):
            server = await asyncio.start_server(origin.serve, address, 0, ssl=tls)
            stack.callback(server.close)
            ports.append(server.sockets[0].getsockname()[1])
        origin.http, origin.https = ports
        yield origin


def authority(folder: Path, *, names: tuple[str, ...] = (NAME, "*.wild.test", "127.0.0.1")) -> Path:
    """A certificate authority, `ca.pem`, and what it made for the server, `server.pem`. Gives the former's path."""
    now = datetime.datetime.now(datetime.UTC)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    subjects = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("Test CA", "server")]
    certificates = []
    for number, (key, subject) in enumerate(zip(keys, subjects, strict=True)):
        builder = x509.CertificateBuilder(subjects[0], subject, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - datetime.timedelta(days=1))
        builder = builder.not_valid_after(now + datetime.timedelta(days=1))
        builder = builder.add_extension(x509.BasicConstraints(ca=number == 0, path_length=None), critical=True)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(keys[0].public_key())
        builder = builder.add_extension(issuer, critical=False)
        if number == 0:
            builder = builder.add_extension(_CA_USAGE, critical=True)
        else:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_name(name) for name in names]), critical=False
            )
        certificates.append(builder.sign(keys[0], hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    (folder / "ca.pem").write_bytes(certificates[0])
    key_text = keys[1].private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "server.pem").write_bytes(certificates[1] + key_text)
    return folder / "ca.pem"


def _name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


_CA_USAGE = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)
