"""The other side: a real HTTP server that counts what really happened, and can kill whoever calls it in mid-call."""

from __future__ import annotations

import contextlib
import os
import signal
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from turnout_connectors.standins.dropbox import DropboxStandIn

from examples.orders.erp import ErpStandIn
from examples.orders.make_orders import orders

__all__ = ["ERP_TOKEN", "FILES_TOKEN", "Counterpart", "Side"]

ERP_TOKEN = "erp-secret"
FILES_TOKEN = "files-secret"


def _dropbox() -> DropboxStandIn:
    dropbox = DropboxStandIn(token=FILES_TOKEN)
    dropbox.put("/orders.xml", "".join(orders(20)).encode())
    return dropbox


@dataclass
class Side:
    """What one case sees: an ERP and a Dropbox of its own, and how often each was asked for what.

    The caller is killed at the request of that number (from 0): `before` it took effect, or `after`, unanswered.
    """

    case: Path
    kill_at: int | None = None
    after: bool = False
    erp: ErpStandIn = field(default_factory=lambda: ErpStandIn(token=ERP_TOKEN))
    dropbox: DropboxStandIn = field(default_factory=_dropbox)
    requests: Counter[str] = field(default_factory=Counter)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        deadly = self.requests.total() == self.kill_at
        self.requests[f"{scope['method']} {scope['path'].rpartition('/')[2]}"] += 1
        if deadly and not self.after:
            self._kill()
            return
        if not deadly:
            await self._app(scope)(scope, receive, send)
            return

        async def unsaid(message: Any) -> None:
            """The answer is never heard."""

        await self._app(scope)(scope, receive, unsaid)
        self._kill()

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int((self.case / "pid").read_text()), signal.SIGKILL)

    def _app(self, scope: Any) -> Any:
        if scope["path"].startswith("/2/"):
            return self.dropbox.app
        return self.erp.app if scope["path"].startswith("/orders") else _PRICES


async def _price(request: Request) -> Response:
    return JSONResponse({"price": len(request.path_params["id"])})


_PRICES = Starlette(routes=[Route("/prices/{id}", _price)])


class Counterpart:
    """All cases' other sides, each under its name."""

    def __init__(self) -> None:
        self.sides: dict[str, Side] = {}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        name, _, rest = scope["path"].lstrip("/").partition("/")
        path = f"/{rest}"
        await self.sides[name]({**scope, "path": path, "raw_path": path.encode()}, receive, send)
