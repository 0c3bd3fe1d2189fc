"""A stand-in for an ERP: takes orders over HTTP, remembers what it received, and fails when it is told to.

    POST /orders    with `Authorization: Bearer TOKEN` and a JSON body: 201 {"receipt": "R-00001"}
    GET  /orders    what it accepted, in order (same token)

A POST that repeats an `Idempotency-Key` gets the first one's receipt, and nothing is accepted twice.
`python examples/orders/erp.py --port 8602 --token secret --fail-first 2` runs it alone.
"""

from __future__ import annotations

import argparse
import asyncio
import hmac
import json
from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from turnout_connectors.standins.serving import serving

__all__ = ["AcceptedOrder", "ErpStandIn"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedOrder:
    """One accepted POST: its idempotency key (empty without one), its body, and how often it was sent."""

    receipt: str
    key: str
    body: Any
    times_sent: int = 1

    def repeated(self) -> AcceptedOrder:
        """The same, sent once more."""
        return AcceptedOrder(receipt=self.receipt, key=self.key, body=self.body, times_sent=self.times_sent + 1)

    def as_json(self) -> dict[str, Any]:
        return {"receipt": self.receipt, "key": self.key, "times_sent": self.times_sent, "body": self.body}


class ErpStandIn:
    """One ERP, in memory. `app` is its ASGI application; `accepted` what it took, in the order in which it came.

    The first `fail_first` POSTs are answered 503 and leave nothing behind.
    """

    def __init__(self, *, token: str, fail_first: int = 0) -> None:
        self.accepted: list[AcceptedOrder] = []
        self._token = token
        self._failures_left = fail_first
        self.app = Starlette(
            routes=[
                Route("/orders", self._post, methods=["POST"]),
                Route("/orders", self._list, methods=["GET"]),
            ]
        )

    async def _post(self, request: Request) -> Response:
        if not self._authorized(request):
            return JSONResponse({"error": "a bearer token is needed, and this is not the one"}, status_code=401)
        if self._failures_left > 0:
            self._failures_left -= 1
            return JSONResponse({"error": "down for a moment"}, status_code=503)
        try:
            body = json.loads(await request.body())
        except ValueError:
            return JSONResponse({"error": "the body is not JSON"}, status_code=400)
        key = request.headers.get("idempotency-key", "")
        for index, order in enumerate(self.accepted):
            if key and order.key == key:
                self.accepted[index] = order.repeated()
                return JSONResponse({"receipt": order.receipt}, status_code=200)
        receipt = f"R-{len(self.accepted) + 1:05d}"
        self.accepted.append(AcceptedOrder(receipt=receipt, key=key, body=body))
        return JSONResponse({"receipt": receipt}, status_code=201)

    async def _list(self, request: Request) -> Response:
        if not self._authorized(request):
            return JSONResponse({"error": "a bearer token is needed, and this is not the one"}, status_code=401)
        return JSONResponse([order.as_json() for order in self.accepted])

    def _authorized(self, request: Request) -> bool:
        wanted = f"Bearer {self._token}".encode()
        return hmac.compare_digest(request.headers.get("authorization", "").encode(), wanted)


async def _serve(erp: ErpStandIn, port: int) -> None:
    async with serving(erp.app, port=port) as url:
        print(f"ERP stand-in on {url}, until Ctrl-C", flush=True)
        await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description="A stand-in for an ERP.")
    parser.add_argument("--port", type=int, default=8602, help="0 takes a free one")
    parser.add_argument("--token", default="token", help="the bearer token that it wants")
    parser.add_argument("--fail-first", type=int, default=0, metavar="N", help="answer the first N POSTs with 503")
    options = parser.parse_args()
    erp = ErpStandIn(token=options.token, fail_first=options.fail_first)
    try:
        asyncio.run(_serve(erp, options.port))
    except KeyboardInterrupt:
        print("stopped")


if __name__ == "__main__":
    main()
