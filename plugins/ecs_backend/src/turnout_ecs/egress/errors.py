"""What the broker says to the code instead of doing as it asked."""

from __future__ import annotations

__all__ = ["Refused"]


class Refused(Exception):
    """Reaches the code as an `Error` with this `code` (as Node's errors of sockets have one) and message: no secret in it."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)
