"""`print`, standard error and `logging` become lines of the execution's log, with a level, in the order in which they came."""

from __future__ import annotations

import io
import os
import sys

from . import channel, hooks

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging
    from typing import Any

__all__ = ["allow", "finish", "install", "logger"]

_LONGEST = 64 * 1024
_OWN = "step"
_say, _forked, _turn, _LOG, _write = channel.say, channel.forked, channel.turn, channel.LOG, os.write


class _Budget:
    """Bytes of log that may still be sent."""

    left = 0


_budget = _Budget()


def allow(size: int) -> None:
    """Bytes of log that may still be sent; the other side says so when more was written."""
    _budget.left = size


def _line(level: bytes, text: str) -> None:
    with _turn:
        if _budget.left < 0:
            return
        body = text[: _budget.left + 1].encode("utf-8", "backslashreplace")
        _budget.left -= len(body)
        _say(_LOG, level, body)


class _Stream(io.TextIOBase):
    """Standard output or error, for Python code. Programs that it starts write to the descriptor, which is read as well."""

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, fd: int, level: bytes) -> None:
        self._fd = fd
        self._level = level
        self._rest = ""
        self._buffer: io.FileIO | None = None

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if _forked():
            _write(self._fd, text.encode("utf-8", "backslashreplace"))
            return len(text)
        with _turn:
            if "\n" not in text:
                self._rest += text
            else:
                *lines, rest = (self._rest + text).split("\n")
                self._rest = rest
                for line in lines:
                    _line(self._level, line)
            if len(self._rest) > _LONGEST:
                self.finish()
        return len(text)

    def finish(self) -> None:
        """The last line has no end of its own."""
        with _turn:
            rest, self._rest = self._rest, ""
            if rest:
                _line(self._level, rest)

    @property
    def buffer(self) -> io.FileIO:
        if self._buffer is None:
            self._buffer = io.FileIO(self._fd, "w", closefd=False)
        return self._buffer

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        """Stays open: what the code says later is heard too."""


def _set_up(module: Any) -> None:
    """Everything that is logged becomes a line, with the nearest of four levels."""

    class Handler(module.Handler):  # type: ignore[misc]
        def emit(self, record: logging.LogRecord) -> None:
            try:
                text = self.format(record)
            except Exception:
                self.handleError(record)
                return
            number = record.levelno
            level = b"debug" if number < 20 else b"info" if number < 30 else b"warning" if number < 40 else b"error"
            with _turn:
                _out.finish()
                _line(level, text)

    root = module.getLogger()
    root.addHandler(Handler())
    root.setLevel(module.INFO)
    module.getLogger(_OWN).setLevel(module.DEBUG)


def logger() -> logging.Logger:
    """What code finds as `context.logger`: it passes all levels, others from `info` on."""
    import logging

    return logging.getLogger(_OWN)


_out = _Stream(1, b"info")
_err = _Stream(2, b"error")


def install() -> None:
    """From now on everything goes to the log."""
    sys.stdout = _out
    sys.stderr = _err
    hooks.when_imported("logging", _set_up)


def finish() -> None:
    """The job has ended: what stands without an end of line is a line."""
    _out.finish()
    _err.finish()
