"""A gate before moto's server: what comes is written down and goes through, or is answered as AWS's documentation has it, for what
the stand-in behind it cannot give: throttling, refusals, events that are rejected."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape

__all__ = ["NO_ANSWER", "Answer", "Asked", "Gate", "gate", "json_answer", "refusal", "xml_refusal"]

_HOPS = frozenset({"connection", "host", "transfer-encoding", "content-length"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request. `operation` is what it asks for: the last word of its target, or its `Action`."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def operation(self) -> str:
        return self.headers.get("x-amz-target", "").rpartition(".")[2] or self.form.get("Action", "") or self.path

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def form(self) -> Mapping[str, str]:
        """Of a service with the query protocol."""
        if not self.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            return {}
        return {name: values[0] for name, values in parse_qs(self.body.decode(), keep_blank_values=True).items()}


NO_ANSWER: Final = Answer(status=0, body=b"")
"""The connection is closed."""

Answering = Callable[[Asked], Answer | None]


@dataclass
class Gate:
    """`answer` answers in place of the server behind, where it returns something."""

    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    answer: Answering = lambda asked: None

    def of(self, operation: str) -> list[Asked]:
        return [one for one in self.asked if one.operation == operation]


def json_answer(content: Any, status: int = 200, **headers: str) -> Answer:
    """Of services that speak JSON."""
    return Answer(
        status=status,
        body=json.dumps(content).encode(),
        headers={"content-type": "application/x-amz-json-1.1", **headers},
    )


def refusal(code: str, message: str = "it is so", status: int = 400, **headers: str) -> Answer:
    given = {"x-amzn-errortype": code, **headers}
    return json_answer({"__type": code, "message": message}, status, **given)


def xml_refusal(code: str, message: str = "it is so", status: int = 400) -> Answer:
    """Of services with the query protocol."""
    text = (
        '<ErrorResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><Error><Type>Sender</Type>'
        f"<Code>{escape(code)}</Code><Message>{escape(message)}</Message></Error><RequestId>1</RequestId></ErrorResponse>"
    )
    return Answer(status=status, body=text.encode(), headers={"content-type": "text/xml"})


@contextmanager
def gate(behind: str = "") -> Iterator[Gate]:
    """Before the server at `behind`."""
    made = Gate()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(path=self.path, headers=headers, body=body)
            made.asked.append(asked)
            answer = made.answer(asked) or _passed_on(behind, asked)
            if answer is NO_ANSWER:
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *args: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True  # connections are kept open until who made them closes
    server.block_on_close = False
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    made.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _passed_on(behind: str, asked: Asked) -> Answer:
    to = urlsplit(behind)
    connection = http.client.HTTPConnection(str(to.hostname), to.port, timeout=60)
    try:
        headers = {name: value for name, value in asked.headers.items() if name not in _HOPS}
        connection.request("POST", asked.path, body=asked.body, headers=headers)
        answer = connection.getresponse()
        return Answer(
            status=answer.status,
            body=answer.read(),
            headers={name: value for name, value in answer.getheaders() if name.lower() not in _HOPS},
        )
    finally:
        connection.close()
