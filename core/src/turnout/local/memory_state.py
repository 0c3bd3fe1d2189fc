"""The state store in memory: for tests, and for what nobody misses after a restart."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from decimal import Decimal
from typing import Final, TypeVar

from turnout.errors import BackendError
from turnout.interfaces.clock import Clock, SystemClock
from turnout.interfaces.state import StateScope, StateStore
from turnout.interfaces.state_numbers import add
from turnout.model.payload import Encoded

__all__ = ["MemoryState"]

T = TypeVar("T")

_REMEMBERED_S: Final = 24 * 3600.0
_Operation = tuple[StateScope, str, str, str]


class MemoryState(StateStore):
    """Values of one process."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._values: dict[StateScope, dict[str, Encoded]] = {}
        self._answers: dict[_Operation, object] = {}
        self._made: deque[tuple[float, _Operation]] = deque()
        self._closed = False

    async def get(self, scope: StateScope, key: str) -> Encoded | None:
        return self._scope(scope).get(key)

    async def set(self, scope: StateScope, key: str, value: Encoded, *, operation: str) -> None:
        self._once((scope, key, "set", operation), lambda: self._scope(scope).update({key: value}))

    async def increment(self, scope: StateScope, key: str, by: Decimal, *, operation: str) -> Decimal:
        def increment() -> Decimal:
            total, value = add(key, self._scope(scope).get(key), by)
            self._scope(scope)[key] = value
            return total

        return self._once((scope, key, "increment", operation), increment)

    async def delete(self, scope: StateScope, key: str, *, operation: str) -> bool:
        return self._once((scope, key, "delete", operation), lambda: self._scope(scope).pop(key, None) is not None)

    async def keys(self, scope: StateScope, prefix: str = "") -> list[str]:
        return sorted(key for key in self._scope(scope) if key.startswith(prefix))

    async def close(self) -> None:
        self._closed = True

    def _scope(self, scope: StateScope) -> dict[str, Encoded]:
        if self._closed:
            raise BackendError("the state store is closed")
        return self._values.setdefault(scope, {})

    def _once(self, operation: _Operation, change: Callable[[], T]) -> T:
        """Make the change, unless it was made within a day; what it answered first."""
        now = self._clock.now()
        while self._made and self._made[0][0] <= now - _REMEMBERED_S:
            del self._answers[self._made.popleft()[1]]
        if operation not in self._answers:
            self._answers[operation] = change()
            self._made.append((now, operation))
        return self._answers[operation]  # type: ignore[return-value]  # the operation names the kind of change
