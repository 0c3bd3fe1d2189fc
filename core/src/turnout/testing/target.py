"""The promises of `turnout.interfaces.target` for a target that serves on an address, one test each.

Subclass `TargetContract`; give the fixture `target`. The tests run it in their own process and send that the signals.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import pytest

from turnout.errors import BackendError
from turnout.interfaces.service import Request, Response, Route, Service
from turnout.interfaces.target import Target

__all__ = ["TargetContract"]

_HOST = "127.0.0.1"
_CHUNK = 64 * 1024
_PATIENCE_S = 10.0


class TargetContract:
    """Each test is one sentence of the interface."""

    @pytest.fixture
    def target(self) -> Any:
        raise NotImplementedError("override the fixture `target`")

    async def test_routes_of_all_services_are_answered(self, target: Target) -> None:
        async with _serving(target, [_Service("a"), _Service("b")]) as port:
            answers = [await _ask(port, "GET", f"/{name}/some%20thing?q=%C3%BC&n=1") for name in ("a", "b")]

        assert answers == [b"a GET some thing q=\xc3\xbc n=1 host", b"b GET some thing q=\xc3\xbc n=1 host"]

    async def test_a_request_of_another_method_is_refused(self, target: Target) -> None:
        async with _serving(target, [_Service("a")]) as port, _sent(port, "DELETE", "/a/x") as (reader, _):
            status = await _status(reader)

        assert 400 <= status < 500

    async def test_a_request_arrives_while_it_is_sent(self, target: Target) -> None:
        service = _Service("a")
        async with (
            _serving(target, [service]) as port,
            _sent(port, "POST", "/a/body", length=2 * _CHUNK) as (reader, writer),
        ):
            writer.write(b"x" * _CHUNK)
            await asyncio.wait_for(service.first_part.wait(), _PATIENCE_S)
            writer.write(b"y" * _CHUNK)
            answer = await asyncio.wait_for(reader.read(), _PATIENCE_S)

        assert answer.endswith(str(2 * _CHUNK).encode())

    async def test_an_answer_arrives_while_it_is_made(self, target: Target) -> None:
        service = _Service("a")
        async with _serving(target, [service]) as port, _sent(port, "GET", "/a/stream") as (reader, _):
            await asyncio.wait_for(reader.readuntil(b"first part"), _PATIENCE_S)
            service.go_on.set()
            await asyncio.wait_for(reader.readuntil(b"second part"), _PATIENCE_S)

    async def test_services_start_in_their_order_and_stop_the_last_first(self, target: Target) -> None:
        log: list[str] = []
        async with _serving(target, [_Service(name, log) for name in "abc"]):
            started = list(log)

        assert started == ["start a", "start b", "start c"]
        assert log[3:] == ["stop c", "stop b", "stop a"]

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    async def test_a_signal_stops_it_and_frees_the_address(self, target: Target, number: signal.Signals) -> None:
        async with _serving(target, [_Service("a")], number) as port:
            pass

        with _taken(port):
            pass

    async def test_a_service_that_does_not_stop_cleanly_keeps_no_other_from_stopping(self, target: Target) -> None:
        log: list[str] = []
        with pytest.raises(RuntimeError, match="b cannot stop"):
            async with _serving(target, [_Service("a", log), _Service("b", log, stops=False), _Service("c", log)]):
                log.clear()

        assert log == ["stop c", "stop b", "stop a"]

    async def test_if_a_service_does_not_start_those_before_it_are_stopped(self, target: Target) -> None:
        log: list[str] = []
        services = [_Service("a", log), _Service("b", log, starts=False), _Service("c", log)]

        with pytest.raises(RuntimeError, match="b cannot start"):
            await target.serve(services, host=_HOST, port=_free_port())

        assert "start c" not in log
        assert log[-1] == "stop a"

    async def test_an_address_that_is_taken_is_a_backend_error_and_leaves_nothing_running(self, target: Target) -> None:
        log: list[str] = []
        port = _free_port()
        handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]

        with _taken(port), pytest.raises(BackendError):
            await target.serve([_Service("a", log)], host=_HOST, port=port)

        assert log.count("start a") == log.count("stop a")
        assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == handlers


class _Service(Service):
    """Echoes requests, streams, and writes down when it starts and stops."""

    def __init__(self, name: str, log: list[str] | None = None, *, starts: bool = True, stops: bool = True) -> None:
        self.name = name
        self.first_part = asyncio.Event()
        self.go_on = asyncio.Event()
        self._log = [] if log is None else log
        self._starts = starts
        self._stops = stops

    def routes(self) -> Sequence[Route]:
        return [
            Route(method="POST", path=f"/{self.name}/body", handle=self._count),
            Route(method="GET", path=f"/{self.name}/stream", handle=self._stream),
            Route(method="GET", path=f"/{self.name}/{{thing}}", handle=self._echo),
        ]

    async def start(self) -> None:
        self._log.append(f"start {self.name}")
        if not self._starts:
            raise RuntimeError(f"{self.name} cannot start")

    async def stop(self) -> None:
        self._log.append(f"stop {self.name}")
        if not self._stops:
            raise RuntimeError(f"{self.name} cannot stop")

    async def _echo(self, request: Request) -> Response:
        query = " ".join(f"{name}={value}" for name, value in request.query.items())
        headers = "host" if "host" in request.headers else "no host"
        text = f"{self.name} {request.method} {request.parameters['thing']} {query} {headers}"
        return Response(body=text.encode())

    async def _count(self, request: Request) -> Response:
        size = 0
        async for chunk in request.body:
            size += len(chunk)
            self.first_part.set()
        return Response(body=str(size).encode())

    async def _stream(self, request: Request) -> Response:
        async def parts() -> AsyncIterator[bytes]:
            yield b"first part"
            await self.go_on.wait()
            yield b"second part"

        return Response(body=parts())


@asynccontextmanager
async def _serving(
    target: Target, services: Sequence[Service], number: signal.Signals = signal.SIGTERM
) -> AsyncIterator[int]:
    """The port that it serves on; stopped by a signal at the end, what `serve` raises is raised."""
    port = _free_port()
    serving = asyncio.ensure_future(target.serve(services, host=_HOST, port=port))
    try:
        await _answering(serving, port)
        yield port
        os.kill(os.getpid(), number)
        await asyncio.wait_for(asyncio.shield(serving), _PATIENCE_S)
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


async def _answering(serving: asyncio.Future[None], port: int) -> None:
    async with asyncio.timeout(_PATIENCE_S):
        while not serving.done():
            try:
                async with _sent(port, "GET", "/") as (reader, _):
                    answered = await reader.read()
            except OSError:
                answered = b""
            if answered:
                return
            await asyncio.sleep(0.01)
    serving.result()


@asynccontextmanager
async def _sent(
    port: int, method: str, path: str, *, length: int = 0
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(_HOST, port)
    head = f"{method} {path} HTTP/1.1\r\nHost: {_HOST}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    writer.write(head.encode())
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def _status(reader: asyncio.StreamReader) -> int:
    line = await asyncio.wait_for(reader.readline(), _PATIENCE_S)
    return int(line.split()[1])


async def _ask(port: int, method: str, path: str) -> bytes:
    async with _sent(port, method, path) as (reader, _):
        answer = await asyncio.wait_for(reader.read(), _PATIENCE_S)
    return answer.partition(b"\r\n\r\n")[2]


@contextmanager
def _taken(port: int) -> Iterator[None]:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((_HOST, port))
        listener.listen()
        yield


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port
