"""A registry of images as ECR is one: the distribution protocol with a login, and the calls of ECR's API that deploying makes.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md. What is pushed is kept in files, whole and checked.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

__all__ = ["Registry", "registry"]

_UPLOADS: Final = re.compile(r"/v2/(.+)/blobs/uploads/(\w*)")
_BLOB: Final = re.compile(r"/v2/(.+)/blobs/(sha256:[0-9a-f]{64})")
_MANIFEST: Final = re.compile(r"/v2/(.+)/manifests/([\w.:-]+)")


class Registry:
    """`address` is where it is, `secret` what somebody who may push says. `pushes` counts manifests that came."""

    def __init__(self, directory: Path, repository: str) -> None:
        self.directory = directory
        self.repository = repository
        self.secret = base64.b64encode(f"AWS:{secrets.token_urlsafe(24)}".encode()).decode()
        self.tags: dict[str, str] = {}
        self.kinds: dict[str, str] = {}
        self.pushes = 0
        self.address = ""

    def blob(self, digest: str) -> Path:
        return self.directory / digest.replace(":", "-")

    def keep(self, content: Path, digest: str) -> bool:
        """Whether it is what it says."""
        with content.open("rb") as file:
            if f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}" != digest:
                return False
        content.replace(self.blob(digest))
        return True

    def keep_manifest(self, reference: str, kind: str, body: bytes) -> str:
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        self.blob(digest).write_bytes(body)
        self.kinds[digest] = kind
        self.pushes += 1
        if not reference.startswith("sha256:"):
            self.tags[reference] = digest
        return digest

    def answer(self, operation: str, asked: Any) -> tuple[int, Any]:
        """To a call of ECR's API."""
        match operation:
            case "GetAuthorizationToken":
                login = {"authorizationToken": self.secret, "proxyEndpoint": f"https://{self.address}"}
                return 200, {"authorizationData": [login]}
            case "DescribeRepositories" if asked["repositoryNames"] == [self.repository]:
                return 200, {"repositories": [{"repositoryUri": f"{self.address}/{self.repository}"}]}
            case "DescribeImages":
                digest = self.tags.get(asked["imageIds"][0]["imageTag"])
                if digest is not None:
                    return 200, {"imageDetails": [{"imageDigest": digest}]}
                return 400, {"__type": "ImageNotFoundException", "message": "there is no such image"}
        return 400, {"__type": "RepositoryNotFoundException", "message": "there is no such repository"}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    here: Registry

    def do_GET(self) -> None:
        self._content(body=True)

    def do_HEAD(self) -> None:
        self._content(body=False)

    def do_POST(self) -> None:
        if "x-amz-target" in self.headers:
            status, told = self.here.answer(
                self.headers["x-amz-target"].rpartition(".")[2], json.loads(b"".join(self._body()))
            )
            self._say(status, json.dumps(told).encode(), {"content-type": "application/x-amz-json-1.1"})
        elif self._known() and (found := _UPLOADS.fullmatch(urlsplit(self.path).path)):
            self._drain()
            upload = secrets.token_hex(8)
            (self.here.directory / upload).touch()
            self._say(202, b"", {"location": f"/v2/{found[1]}/blobs/uploads/{upload}", "range": "0-0"})

    def do_PATCH(self) -> None:
        if self._known() and (found := _UPLOADS.fullmatch(urlsplit(self.path).path)):
            size = self._append(found[2])
            self._say(202, b"", {"location": self.path, "range": f"0-{size - 1}"})

    def do_PUT(self) -> None:
        if not self._known():
            return
        parts = urlsplit(self.path)
        if found := _UPLOADS.fullmatch(parts.path):
            self._append(found[2])
            digest = parse_qs(parts.query)["digest"][0]
            kept = self.here.keep(self.here.directory / found[2], digest)
            self._say(201 if kept else 400, b"", {"docker-content-digest": digest})
        elif found := _MANIFEST.fullmatch(parts.path):
            kind, body = self.headers["content-type"], b"".join(self._body())
            self._say(201, b"", {"docker-content-digest": self.here.keep_manifest(found[2], kind, body)})

    def _content(self, *, body: bool) -> None:
        if not self._known():
            return
        path = urlsplit(self.path).path
        digest = ""
        if found := _BLOB.fullmatch(path):
            digest = found[2]
        elif found := _MANIFEST.fullmatch(path):
            digest = self.here.tags.get(found[2], found[2])
        place = self.here.blob(digest)
        if path == "/v2/":
            self._say(200, b"{}", {})
        elif not digest or not place.is_file():
            self._say(404, b"{}", {})
        else:
            kind = self.here.kinds.get(digest, "application/octet-stream")
            self._say(200, place.read_bytes(), {"content-type": kind, "docker-content-digest": digest}, body=body)

    def _known(self) -> bool:
        if self.headers.get("authorization") == f"Basic {self.here.secret}":
            return True
        self._drain()
        self._say(401, b"{}", {"www-authenticate": 'Basic realm="registry"'})
        return False

    def _say(self, status: int, content: bytes, headers: dict[str, str], *, body: bool = True) -> None:
        self.send_response(status)
        for name, value in {**headers, "content-length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def _append(self, upload: str) -> int:
        place = self.here.directory / upload
        with place.open("ab") as file:
            for part in self._body():
                file.write(part)
        return place.stat().st_size

    def _drain(self) -> None:
        for _ in self._body():
            pass

    def _body(self) -> Iterator[bytes]:
        if self.headers.get("transfer-encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        elif length := int(self.headers.get("content-length", "0")):
            yield self.rfile.read(length)

    def log_message(self, format: str, *arguments: object) -> None:
        """Quiet."""


@contextmanager
def registry(directory: Path, repository: str) -> Iterator[Registry]:
    directory.mkdir()
    here = Registry(directory, repository)
    handler = type("Handler", (_Handler,), {"here": here})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    here.address = f"127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield here
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
