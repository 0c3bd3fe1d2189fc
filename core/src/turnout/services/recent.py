"""What a process has read lately: looked up again after a while, so that others' changes are seen within a bound."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from turnout.interfaces.clock import Clock

__all__ = ["Recent"]

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """Values by key, each as `read` gave it at most `valid_s` ago. What `read` raises is not remembered. At most `most`."""

    def __init__(self, clock: Clock, read: Callable[[K], Awaitable[V]], *, valid_s: float, most: int = 10_000) -> None:
        self._clock = clock
        self._read = read
        self._valid_s = valid_s
        self._most = most
        self._values: dict[K, tuple[float, V]] = {}

    async def get(self, key: K) -> V:
        now = self._clock.now()
        at, value = self._values.get(key, (None, None))
        if at is not None and value is not None and 0 <= now - at < self._valid_s:
            return value
        found = await self._read(key)
        if len(self._values) >= self._most:
            self._values.clear()
        self._values[key] = (now, found)
        return found

    def forget(self, key: K) -> None:
        """Look it up the next time: this process has changed it."""
        self._values.pop(key, None)
