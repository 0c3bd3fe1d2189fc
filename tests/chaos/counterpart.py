"""The other side, in a process of its own: `python -m tests.chaos.counterpart LOG` prints its address, and writes a line for
each request before it answers. That log is what really happened, whatever anybody believes.

    POST /effects/<anything>   201 {"receipt"}; a repeated Idempotency-Key gets the first receipt, and 200;
                               a `link` in the body is called back
    PUT  /effects/<anything>   200 {"receipt"}: the same content again changes nothing
    GET  /prices/<name>        200 {"price"}
    POST /2/files/download     the orders document, as Dropbox gives it
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import time
from pathlib import Path
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from turnout_connectors.standins.dropbox import DropboxStandIn
from turnout_connectors.standins.serving import serving

from examples.orders.make_orders import orders

__all__ = ["FILES_TOKEN", "ORDERS", "Effects"]

FILES_TOKEN = "files-secret"
ORDERS = 20
_AGAIN_S = 0.1


class Effects:
    """The ASGI application. `log` gets a JSON line for each effect: `key`, `method`, `path`, `body`, and `fresh`: it was not
    a repetition that the server recognised."""

    def __init__(self, log: Path) -> None:
        self._log = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._receipts: dict[tuple[str, str], str] = {}
        self._numbers = itertools.count(1)
        self._calls: set[asyncio.Task[None]] = set()
        dropbox = DropboxStandIn(token=FILES_TOKEN)
        dropbox.put("/orders.xml", "".join(orders(ORDERS)).encode())
        self.app = Starlette(
            routes=[
                Route("/effects/{rest:path}", self._effect, methods=["POST", "PUT"]),
                Route("/prices/{name}", self._price),
                Mount("/", dropbox.app),
            ]
        )

    async def _effect(self, request: Request) -> Response:
        body, method, path = await request.json(), request.method, request.url.path
        key = request.headers.get("idempotency-key", "")
        # What makes a repetition one: the key, or for PUT the content; nothing for a plain POST.
        same = key or (json.dumps(body) if method == "PUT" else "")
        known = self._receipts.get((path, same)) if same else None
        receipt = known or f"R-{next(self._numbers):06d}"
        if same:
            self._receipts[path, same] = receipt
        self._write(method=method, path=path, key=key, body=body, fresh=known is None, receipt=receipt)
        if link := body.get("link"):
            call = asyncio.ensure_future(_call_back(link))
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)
        return JSONResponse({"receipt": receipt}, status_code=200 if known else 201)

    async def _price(self, request: Request) -> Response:
        return JSONResponse({"price": len(request.path_params["name"])})

    def _write(self, **line: Any) -> None:
        os.write(self._log, (json.dumps({"at": time.time(), **line}) + "\n").encode())


async def _call_back(link: str) -> None:
    """Until somebody has heard it, or says that nobody waits any more."""
    async with httpx.AsyncClient() as http:
        while True:
            with contextlib.suppress(httpx.HTTPError):
                if (await http.post(link, json={"approved": True})).status_code in (202, 410):
                    return
            await asyncio.sleep(_AGAIN_S)


async def _serve(log: Path) -> None:
    async with serving(Effects(log).app) as url:
        print(url, flush=True)  # noqa: T201 - this is how who started it learns its address
        await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description="The other side of the chaos tests.")
    parser.add_argument("log", type=Path)
    asyncio.run(_serve(parser.parse_args().log))


if __name__ == "__main__":
    main()
