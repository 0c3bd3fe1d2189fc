"""What a request becomes for expressions: its body by its content type, its headers and query without credentials."""

from __future__ import annotations

from collections.abc import Container
from typing import Final
from urllib.parse import parse_qsl

from turnout.engine.content import Content
from turnout.errors import StepError
from turnout.interfaces.service import Request
from turnout.model.payload import INLINE_BYTES
from turnout.values import MAX_DEPTH, Value

__all__ = ["body_value", "request_value"]

_JSON_BYTES = 100 * 1024 * 1024
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


async def body_value(request: Request, content: Content) -> Value:
    """A request's body by its content type: JSON as it is, a form as an object, text as text, else a file.

    What says it is JSON and is not comes as text: refusing it would lose it. What is compressed stays as it came, as a file:
    nothing from outside is unpacked here.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        return Value(await content.create(request.body, content_type=kind or "application/octet-stream"))
    if kind == "application/json" or kind.endswith("+json"):
        return _parsed(await _read(request, _JSON_BYTES))
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


async def _read(request: Request, limit: int) -> bytes:
    chunks, size = [], 0
    async for chunk in request.body:
        chunks.append(chunk)
        size += len(chunk)
        if size > limit:
            raise StepError(
                f"a JSON body may have {limit:,} bytes; send larger content as a file (another type)", kind="too_large"
            )
    return b"".join(chunks)
