"""HTTP on one machine: an application on uvicorn. The only module that knows a web server."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from turnout.errors import BackendError
from turnout.local.http_heads import BoundedHeads

__all__ = ["HttpServer", "url_of"]


def url_of(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


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
