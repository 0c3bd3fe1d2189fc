"""Replacing bytes in what streams by, across the borders of its pieces."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Mapping
from typing import Final

from turnout_ecs.egress.errors import Refused

__all__ = ["Decoder", "Rewriter"]

_PIECE_BYTES: Final = 64 * 1024


class Rewriter:
    """Replaces each key of `replacements` by its value. It holds back no more than what may be the beginning of a key.

    Of several keys that begin at one place the longest counts. `found` is called with each key before it is replaced.
    """

    __slots__ = ("_found", "_held", "_longest", "_pattern", "_replacements")

    def __init__(self, replacements: Mapping[bytes, bytes], found: Callable[[bytes], None] = lambda key: None) -> None:
        keys = sorted(replacements, key=len, reverse=True)
        self._replacements = dict(replacements)
        self._pattern = re.compile(b"|".join(map(re.escape, keys))) if keys else None
        self._longest = len(keys[0]) if keys else 0
        self._found = found
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """What is certain after this piece."""
        if self._pattern is None:
            return data
        return self._run(self._held + data, last=False)

    def finish(self) -> bytes:
        """What was held back."""
        held, self._held = self._held, b""
        return self._run(held, last=True) if held else b""

    def whole(self, data: bytes) -> bytes:
        """All of `data`, which stands alone."""
        return self._run(data, last=True)

    def _run(self, data: bytes, *, last: bool) -> bytes:
        if self._pattern is None:
            return data
        done = []
        at = 0
        hold = len(data) if last else self._open_from(data, 0)
        while found := self._pattern.search(data, at):
            if found.start() >= hold:
                break
            self._found(found.group())
            done += [data[at : found.start()], self._replacements[found.group()]]
            at = found.end()
            if at > hold:
                hold = self._open_from(data, at)
        if not last:
            self._held = data[hold:]
        done.append(data[at:hold])
        return b"".join(done)

    def _open_from(self, data: bytes, at: int) -> int:
        """Where the first beginning of a key starts that the end of `data` cuts off."""
        for start in range(max(at, len(data) - self._longest + 1), len(data)):
            tail = data[start:]
            if any(len(key) > len(tail) and key.startswith(tail) for key in self._replacements):
                return start
        return len(data)


class Decoder:
    """Undoes `gzip` or `deflate` (zlib's or bare), a bounded piece at a time."""

    __slots__ = ("_bare_allowed", "_zlib")

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(wbits=47)
        self._bare_allowed = True

    def pieces(self, data: bytes) -> list[bytes]:
        """What `data` decodes to, in pieces. `Refused` where it is no such thing, or far too much."""
        found: list[bytes] = []
        while data:
            if self._zlib.eof:  # another member follows
                self._zlib = zlib.decompressobj(wbits=47)
            piece, data = self._step(data)
            if piece:
                found.append(piece)
            if len(found) > 1024:  # 64 MB out of one piece in
                raise Refused("EPROTO", "the server's answer decompresses to far more than it is")
        return found

    def _step(self, data: bytes) -> tuple[bytes, bytes]:
        try:
            piece = self._zlib.decompress(data, _PIECE_BYTES)
        except zlib.error as error:
            if not self._bare_allowed:
                raise Refused("EPROTO", "the server's answer is not compressed as it says") from error
            self._zlib, self._bare_allowed = zlib.decompressobj(wbits=-15), False
            return b"", data
        self._bare_allowed = False
        return piece, self._zlib.unused_data or self._zlib.unconsumed_tail
