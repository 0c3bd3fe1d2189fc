"""Opening a backend: what a queue or a store is given when a project that chose it by name starts."""

from __future__ import annotations

import difflib
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from turnout.errors import SettingsError, Unsupported
from turnout.interfaces.clock import Clock, SystemClock
from turnout.interfaces.permission import Permission
from turnout.interfaces.secret import Secret
from turnout.model.durability import Durability
from turnout.model.tenancy import Policies

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from turnout.interfaces.catalog import CatalogStore

__all__ = ["NoOptions", "Openable", "Opening", "Shared", "read_options"]

T = TypeVar("T", bound="Closing")
M = TypeVar("M", bound=BaseModel)


class Closing(Protocol):
    async def aclose(self) -> None: ...


class Shared:
    """What several backends of one project use together: a database file, a connection to a server."""

    def __init__(self) -> None:
        self._parts: dict[str, Any] = {}

    def get(self, name: str, make: Callable[[], T]) -> T:
        """The part of that name, made by who asks first."""
        if name not in self._parts:
            self._parts[name] = make()
        part: T = self._parts[name]
        return part

    async def aclose(self) -> None:
        """Close the parts, the newest first, whether or not one fails to. To be called once the backends are closed."""
        async with AsyncExitStack() as stack:
            for part in self._parts.values():
                stack.push_async_callback(part.aclose)
            self._parts.clear()


async def _as_written(written: str) -> Secret:
    return Secret(written)


async def _no_catalog() -> CatalogStore:
    raise Unsupported("this backend", "a catalog: only a project's queue is given it")


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """`options` is the backend's own table of `turnout.toml`, `[backends.<name>]`, as written; `read` checks it. `secret`
    resolves a reference in it (`env:REDIS_URL`), and gives other text as it is.

    `table` is where that table stands, if it is another. `directory` is the project's storage directory. `durability` is what
    the project asks of embedded stores. `lease_s`, `max_attempts` and `policies` are for queues, and so is `catalog`, which opens
    the project's catalog for a queue that keeps its books there; it is closed after the queue.
    """

    directory: Path
    name: str = ""
    table: str = "backends"
    clock: Clock = field(default_factory=SystemClock)
    durability: Durability = Durability.PROCESS
    options: Mapping[str, Any] = field(default_factory=dict)
    secret: Callable[[str], Awaitable[Secret]] = _as_written
    shared: Shared = field(default_factory=Shared)
    lease_s: float = 30.0
    max_attempts: int = 5
    policies: Policies = field(default_factory=Policies)
    catalog: Callable[[], Awaitable[CatalogStore]] = _no_catalog

    def read(self, model: type[M]) -> M:
        """The options as a pydantic model of the backend's. `SettingsError` has one line for each that is wrong, missing
        or unknown, and never a value: it may be a secret."""
        return read_options(self.options, model, self.table, self.name)


def read_options(options: Mapping[str, Any], model: type[M], *place: str) -> M:
    """The options that stand at `place` of `turnout.toml` as a pydantic model. `SettingsError` as `Opening.read`."""
    try:
        return model.model_validate(dict(options))
    except ValidationError as error:
        faults = [(_dotted(*place, *one["loc"]), _fault(one, model)) for one in error.errors()]
        message = "\n".join(f"{setting}: {text}" for setting, text in faults)
        raise SettingsError(message, setting=faults[0][0]) from None


class NoOptions(BaseModel):
    """Of a backend that has none."""

    model_config = ConfigDict(extra="forbid")


def _dotted(*parts: object) -> str:
    return ".".join(str(part) for part in parts)


def _fault(error: ErrorDetails, model: type[BaseModel]) -> str:
    """What is wrong, in a user's words; never the value."""
    if error["type"] == "missing":
        return "it must be set"
    text = error["msg"]
    if error["type"] != "extra_forbidden":
        return f"{text[:1].lower()}{text[1:]}"
    known = [field.alias or name for name, field in model.model_fields.items()]
    near = difflib.get_close_matches(str(error["loc"][-1]), known, n=1)
    return "unknown setting: " + (f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known) or 'none'}")


class Openable(ABC):
    """A backend that a project can choose by its name in `turnout.toml`.

    `on_this_machine` is whether a process on another machine does not see what it keeps.
    """

    on_this_machine: ClassVar[bool] = False

    @classmethod
    def permissions(cls, opening: Opening) -> Sequence[Permission]:  # noqa: ARG003 - the interface
        """What it does in a cloud with these options: all that whoever runs it must be allowed, and no more."""
        return ()

    @classmethod
    async def connect(cls, opening: Opening) -> Self:  # noqa: ARG003 - the interface
        """Open it, checked: what is promised later holds from now on. `SettingsError` names a setting that is missing,
        wrong or unknown as `backends.<name>.<setting>`; `BackendError` says what cannot be reached or is not as it must be."""
        raise Unsupported(cls.__name__, "connect")

    def describe(self) -> str:
        """What people should know when it is used, in a line: what it is, and what that survives; without secrets. Empty:
        nothing beyond its `durability`."""
        return ""

    @abstractmethod
    async def close(self) -> None:
        """Let go of what it holds. Idempotent."""
