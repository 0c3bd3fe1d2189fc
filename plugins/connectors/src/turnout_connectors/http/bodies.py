"""Request bodies: bytes that are there, or files that are streamed, each with its size known beforehand."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from secrets import token_hex
from urllib.parse import urlencode

from turnout.connectors import ActionContext, File, StepError, Value

from turnout_connectors.http.inputs import RequestInputs, Scalar

__all__ = ["Body", "body_of", "query_text"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """What is sent: parts in order, `size` bytes altogether. It can be sent again, to where a redirect leads."""

    content_type: str
    parts: tuple[bytes | File, ...]
    size: int

    @property
    def data(self) -> bytes | None:
        """The whole body if it is in memory already."""
        return self.parts[0] if len(self.parts) == 1 and isinstance(self.parts[0], bytes) else None

    async def chunks(self, context: ActionContext) -> AsyncIterator[bytes]:
        for part in self.parts:
            if isinstance(part, bytes):
                yield part
            else:
                async for chunk in context.files.open(part):
                    yield chunk


def body_of(inputs: RequestInputs) -> Body | None:
    """The body that the inputs describe; None without one. `StepError` of kind `input`."""
    if inputs.json_body is not None:
        return _json(inputs.json_body)
    if inputs.form is not None:
        return _whole("application/x-www-form-urlencoded", query_text(inputs.form).encode())
    if inputs.multipart is not None:
        return _multipart(inputs.multipart)
    if isinstance(inputs.body, File):
        return Body(content_type=inputs.body.content_type, parts=(inputs.body,), size=inputs.body.size)
    if inputs.body is not None:
        return _whole("text/plain; charset=utf-8", inputs.body.encode())
    return None


def query_text(fields: Mapping[str, Scalar | list[Scalar]]) -> str:
    """Fields as `a=1&b=2`, lists repeated, nulls left out, booleans as JSON writes them."""
    pairs: list[tuple[str, str]] = []
    for name, value in fields.items():
        pairs.extend(
            (name, _text(item)) for item in (value if isinstance(value, list) else [value]) if item is not None
        )
    return urlencode(pairs)


def _text(value: Scalar) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _whole(content_type: str, data: bytes) -> Body:
    return Body(content_type=content_type, parts=(data,), size=len(data))


def _json(value: Value) -> Body:
    encoded = value.encode()
    if encoded.files:
        raise StepError(
            f"json holds a file at {encoded.files[0][0] or 'the top'}, and JSON has no bytes: send it by multipart or body",
            kind="input",
            retryable=False,
        )
    return _whole("application/json", encoded.json)


def _multipart(fields: Mapping[str, object]) -> Body:
    """`multipart/form-data` (RFC 7578), names escaped as browsers do."""
    boundary = token_hex(16)
    parts: list[bytes | File] = []
    for name, value in fields.items():
        for item in value if isinstance(value, Sequence) and not isinstance(value, str) else [value]:
            parts += _part(boundary, name, item)
    parts.append(f"--{boundary}--\r\n".encode())
    size = sum(len(part) if isinstance(part, bytes) else part.size for part in parts)
    return Body(content_type=f"multipart/form-data; boundary={boundary}", parts=tuple(parts), size=size)


def _part(boundary: str, name: str, item: object) -> Sequence[bytes | File]:
    start = f'--{boundary}\r\nContent-Disposition: form-data; name="{_escaped(name)}"'
    match item:
        case File():
            kind = item.content_type if item.content_type.isprintable() else "application/octet-stream"
            head = f'{start}; filename="{_escaped(item.name or name)}"\r\nContent-Type: {kind}\r\n\r\n'
            return head.encode(), item, b"\r\n"
        case None:
            return ()
        case bool() | int() | float() | str():
            return (f"{start}\r\n\r\n{_text(item)}\r\n".encode(),)
        case _:
            raise StepError(
                f"multipart field {name!r} must be text, a number, a file or a list of them, not {type(item).__name__}",
                kind="input",
                retryable=False,
            )


def _escaped(name: str) -> str:
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
