"""What an expression may ask of a file: its facts at once, its content once somebody has read it."""

from __future__ import annotations

import base64
import codecs

from turnout.errors import StepError
from turnout.expressions.faults import Refusal
from turnout.expressions.scope import ContentNeeded, Scope
from turnout.model.payload import File
from turnout.values import NULL, Value

__all__ = ["FILE_FIELDS", "MAX_CONTENT_BYTES", "file_field"]

FILE_FIELDS = ("name", "size", "content_type", "sha256", "text", "json", "base64")
MAX_CONTENT_BYTES = 64 * 1024 * 1024
"""Content of larger files is not for expressions: it would have to be held in memory whole."""

_NOT_CHARSETS = frozenset({"idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined"})
"""Python's text codecs that are no character sets, some of them slow on hostile input."""

_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def file_field(file: File, name: str, scope: Scope) -> Value:
    """A field of a file; null for a name that files do not have. Raises `ContentNeeded`, or `Refusal` where the content
    is not what the field says."""
    match name:
        case "name" | "size" | "content_type" | "sha256":
            return Value(getattr(file, name))
        case "text":
            return Value(_text(file, scope))
        case "json":
            return _json(file, scope)
        case "base64":
            return Value(base64.b64encode(_content(file, scope)).decode("ascii"))
        case _:
            return NULL


def _content(file: File, scope: Scope) -> bytes:
    if file.data is not None:
        return file.data
    if file.size > MAX_CONTENT_BYTES:
        raise Refusal(
            f"{_title(file)} has {file.size:,} bytes; an expression reads up to {MAX_CONTENT_BYTES:,}",
            hint="give the file itself to a step that streams it",
        )
    content = scope.content.get(file.sha256)
    if content is None:
        raise ContentNeeded(file)
    return content


def _text(file: File, scope: Scope) -> str:
    content = _content(file, scope)
    charset = _charset(file, content)
    try:
        return content.decode(charset)
    except UnicodeDecodeError as error:
        raise Refusal(
            f"{_title(file)} is not text in {charset}: byte {error.start:,} cannot be read",
            hint="if it is binary, pass the file itself or its `base64`; if its charset is another, the content_type must say so",
        ) from error


def _json(file: File, scope: Scope) -> Value:
    content = _content(file, scope)
    charset = _charset(file, content)
    try:
        return Value.parse(content if charset == "utf-8" else _text(file, scope))
    except StepError as error:
        raise Refusal(f"{_title(file)} is {error.message}", hint="ask for its `text` instead") from error


def _charset(file: File, content: bytes) -> str:
    """By byte-order mark, then by content type, then UTF-8."""
    for mark, charset in _BOMS:
        if content.startswith(mark):
            return charset
    for parameter in file.content_type.split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            return _known(file, value.strip().strip("\"'"))
    return "utf-8"


def _known(file: File, charset: str) -> str:
    try:
        name = codecs.lookup(charset).name
        b"\0\0\0\0".decode(name, "replace")
    except (LookupError, ValueError) as error:
        raise _unknown_charset(file, charset) from error
    if name in _NOT_CHARSETS:
        raise _unknown_charset(file, charset)
    return name


def _unknown_charset(file: File, charset: str) -> Refusal:
    return Refusal(
        f"{_title(file)} has the unknown charset {charset[:40]!r}", hint="pass the file itself or its `base64`"
    )


def _title(file: File) -> str:
    return f"the file {file.name[:80]!r}" if file.name else "the file"
