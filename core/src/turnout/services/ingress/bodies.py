"""What a request becomes for expressions: its body by its content type, its headers and query without credentials."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Container
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final
from urllib.parse import parse_qsl

from turnout.engine.content import Content
from turnout.errors import StepError
from turnout.interfaces.service import Request
from turnout.model.payload import INLINE_BYTES
from turnout.values import MAX_DEPTH, Value

__all__ = ["Place", "Room", "body_value", "request_value"]

_JSON_BYTES = 100 * 1024 * 1024
_HELD_BYTES = 1024 * 1024
"""JSON up to this size is held while it comes."""
_NEAR_BYTES: Final = 64 * 1024
"""Larger JSON is never built here: it is kept as text, however deep."""
_AROUND: Final = 3
_PRIVATE_HEADERS: Final = frozenset({"authorization", "cookie", "proxy-authorization", "x-api-key", "x-gitlab-token"})
_PRIVATE_QUERY: Final = frozenset(
    {"access_token", "api_key", "apikey", "client_secret", "password", "secret", "token", "hub.verify_token"}
)


def request_value(request: Request, body: Value, private: Container[str] = ()) -> Value:
    """What expressions see of a request. Credentials of the sender, `private` headers among them, are not kept."""
    headers = {
        name: "***" if name in _PRIVATE_HEADERS or name in private else value for name, value in request.headers.items()
    }
    query = {
        name: "***" if name.lower() in _PRIVATE_QUERY else value
        for name, value in request.query.items()
        if name != "wait"
    }
    return Value({"body": body, "headers": headers, "query": query, "method": request.method})


async def body_value(request: Request, content: Content, place: Place) -> Value:
    """A request's body by its content type: JSON as it is, a form as an object, text as text, else a file.

    What says it is JSON and is not comes as text: refusing it would lose it. What is compressed stays as it came, as a file:
    nothing from outside is unpacked here. Large JSON waits in the payload store until it has come whole, and then for its place.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        return Value(await content.create(request.body, content_type=kind or "application/octet-stream"))
    if kind == "application/json" or kind.endswith("+json"):
        return await _json(request, content, place)
    file = await content.create(request.body, content_type=kind or "application/octet-stream")
    if file.size == 0:
        return Value(None)
    if file.size <= INLINE_BYTES and (kind.startswith("text/") or kind in ("", "application/x-www-form-urlencoded")):
        try:
            text = (file.data or b"").decode()
        except UnicodeDecodeError:
            return Value(file)
        if kind == "application/x-www-form-urlencoded":
            return Value(dict(parse_qsl(text, keep_blank_values=True)))
        return _parsed(text.encode()) if not kind else Value(text)
    return Value(file)


def _parsed(data: bytes) -> Value:
    if not data.strip():
        return Value(None)
    try:
        value = Value.parse(data)
        if len(data) <= _NEAR_BYTES and data.count(b"[") + data.count(b"{") >= MAX_DEPTH - _AROUND:
            Value({"trigger": {"body": value}}).encode()  # it may be too deep for what it will stand in
        return value
    except StepError:
        return Value(data.decode(errors="replace"))


class Room:
    """For large JSON, which is held whole while it is read and written again: as much memory as twice its size. So few are at
    once; the others wait on the disk, and so does who sends slowly."""

    def __init__(self, most: int = 2) -> None:
        self._places = asyncio.Semaphore(most)

    @asynccontextmanager
    async def taking(self) -> AsyncIterator[Place]:
        """What is entered of it meanwhile is left at the end."""
        async with AsyncExitStack() as stack:
            yield Place(self._places, stack)


class Place:
    """One request's place in the room, if it needs one."""

    def __init__(self, places: asyncio.Semaphore, stack: AsyncExitStack) -> None:
        self._places = places
        self._stack = stack
        self._entered = False

    async def enter(self) -> None:
        """Returns once there is room. Idempotent."""
        if not self._entered:
            await self._stack.enter_async_context(self._places)
            self._entered = True


async def _json(request: Request, content: Content, place: Place) -> Value:
    chunks, size = [], 0
    body = _capped(request.body, _JSON_BYTES)
    async for chunk in body:
        chunks.append(chunk)
        size += len(chunk)
        if size > _HELD_BYTES:
            break
    else:
        return _parsed(b"".join(chunks))
    file = await content.create(_joined(chunks, body), content_type="application/json")
    await place.enter()
    return _parsed(await content.read(file, limit=_JSON_BYTES))


async def _joined(start: list[bytes], rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    while start:
        yield start.pop(0)
    async for chunk in rest:
        yield chunk


async def _capped(chunks: AsyncIterator[bytes], limit: int) -> AsyncIterator[bytes]:
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > limit:
            raise StepError(
                f"a JSON body may have {limit:,} bytes; send larger content as a file (another type)", kind="too_large"
            )
        yield chunk
