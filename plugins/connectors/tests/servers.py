"""Servers that tests run on loopback: one that remembers what it received, and one that sends any bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send


@dataclass
class Recorder:
    """An HTTP server that remembers what it received and answers by path; what it does not know it echoes."""

    answers: dict[str, Callable[[Request], Awaitable[Response] | Response]] = field(default_factory=dict)
    received: list[dict[str, Any]] = field(default_factory=list)

    @property
    def app(self) -> Starlette:
        app = Starlette()
        app.add_middleware(_Everything, recorder=self)
        return app

    def on(self, path: str, *answers: Response) -> None:
        """Answer calls of the path in this order; the last answer is repeated."""
        left = list(answers)
        self.answers[path] = lambda request: left.pop(0) if len(left) > 1 else left[0]


class _Everything:
    def __init__(self, app: ASGIApp, recorder: Recorder) -> None:
        self._recorder = recorder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        body = await request.body()
        seen = {
            "method": request.method,
            "path": request.url.path,
            "query": request.url.query,
            "headers": dict(request.headers),
            "body": body.decode("latin-1"),
        }
        self._recorder.received.append(seen)
        given = self._recorder.answers.get(request.url.path)
        answer = JSONResponse(seen) if given is None else given(request)
        response = answer if isinstance(answer, Response) else await answer
        await response(scope, receive, send)


@asynccontextmanager
async def raw_server(answer: bytes, *, hang: bool = False) -> AsyncIterator[str]:
    """A server that sends these bytes to whoever connects, then closes, or with `hang` keeps the connection open."""
    closing = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        if hang:
            await closing.wait()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        closing.set()
        server.close()
        await server.wait_closed()
