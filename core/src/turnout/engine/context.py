"""What an action gets from the engine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from functools import cached_property
from typing import Any, TypeVar

from turnout.engine.session import Session
from turnout.errors import StepError
from turnout.interfaces.connector import ActionContext, ConnectionType, State
from turnout.interfaces.state import StateScope
from turnout.model.payload import INLINE_BYTES
from turnout.values import Value

__all__ = ["StepContext"]

T = TypeVar("T")


class _Log:
    __slots__ = ("_path", "_session")

    def __init__(self, session: Session, path: str) -> None:
        self._session = session
        self._path = path

    def debug(self, message: str) -> None:
        self._session.log(self._path, "debug", message)

    def info(self, message: str) -> None:
        self._session.log(self._path, "info", message)

    def warning(self, message: str) -> None:
        self._session.log(self._path, "warning", message)

    def error(self, message: str) -> None:
        self._session.log(self._path, "error", message)


class _State(State):
    """The state store, for one step: each change has a name of its own that is the same in every attempt."""

    def __init__(self, session: Session, path: str) -> None:
        self._session = session
        self._path = path
        self._changes = 0

    def _scope(self, flow: bool) -> StateScope:
        info = self._session.info
        return StateScope(tenant=info.tenant, instance=info.instance, flow=info.flow if flow else "")

    def _operation(self) -> str:
        self._changes += 1
        return f"{self._session.idempotency_key(self._path)}:{self._changes}"

    async def get(self, key: str, *, flow: bool = False) -> Value | None:
        found = await self._session.backends.state.get(self._scope(flow), key)
        return None if found is None else await self._session.content.unpack(found)

    async def set(self, key: str, value: Value, *, flow: bool = False) -> None:
        operation = self._operation()
        small = self._session.content.small(value)
        if small is None or any(file.data is None for _, file in small.files):
            # Nothing says how long a value is kept: content in the payload store would be removed under it.
            raise StepError(
                f"the value of state {key!r} is larger than the {INLINE_BYTES // 1024} KB that state keeps; store the "
                f"content elsewhere and keep its name",
                kind="too_large",
                retryable=False,
            )
        await self._session.backends.state.set(self._scope(flow), key, small, operation=operation)

    async def increment(self, key: str, by: Decimal, *, flow: bool = False) -> Decimal:
        return await self._session.backends.state.increment(self._scope(flow), key, by, operation=self._operation())

    async def delete(self, key: str, *, flow: bool = False) -> bool:
        return await self._session.backends.state.delete(self._scope(flow), key, operation=self._operation())


class StepContext(ActionContext):
    """One attempt of one action step."""

    def __init__(
        self,
        session: Session,
        *,
        path: str,
        attempt: int,
        repeated: bool,
        connection: ConnectionType | None,
        deadline: float | None,
    ) -> None:
        self._session = session
        self._connection = connection
        self._deadline = deadline
        self.step = path
        self.attempt = attempt
        self.repeated = repeated
        self.execution = session.info.id
        self.files = session.content
        self.state = _State(session, path)
        self.log = _Log(session, path)

    @cached_property
    def idempotency_key(self) -> str:  # type: ignore[override]  # made when asked for: reads rarely need it
        return self._session.idempotency_key(self.step)

    @property
    def connection(self) -> Any:
        return self._connection

    @property
    def remaining_s(self) -> float | None:
        return None if self._deadline is None else max(0.0, self._deadline - self._session.now())

    @cached_property
    def trace_headers(self) -> Mapping[str, str]:
        span = self._session.trace.context(self.step, self.attempt)
        return {} if span is None else span.headers

    async def resource(self, key: object, make: Callable[[], Awaitable[T]], close: Callable[[T], Awaitable[None]]) -> T:
        return await self._session.resources.get(key, make, close)
