"""The other side of the acceptance definitions: a small HTTP API that answers what it was asked."""

from __future__ import annotations

import asyncio
from collections import Counter

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

__all__ = ["counterpart"]

_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"]


def counterpart() -> Starlette:
    """An application with a memory of its own of how often each key of `/busy/<key>` was asked for."""
    app = Starlette(
        routes=[
            Route("/echo", _echo, methods=_METHODS),
            Route("/busy/{key}", _busy),
            Route("/status/{code:int}", _status, methods=_METHODS),
            Route("/redirect/{code:int}", _redirect, methods=_METHODS),
            Route("/slow", _slow),
            Route("/bytes/{size:int}", _bytes),
            Route("/pages", _pages),
            Route("/cursor", _cursor),
            Route("/broken", _broken),
        ]
    )
    app.state.asked = Counter()
    return app


async def _echo(request: Request) -> Response:
    body = await request.body()
    return JSONResponse(
        {
            "method": request.method,
            "query": request.query_params.multi_items(),
            "headers": dict(request.headers),
            "body": body.decode(errors="replace"),
            "size": len(body),
        }
    )


async def _busy(request: Request) -> Response:
    """503 twice, then 200."""
    asked, key = request.app.state.asked, request.path_params["key"]
    asked[key] += 1
    if asked[key] < 3:
        return Response("busy", 503, headers={"Retry-After": "0"})
    return JSONResponse({"asked": asked[key]})


async def _status(request: Request) -> Response:
    return JSONResponse({"reason": "as asked"}, request.path_params["code"])


async def _redirect(request: Request) -> Response:
    return RedirectResponse("/echo", request.path_params["code"])


async def _slow(request: Request) -> Response:
    await asyncio.sleep(30)
    return Response()


async def _bytes(request: Request) -> Response:
    return Response(b"x" * request.path_params["size"], media_type="application/octet-stream")


async def _pages(request: Request) -> Response:
    """Three pages, by a Link header."""
    page = int(request.query_params.get("page", "1"))
    following = request.url.include_query_params(page=page + 1)
    headers = {"Link": f'<{following}>; rel="next"'} if page < 3 else {}
    return JSONResponse([page * 10, page * 10 + 1], headers=headers)


async def _cursor(request: Request) -> Response:
    """Three pages, by a cursor in the body."""
    at = int(request.query_params.get("cursor", "0"))
    return JSONResponse({"items": [at, at + 1], "next": at + 2 if at < 4 else None})


async def _broken(request: Request) -> Response:
    return Response("{not json", media_type="application/json")
