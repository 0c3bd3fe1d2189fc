"""Services' routes over HTTP on one machine: Starlette on uvicorn. The only module that knows a web server."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.requests import Request as StarletteRequest
from starlette.responses import JSONResponse, StreamingResponse
from starlette.responses import Response as StarletteResponse
from starlette.routing import Route as StarletteRoute

from turnout.errors import BackendError
from turnout.interfaces.service import Request, Response, Route
from turnout.local.http_heads import BoundedHeads

__all__ = ["HttpServer", "application", "url_of"]

_log = logging.getLogger("turnout.http")


def url_of(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def application(routes: Sequence[Route], *, request_bytes: int) -> Starlette:
    """The routes as an ASGI application; a body above `request_bytes` is answered with 413."""
    # All methods of a path are one route there: what it says of a method that there is not, `Allow`, is then of all of them.
    paths: dict[str, dict[str, Callable[[StarletteRequest], Awaitable[StarletteResponse]]]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method] = _endpoint(route.handle, request_bytes)
    return Starlette(
        routes=[
            StarletteRoute(path, _by_method(endpoints), methods=list(endpoints)) for path, endpoints in paths.items()
        ],
        exception_handlers={404: _refused, 405: _refused},
    )


def _by_method(
    endpoints: Mapping[str, Callable[[StarletteRequest], Awaitable[StarletteResponse]]],
) -> Callable[[StarletteRequest], Awaitable[StarletteResponse]]:
    async def endpoint(incoming: StarletteRequest) -> StarletteResponse:
        return await endpoints["GET" if incoming.method == "HEAD" else incoming.method](incoming)

    return endpoint


async def _refused(_: StarletteRequest, error: Exception) -> StarletteResponse:
    """No such path, or no such method of it, as a problem detail (RFC 9457)."""
    assert isinstance(error, HTTPException)
    problem = {
        "type": "about:blank",
        "title": error.detail,
        "status": error.status_code,
        "detail": "see the HTTP API's reference",
    }
    return JSONResponse(problem, error.status_code, error.headers, media_type="application/problem+json")


class _TooLarge(Exception):
    pass


class _TooSlow(Exception):
    pass


def _endpoint(
    handle: Callable[[Request], Awaitable[Response]], request_bytes: int
) -> Callable[[StarletteRequest], Awaitable[StarletteResponse]]:
    async def endpoint(incoming: StarletteRequest) -> StarletteResponse:
        request = Request(
            method=incoming.method,
            path=incoming.url.path,
            headers=_headers(incoming),
            query=dict(incoming.query_params),
            parameters={name: str(value) for name, value in incoming.path_params.items()},
            body=_capped(incoming, request_bytes),
            url=str(incoming.url),
            client=incoming.client.host if incoming.client else "",
        )
        try:
            return _outgoing(await handle(request))
        except _TooLarge:
            return StarletteResponse(f'{{"error": "a body may have {request_bytes} bytes"}}', 413, _JSON)
        except ClientDisconnect:
            return StarletteResponse(status_code=400)
        except _TooSlow:
            return StarletteResponse('{"error": "the body did not arrive"}', 408, _JSON)
        except BackendError as error:
            # Nothing was promised: the sender must know, so that it sends again. Why is for who runs this, not for a stranger.
            _log.warning("%s is answered with 503: %s", request.method, error)
            return StarletteResponse(f'{{"error": "not accepted, send it again: {type(error).__name__}"}}', 503, _JSON)

    return endpoint


def _headers(incoming: StarletteRequest) -> dict[str, str]:
    """A header that comes more than once is one with all its values (RFC 9110, 5.2)."""
    headers: dict[str, str] = {}
    for name, value in incoming.headers.items():
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


_JSON = {"content-type": "application/json"}
_PAUSE_S = 60.0
"""Who sends nothing more of a body for so long is not waited for."""


async def _capped(incoming: StarletteRequest, limit: int) -> AsyncIterator[bytes]:
    size = 0
    chunks = incoming.stream()
    while True:
        try:
            async with asyncio.timeout(_PAUSE_S):
                chunk = await anext(chunks)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise _TooSlow from None
        size += len(chunk)
        if size > limit:
            raise _TooLarge
        if chunk:
            yield chunk


def _outgoing(response: Response) -> StarletteResponse:
    if isinstance(response.body, bytes):
        return StarletteResponse(response.body, response.status, dict(response.headers))
    return StreamingResponse(response.body, response.status, dict(response.headers))


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the caller's: it has executions to hand back as well."""
        yield


class HttpServer:
    """An application on an address, in the caller's event loop; signals are the caller's to handle."""

    def __init__(self, app: Any, *, host: str, port: int) -> None:
        self._listener = _listen(host, port)
        config = uvicorn.Config(
            app, http=BoundedHeads, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=5
        )
        self._server = _Server(config)
        self._task: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port it listens on; the one that the system chose where 0 was asked for."""
        port: int = self._listener.getsockname()[1]
        return port

    async def start(self) -> None:
        """Returns once it answers."""
        self._task = asyncio.ensure_future(self._server.serve(sockets=[self._listener]))
        while not self._server.started:
            if self._task.done():
                self._task.result()
                raise BackendError("the HTTP server ended as it started")
            await asyncio.sleep(0.005)

    async def stop(self) -> None:
        """Answer what is under way, then end."""
        self._server.should_exit = True
        if self._task is not None:
            await self._task
        self._listener.close()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        advice = "choose another port (--port; for a worker [runner] health)"
        raise BackendError(f"cannot listen on {host}:{port}: {error.strerror}; {advice}") from error
    listener.settimeout(0)
    return listener
