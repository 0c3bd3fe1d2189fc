"""Files inside values: those of the input are read over the channel when asked for, those of the result are sent in pieces."""

from __future__ import annotations

import io
from _json import encode_basestring_ascii
from itertools import count

from . import channel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

__all__ = ["InputFile", "NewFile", "is_file", "send"]

_PIECE = 1024 * 1024
_ask, _say, _turn = channel.ask, channel.say, channel.turn
_READ, _STORE, _CHUNK, _STORED = channel.READ, channel.STORE, channel.CHUNK, channel.STORED
_IOBase, _BufferedReader = io.IOBase, io.BufferedReader
_quote = encode_basestring_ascii
_stream_numbers = count(1)


class InputFile:
    """A file of the input. Its content is fetched when it is asked for; `open()` and `chunks()` hold one piece at a time."""

    __slots__ = ("_number", "name", "size", "type")

    def __init__(self, number: int, name: str, size: int, type: str) -> None:
        self._number = number
        self.name = name
        self.size = size
        self.type = type

    def chunks(self) -> Iterator[bytes]:
        """The content, piece by piece."""
        stream = next(_stream_numbers)
        while True:
            try:
                _, piece = _ask(_READ, b'{"file":%d,"stream":%d}' % (self._number, stream))
            except channel.Refused as error:
                raise OSError(str(error)) from None
            if not piece:
                return
            yield piece

    def read(self) -> bytes:
        """The whole content."""
        return b"".join(self.chunks())

    def text(self, encoding: str = "utf-8") -> str:
        """The whole content as text."""
        return self.read().decode(encoding)

    def json(self) -> Any:
        """The whole content as JSON."""
        import json

        return json.loads(self.read())

    def open(self) -> io.BufferedReader:
        """A binary file to read from."""
        return _BufferedReader(_Content(self), 64 * 1024)

    def __repr__(self) -> str:
        return f"<file {self.name!r}, {self.size} bytes, {self.type}>"


class _Content(io.RawIOBase):
    def __init__(self, file: InputFile) -> None:
        self._pieces = file.chunks()
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest:
            self._rest = memoryview(next(self._pieces, b""))
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


class NewFile:
    """A file that the code makes, with a name and a content type: what `context.file(…)` gives."""

    __slots__ = ("_content", "_name", "_type")

    def __init__(self, content: object, name: str = "", type: str = "") -> None:
        if not isinstance(content, (str, bytes, bytearray, memoryview, _IOBase)):
            raise TypeError("a file's content is bytes, text or a file to read from")
        self._content = content
        self._name = name
        self._type = type


def is_file(value: object) -> bool:
    """What of a result becomes a file."""
    return isinstance(value, (bytes, bytearray, memoryview, InputFile, NewFile, _IOBase))


def send(value: object) -> bytes:
    """Send one file of a result; returns how the result's header names it."""
    if isinstance(value, InputFile):
        return b'{"input":%d}' % value._number
    name, type = (value._name, value._type) if isinstance(value, NewFile) else ("", "")
    content = value._content if isinstance(value, NewFile) else value
    meta = f'{{"name":{_quoted(name)},"type":{_quoted(type)}}}'.encode()
    with _turn:
        _say(_STORE, meta)
        for piece in _pieces(content):
            for at in range(0, len(piece), _PIECE):
                _say(_CHUNK, b"", piece[at : at + _PIECE])
        number, _ = _ask(_STORED, b"")
    return b'{"stored":%b}' % number


def _quoted(value: object) -> str:
    return _quote(value if type(value) is str else "")


def _pieces(content: Any) -> Iterator[memoryview]:
    if isinstance(content, _IOBase):
        while piece := content.read(_PIECE):
            yield memoryview(piece.encode() if isinstance(piece, str) else piece)
    else:
        yield memoryview(content.encode() if isinstance(content, str) else content).cast("B")
