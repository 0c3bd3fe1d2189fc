"""Bytes as a type of their own: a file is not a JSON string."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic_core import CoreSchema

__all__ = ["INLINE_BYTES", "Encoded", "File"]

INLINE_BYTES = 256 * 1024
"""Content up to this size may travel inside a value; larger content lives in the payload store."""


class File:
    """A named run of bytes: inline (`data`) up to `INLINE_BYTES`, otherwise in the payload store by `sha256`.

    In expressions a file answers `name`, `size`, `content_type`, `sha256`, and, by reading the content,
    `text` (UTF-8 or the charset of `content_type`), `json` and `base64`. Immutable, compared by content, name and type.
    Not a dataclass, so that no JSON library writes one by accident.
    """

    __slots__ = ("content_type", "data", "name", "sha256", "size")

    sha256: str
    size: int
    name: str
    content_type: str
    data: bytes | None

    def __init__(
        self,
        *,
        sha256: str,
        size: int,
        name: str = "",
        content_type: str = "application/octet-stream",
        data: bytes | None = None,
    ) -> None:
        for field, value in zip(self.__slots__, (content_type, data, name, sha256, size), strict=True):
            object.__setattr__(self, field, value)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a File is immutable: {name}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, File) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    def __repr__(self) -> str:
        return f"File(name={self.name!r}, size={self.size}, sha256={self.sha256[:12]}…)"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: object) -> CoreSchema:
        """As a field of an action's inputs or output, a `File` takes files alone."""
        from pydantic_core import core_schema

        return core_schema.is_instance_schema(cls)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: object, handler: object) -> dict[str, Any]:
        return {"title": "File", "description": "A file, which JSON cannot hold: it comes from an expression"}

    @property
    def _identity(self) -> tuple[str, int, str, str]:
        return self.sha256, self.size, self.name, self.content_type


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """A JSON value as bytes, ready for a journal row, a record or a sandbox.

    `json` is the UTF-8 JSON text, or, when it is larger than `INLINE_BYTES`, empty with `stored` naming the payload
    that holds it. A file inside the value is `null` in the text and stands in `files` under its JSON pointer
    (RFC 6901), so that no text from outside can pretend to be a file.
    """

    json: bytes = b"null"
    files: tuple[tuple[str, File], ...] = ()
    stored: File | None = None
