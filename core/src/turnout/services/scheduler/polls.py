"""Looking what is new, for the connectors' polling triggers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar

import msgspec
from pydantic import ValidationError

from turnout.engine.backends import Backends
from turnout.engine.connections import connect
from turnout.engine.content import Content
from turnout.engine.resources import Resources
from turnout.errors import BackendError, SettingsError, StepError
from turnout.interfaces.clock import Clock
from turnout.interfaces.connector import ActionContext, ConnectionType, State
from turnout.interfaces.polling import Poll
from turnout.masking import Mask
from turnout.services.submission import Instance

__all__ = ["LONGEST_POLL_S", "Polls"]

LONGEST_POLL_S: Final = 120.0
_LARGEST_CURSOR: Final = 100 * 1024
_log = logging.getLogger("turnout.scheduler")
T = TypeVar("T")


class Polls:
    """Polls with the connectors and connections of `backends`; what connectors keep open is in `resources`."""

    def __init__(self, backends: Backends, resources: Resources) -> None:
        self._backends = backends
        self._resources = resources

    async def look(self, instance: Instance, flow: str, cursor: Any) -> Poll:
        """One look. `StepError` says what went wrong, without secrets; `BackendError` that a store did not answer."""
        backends, trigger = self._backends, instance.integration.flows[flow].trigger
        name, _, short = trigger.type.partition(".")
        found = backends.connectors[name].polls[short]
        connection = None
        if trigger.connection:
            settings = await backends.instances.settings(instance.tenant, instance.settings)
            written = await backends.instances.fields(instance.tenant, settings, trigger.connection)
            connection = await connect(
                instance.integration, backends.connectors, backends.secret, trigger.connection, written
            )
        mask = Mask(() if connection is None else connection.secrets())
        content = Content(backends.payloads, instance.tenant)
        timeout_s = min(found.timeout_s, LONGEST_POLL_S)
        context = _PollContext(
            f"{instance.name}/{flow}", connection, content, mask, self._resources, backends.clock, timeout_s
        )
        try:
            async with asyncio.timeout(timeout_s):
                poll = await found.poll(context, found.inputs.model_validate(dict(trigger.options)), cursor)
        except TimeoutError as error:
            raise StepError(f"{trigger.type} took longer than {timeout_s:g} s", kind="timeout") from error
        except ValidationError as error:
            raise StepError(f"{trigger.type}: its inputs do not hold", kind="input", retryable=False) from error
        except StepError as error:
            raise StepError(
                mask.text(error.message), kind=error.kind, retryable=error.retryable, retry_after_s=error.retry_after_s
            ) from None
        except BackendError:
            raise
        except Exception as error:  # a connector's bug stops its own looks, and says so without what it holds
            raise StepError(
                f"{trigger.type}: {type(error).__name__}: {mask.text(str(error))}", kind=type(error).__name__
            ) from None
        if _size(poll.cursor, trigger.type) > _LARGEST_CURSOR:
            raise StepError(f"{trigger.type}: its cursor is larger than {_LARGEST_CURSOR} bytes", kind="too_large")
        return poll


def _size(cursor: Any, trigger: str) -> int:
    try:
        return len(msgspec.json.encode(cursor))
    except (TypeError, ValueError, RecursionError):
        raise StepError(f"{trigger}: its cursor is not JSON-like data", retryable=False) from None


class _NoState(State):
    """A poll keeps its cursor and nothing beside it."""

    def _refused(self) -> SettingsError:
        return SettingsError("a polling trigger has no state: what it must remember belongs into its cursor")

    async def get(self, key: str, *, flow: bool = False) -> Any:
        raise self._refused()

    async def set(self, key: str, value: Any, *, flow: bool = False) -> None:
        raise self._refused()

    async def increment(self, key: str, by: Any, *, flow: bool = False) -> Any:
        raise self._refused()

    async def delete(self, key: str, *, flow: bool = False) -> bool:
        raise self._refused()


class _Log:
    """There is no execution yet whose log it would be: it is the platform's."""

    def __init__(self, where: str, mask: Mask) -> None:
        self._where = where
        self._mask = mask

    def debug(self, message: str) -> None:
        self._say(logging.DEBUG, message)

    def info(self, message: str) -> None:
        self._say(logging.INFO, message)

    def warning(self, message: str) -> None:
        self._say(logging.WARNING, message)

    def error(self, message: str) -> None:
        self._say(logging.ERROR, message)

    def _say(self, level: int, message: str) -> None:
        _log.log(level, "%s: %s", self._where, self._mask.text(message))


class _PollContext(ActionContext):
    execution = ""
    attempt = 1
    idempotency_key = ""
    repeated = False

    def __init__(
        self,
        where: str,
        connection: ConnectionType | None,
        content: Content,
        mask: Mask,
        resources: Resources,
        clock: Clock,
        timeout_s: float,
    ) -> None:
        self.step = where
        self.files = content
        self.state = _NoState()
        self.log = _Log(where, mask)
        self._connection = connection
        self._resources = resources
        self._clock = clock
        self._deadline = clock.now() + timeout_s

    @property
    def connection(self) -> Any:
        return self._connection

    @property
    def remaining_s(self) -> float | None:
        return max(0.0, self._deadline - self._clock.now())

    @property
    def trace_headers(self) -> Mapping[str, str]:
        return {}

    async def resource(self, key: object, make: Callable[[], Awaitable[T]], close: Callable[[T], Awaitable[None]]) -> T:
        return await self._resources.get(key, make, close)
