"""The journal's keys, all under one hash tag: positions count through the whole journal, so one node of a cluster has it."""

from __future__ import annotations

from typing import Final

__all__ = ["JournalKeys"]


class JournalKeys:
    """Full names. The Lua files say what each key holds."""

    def __init__(self, prefix: str) -> None:
        self._tag: Final = f"{{{prefix}:j}}:".encode()
        self.last: Final = self._tag + b"last"
        self.rows: Final = self._tag + b"rows"
        self.unfinished: Final = self._tag + b"unfinished"
        self.waste: Final = self._tag + b"waste"

    def positions(self, execution: str) -> bytes:
        return self._of(b"positions", execution)

    def owner(self, execution: str) -> bytes:
        return self._of(b"owner", execution)

    def name(self, execution: str) -> bytes:
        return self._of(b"name", execution)

    def sent(self, sender: str) -> bytes:
        return self._of(b"sent", sender)

    def body(self, id_: str) -> bytes:
        return self._of(b"body", id_)

    def written(self, execution: str) -> tuple[bytes, ...]:
        """What every script that writes rows begins with."""
        return self.last, self.rows, self.unfinished, self.positions(execution), self.owner(execution)

    def _of(self, kind: bytes, name: str) -> bytes:
        return b"%b%b:%b" % (self._tag, kind, name.encode())
