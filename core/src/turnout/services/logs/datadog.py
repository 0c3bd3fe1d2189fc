"""Logs to Datadog, by its HTTP intake v2.

Limits and answers: https://docs.datadoghq.com/api/latest/logs/#send-logs. A request has at most 1000 entries and 5 MB before
compression, an entry 1 MB; 202 is taken, 408, 429 and 5xx are to be sent again, 413 is too large.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from turnout.errors import SettingsError
from turnout.interfaces.clock import Clock
from turnout.interfaces.log_lines import fields_of, fitted
from turnout.interfaces.log_sink import LogEntry, LogSink, Shipped
from turnout.interfaces.opening import Opening
from turnout.services.logs.sending import HttpIntake, Line

if TYPE_CHECKING:
    from turnout.interfaces.secrets import Secret

__all__ = ["DatadogLogs"]

_MOST: Final = 1000
_MOST_BYTES: Final = 5_000_000
_ENTRY_BYTES: Final = 1_000_000
_OLDEST_S: Final = 17 * 3600.0
"""Datadog takes entries that are up to 18 hours old: older ones are given the time of their shipping."""
_STATUS: Final = {"warning": "warn"}


def _base_url(given: str) -> str:
    url = urlsplit(given)
    if url.scheme not in ("http", "https") or not url.hostname or "@" in url.netloc:
        raise ValueError("a URL without credentials is expected")
    return given.rstrip("/")


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid")

    key: str = Field(min_length=1)
    site: str = Field(default="datadoghq.com", pattern=r"^[a-z0-9.-]+$")
    url: Annotated[str, AfterValidator(_base_url)] | None = None
    service: str = Field(default="turnout", min_length=1)
    tags: Mapping[str, str] = Field(default_factory=dict)


class DatadogLogs(LogSink):
    """Ships to a Datadog site, or to a proxy of it (`url`)."""

    def __init__(self, options: _Options, key: Secret, clock: Clock) -> None:
        self._options = options
        self._clock = clock
        base = options.url or f"https://http-intake.logs.{options.site}"
        self._intake = HttpIntake(
            name="Datadog",
            url=f"{base}/api/v2/logs",
            headers={"dd-api-key": key.reveal()},
            client=HttpIntake.connect(),
            frame=lambda lines: b"[" + b",".join(lines) + b"]",
            most=_MOST,
            most_bytes=_MOST_BYTES - 2,
        )

    @classmethod
    async def connect(cls, opening: Opening) -> Self:
        options = opening.read(_Options)
        key = await opening.secret(options.key)
        if not key or not key.reveal().isascii():
            raise SettingsError(f"logs.{opening.name}.key: Datadog's API key is expected, as a reference")
        return cls(options, key, opening.clock)

    def describe(self) -> str:
        return f"logs to Datadog ({self._options.url or self._options.site})"

    async def write(self, entries: Sequence[LogEntry]) -> Shipped:
        return await self._intake.send([self._line(entry) for entry in entries])

    def _line(self, entry: LogEntry) -> Line:
        data = self._data(entry)
        return Line(entry.id, fitted(entry.message, lambda message: {**data, "message": message}, _ENTRY_BYTES))

    def _data(self, entry: LogEntry) -> dict[str, Any]:
        tags = {
            **self._options.tags,
            **{
                name: value
                for name, value in (
                    ("customer", entry.tenant),
                    ("instance", entry.instance),
                    ("integration", entry.integration),
                    ("flow", entry.flow),
                )
                if value
            },
        }
        now = self._clock.now()
        at = entry.at if entry.at > now - _OLDEST_S else now
        return {
            "ddsource": "turnout",
            "ddtags": ",".join(f"{_tag(name)}:{_tag(value)}" for name, value in tags.items()),
            "service": self._options.service,
            "status": _STATUS.get(entry.level, entry.level),
            "timestamp": int(at * 1000),
            "turnout": fields_of(entry),
        }

    async def close(self) -> None:
        await self._intake.client.aclose()


def _tag(text: str) -> str:
    """A tag's part: commas would begin another tag."""
    return "".join("_" if char in ",\n\r" or char.isspace() else char for char in text)[:200]
