"""Files that a job makes: given to the payload store as their content comes, and bounded, whatever the process sends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from turnout.interfaces.sandbox import Failure, FileAccess, Limits
from turnout.model.payload import File

__all__ = ["StoredFiles", "TooMuch"]

_LONGEST_NAME: Final = 1024
_PIECE_BYTES: Final = 64 * 1024
"""The store gets no smaller ones but the last: a piece of one byte takes fifty here."""


class TooMuch(Exception):
    """The job has made more files than it may, or larger ones."""

    def __init__(self, message: str) -> None:
        self.failure = Failure(kind="result_too_large", message=message, network=True)
        super().__init__(message)


class StoredFiles:
    """Of one job. `files` are those that are stored as a whole; what is begun and not ended leaves nothing in the store."""

    def __init__(self, access: FileAccess, limits: Limits) -> None:
        self.files: list[File] = []
        self._access = access
        self._limits = limits
        self._bytes = 0

    async def add(self, content: AsyncIterator[bytes], name: str, content_type: str) -> int:
        """Store a file; its number. `TooMuch` as soon as it is, before the store has got what is beyond."""
        if len(self.files) >= self._limits.files:
            raise TooMuch(
                f"the code made more than {self._limits.files} files: return an archive of them instead, or raise `limits.files`"
            )
        if max(len(name), len(content_type)) > _LONGEST_NAME:
            raise TooMuch(f"a file's name and its content type have at most {_LONGEST_NAME} characters: shorten them")
        pieces = self._pieces(content)
        self.files.append(await self._access.write(pieces, name, content_type or "application/octet-stream"))
        async for _ in pieces:  # what the store did not take, it had before: its content is known by hash
            pass
        return len(self.files) - 1

    async def _pieces(self, content: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        held = bytearray()
        async for chunk in content:
            self._bytes += len(chunk)
            if self._bytes > self._limits.files_bytes:
                raise TooMuch(
                    f"the files that the code made have more than {self._limits.files_bytes} bytes in all: make smaller ones, "
                    "or raise `limits.files_size`"
                )
            if not held and len(chunk) >= _PIECE_BYTES:
                yield chunk
                continue
            held += chunk
            if len(held) >= _PIECE_BYTES:
                yield bytes(held)
                held.clear()
        if held:
            yield bytes(held)
