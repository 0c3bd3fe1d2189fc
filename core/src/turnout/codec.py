"""Events and values as bytes: what journals, stores and records keep.

MessagePack maps by field name, so that versions can read each other: a field that this version does not know is
ignored, one that is missing gets its default. Text that is not Unicode (a lone surrogate out of somebody's file name)
is written with U+FFFD in its place: a strange log line must not be able to stop an execution.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar, cast

import msgspec

from turnout.errors import BackendError
from turnout.model.events import EVENTS, Event
from turnout.model.execution import ErrorInfo, ExecutionInfo, SandboxReceipt
from turnout.model.payload import Encoded, File

__all__ = [
    "decode_event",
    "encode_event",
    "pack",
    "pack_error",
    "pack_info",
    "pack_receipts",
    "unpack",
    "unpack_error",
    "unpack_info",
    "unpack_receipts",
]

T = TypeVar("T")


def encode_event(event: Event) -> tuple[str, bytes]:
    """The event's stable name (see `turnout.model.events.EVENTS`) and its body."""
    return _KINDS[type(event)], _encode(event)


def decode_event(kind: str, body: bytes) -> Event:
    """The event that `encode_event` wrote; `BackendError` if the kind is unknown or the body is damaged."""
    decode = _EVENT_DECODERS.get(kind)
    if decode is None:
        raise BackendError(f"a row of the unknown kind {kind!r}: a newer version of Turnout wrote it; upgrade this one")
    return _decoded(decode, body, f"a row of kind {kind!r}")


def pack(value: Encoded) -> bytes:
    """A value with its files."""
    return _encode(value)


def unpack(body: bytes) -> Encoded:
    """The value that `pack` wrote; `BackendError` if it is damaged."""
    return _decoded(_decode_value, body, "a stored value")


def pack_error(error: ErrorInfo) -> bytes:
    return _encode(error)


def unpack_error(body: bytes) -> ErrorInfo:
    """The error that `pack_error` wrote; `BackendError` if it is damaged."""
    return _decoded(_decode_error, body, "a stored error")


def pack_info(info: ExecutionInfo) -> bytes:
    return _encode(info)


def unpack_info(body: bytes) -> ExecutionInfo:
    """The description that `pack_info` wrote; `BackendError` if it is damaged."""
    return _decoded(_decode_info, body, "a stored execution")


def pack_receipts(receipts: Iterable[SandboxReceipt]) -> str:
    """JSON, a line each, so that one text can be added behind another."""
    return "".join(_receipt_line(receipt) for receipt in receipts)


def unpack_receipts(text: str) -> tuple[SandboxReceipt, ...]:
    """What `pack_receipts` wrote; `BackendError` if it is damaged."""
    return tuple(_decoded(_decode_receipts, text.encode(), "stored receipts"))


def _receipt_line(receipt: SandboxReceipt) -> str:
    try:
        return msgspec.json.encode(receipt).decode() + "\n"
    except UnicodeEncodeError:
        return msgspec.json.encode(_unicode(receipt)).decode() + "\n"


def _write_file(data: Any) -> dict[str, object]:
    if type(data) is not File:
        raise TypeError(f"{type(data).__name__} is not part of the model")
    written: dict[str, object] = {"sha256": data.sha256, "size": data.size}
    if data.name:
        written["name"] = data.name
    if data.content_type != _CONTENT_TYPE:
        written["content_type"] = data.content_type
    if data.data is not None:
        written["data"] = data.data
    return written


def _read_file(kind: type, data: Any) -> File:
    if kind is not File or not isinstance(data, dict):
        raise ValueError("not a file")
    content = data.get("data")
    if not (isinstance(data.get("sha256"), str) and isinstance(data.get("size"), int)):
        raise ValueError("a file needs its hash and size")
    return File(
        sha256=data["sha256"],
        size=data["size"],
        name=str(data.get("name", "")),
        content_type=str(data.get("content_type", _CONTENT_TYPE)),
        data=content if isinstance(content, bytes) else None,
    )


def _encode(data: Any) -> bytes:
    try:
        return _encode_exactly(data)
    except UnicodeEncodeError:
        return _encode_exactly(_unicode(data))


def _unicode(data: Any) -> Any:
    """The same with U+FFFD for what is not Unicode."""
    if type(data) is str:
        return data.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(data, tuple):
        return tuple(_unicode(item) for item in data)
    if isinstance(data, File):
        return File(
            sha256=data.sha256,
            size=data.size,
            name=_unicode(data.name),
            content_type=_unicode(data.content_type),
            data=data.data,
        )
    if is_dataclass(data) and not isinstance(data, type):
        return replace(data, **{field.name: _unicode(getattr(data, field.name)) for field in fields(data)})
    return data


def _decoded(decode: Callable[[bytes], T], body: bytes, what: str) -> T:
    try:
        return decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BackendError(f"{what} cannot be read: {error}") from error


def _decoder(kind: type[T]) -> Callable[[bytes], T]:
    return msgspec.msgpack.Decoder(kind, dec_hook=_read_file).decode


_CONTENT_TYPE = "application/octet-stream"
_KINDS: dict[type, str] = {kind: name for name, kind in EVENTS.items()}
_EVENT_DECODERS = {name: cast("Callable[[bytes], Event]", _decoder(kind)) for name, kind in EVENTS.items()}
_encode_exactly = msgspec.msgpack.Encoder(enc_hook=_write_file).encode
_decode_value = _decoder(Encoded)
_decode_error = _decoder(ErrorInfo)
_decode_info = _decoder(ExecutionInfo)
_decode_receipts = msgspec.json.Decoder(SandboxReceipt).decode_lines
