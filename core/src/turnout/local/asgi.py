"""Services' routes as an ASGI application: what a server on this machine serves, or a gateway passes requests to."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.requests import Request as StarletteRequest
from starlette.responses import JSONResponse, StreamingResponse
from starlette.responses import Response as StarletteResponse
from starlette.routing import Route as StarletteRoute

from turnout.errors import BackendError
from turnout.interfaces.service import Request, Response, Route

__all__ = ["application"]

_log = logging.getLogger("turnout.http")


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
