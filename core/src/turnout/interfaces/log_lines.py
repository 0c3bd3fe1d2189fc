"""An entry as JSON, the same for every sink that writes JSON, a plugin's too, and text that is cut to a size."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from turnout.interfaces.log_sink import LogEntry

__all__ = ["fields_of", "fitted", "unicode"]

_NAMES = ("tenant", "instance", "integration", "version", "flow", "execution", "step", "trace_id", "span_id")


def fields_of(entry: LogEntry) -> dict[str, Any]:
    """What an entry says beside its message, without what is empty; a customer is called so, as everywhere that people look."""
    found = {name: getattr(entry, name) for name in _NAMES if getattr(entry, name)}
    if "tenant" in found:
        found = {"customer": found.pop("tenant"), **found}
    return {
        "id": entry.id,
        "time": datetime.fromtimestamp(entry.at, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "level": entry.level,
        "source": entry.source,
        **found,
        **({"attributes": dict(entry.attributes)} if entry.attributes else {}),
    }


def fitted(message: str, data: Callable[[str], Mapping[str, Any]], most_bytes: int) -> bytes:
    """`data` of the message as one line of JSON of at most so many bytes: the message is cut where it is too long, and says so."""
    line = _encoded(data(message))
    kept = len(message)
    while len(line) > most_bytes and kept:
        # Escapes make a text longer, each in its way: how much fits is guessed, and guessed again.
        kept = min(kept * most_bytes // len(line), kept - kept // 20 - 1)
        left_out = len(unicode(message[kept:]).encode())
        line = _encoded(data(f"{message[:kept]}… ({left_out} bytes more)"))
    return line


def unicode(text: str) -> str:
    """Lone surrogates, which no sink takes, become U+FFFD."""
    return text if text.isascii() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _encoded(data: Mapping[str, Any]) -> bytes:
    return unicode(json.dumps(data, ensure_ascii=False, separators=(",", ":"))).encode()
