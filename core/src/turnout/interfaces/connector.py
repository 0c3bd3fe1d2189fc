"""Connectors: what a plugin author writes. A connector is one module, one `Connector` object, and functions.

    dropbox = Connector("dropbox", title="Dropbox", docs="https://www.dropbox.com/developers/documentation/http")

    class Token(ConnectionType):
        access_token: SecretStr

    dropbox.connection("token", Token)

    class Download(Inputs):
        path: str = Field(description="Path of the file, `/orders.xml`")

    @dropbox.action(effect=Effect.READ)
    async def download(context: ActionContext, inputs: Download) -> File:
        "Download a file."

An action takes `(context, inputs)`, is `async` or plain (plain ones run on a thread), and returns JSON-like data, a pydantic model, a `File`, or a
`Value`. It fails by raising `StepError`. Its docstring's first line is its title.
"""

from __future__ import annotations

import contextlib
import inspect
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum
from typing import Any, Protocol, TypeVar, get_type_hints

from pydantic import BaseModel, ConfigDict, SecretStr

from turnout.errors import PluginError
from turnout.interfaces.polling import Poll, PollingTrigger
from turnout.interfaces.schemes import SCHEMES, Scheme
from turnout.interfaces.service import Request, Response
from turnout.model.hosts import host_of
from turnout.model.payload import File
from turnout.values import Value

__all__ = [
    "API_VERSION",
    "Action",
    "ActionContext",
    "AfterCrash",
    "ConnectionType",
    "Connector",
    "Effect",
    "Effects",
    "Files",
    "Inputs",
    "Logger",
    "State",
    "Trigger",
    "TriggerEvent",
]

API_VERSION = 1
"""Raised when a connector made for an older one would break; see `Connector.api_version`."""

T = TypeVar("T")


class Effect(StrEnum):
    """What a step does to the world."""

    PURE = "pure"
    """Nothing, and the same inputs give the same output: computed again if its result was lost."""
    READ = "read"
    """It only looks: repeated freely, its result kept once it is there."""
    EFFECT = "effect"
    """It changes something outside: announced before, remembered after."""


class AfterCrash(StrEnum):
    """What is safe when the process died between request and answer of an `EFFECT`."""

    NATIVE = "native"
    """The other side takes `context.idempotency_key` and does the same request once."""
    UPSERT = "upsert"
    """Doing it again leaves the same state (PUT, DELETE, set)."""
    QUERY = "query"
    """The action finds out by itself whether it happened: `context.repeated` is true then."""
    NONE = "none"
    """Nobody can know: the execution is parked for a person, unless the step's author allowed a repeat."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """What one call of an action will do, once its inputs are known."""

    effect: Effect
    after_crash: AfterCrash = AfterCrash.NONE


class Inputs(BaseModel):
    """Base of an action's inputs: unknown inputs are refused, so that a misspelt one is found."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, frozen=True)


class ConnectionType(BaseModel):
    """Base of a connection's fields. Fields of type `SecretStr` are kept secret: masked wherever text leaves us."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    def secrets(self) -> tuple[str, ...]:
        """The texts that must never be seen; a type that derives more of them (a basic header) adds them here."""
        found = (getattr(self, name) for name in type(self).model_fields)
        return tuple(item.get_secret_value() for item in found if isinstance(item, SecretStr))

    def hosts(self) -> tuple[str, ...]:
        """The hosts that the credentials belong to: `api.example.com`, `*.example.com`, `example.com:8443`, never `*`.

        A code step that uses the connection reaches them, and its secrets are sent to no others. A type that always means
        the same ones says so here; otherwise they are the hosts of all fields that are URLs.
        """
        found: dict[str, None] = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            text = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
            if text.lower().startswith(("http://", "https://")):
                with contextlib.suppress(ValueError):  # what is no URL after all has no host
                    found[host_of(text)] = None
        return tuple(found)


class Logger(Protocol):
    """The execution's own log. Secrets of its connections are masked."""

    def debug(self, message: str) -> None: ...
    def info(self, message: str) -> None: ...
    def warning(self, message: str) -> None: ...
    def error(self, message: str) -> None: ...


class Files(ABC):
    """Content by stream. Small content travels inside the `File`, large content through the payload store."""

    @abstractmethod
    async def create(
        self, content: AsyncIterator[bytes] | bytes, *, name: str = "", content_type: str = "application/octet-stream"
    ) -> File:
        """A file of this content, never holding more than a few chunks of a stream in memory."""

    @abstractmethod
    def open(self, file: File) -> AsyncIterator[bytes]:
        """The content in chunks."""

    @abstractmethod
    async def read(self, file: File, *, limit: int = 64 * 1024 * 1024) -> bytes:
        """The whole content; `StepError` if it is larger than `limit` bytes, saying to stream it instead."""


class State(ABC):
    """Durable values of this instance, or with `flow=True` of this flow alone. Each change is made once, however often
    the step is repeated after a crash. `set` refuses more than 256 KB with a `StepError` of kind `too_large`."""

    @abstractmethod
    async def get(self, key: str, *, flow: bool = False) -> Value | None: ...

    @abstractmethod
    async def set(self, key: str, value: Value, *, flow: bool = False) -> None: ...

    @abstractmethod
    async def increment(self, key: str, by: Decimal, *, flow: bool = False) -> Decimal: ...

    @abstractmethod
    async def delete(self, key: str, *, flow: bool = False) -> bool: ...


class ActionContext(ABC):
    """What an action may use. One object for each attempt of a step."""

    files: Files
    state: State
    log: Logger
    execution: str
    step: str
    """The path, with loop items: `each[3].post`."""
    attempt: int
    idempotency_key: str
    """The same for every attempt of this step and item, in every process; 64 hex characters that tell nothing."""
    repeated: bool
    """True where an earlier attempt may have had its effect: its process died before the answer was kept."""

    @property
    @abstractmethod
    def connection(self) -> Any:
        """The step's connection, an instance of one of the connector's connection types, or None."""

    @property
    @abstractmethod
    def remaining_s(self) -> float | None:
        """Seconds until the step's or the flow's time-out; None without one."""

    @property
    def trace_headers(self) -> Mapping[str, str]:
        """`traceparent` and `tracestate` (W3C) for the requests of this attempt, so that what the other side does becomes a
        part of the execution's trace; empty where there is no trace."""
        return {}

    @abstractmethod
    async def resource(self, key: object, make: Callable[[], Awaitable[T]], close: Callable[[T], Awaitable[None]]) -> T:
        """Something kept for the worker's lifetime, a connection pool say: made at the first call with this key (which
        begins with the connector's name) and shared by all later ones of any execution, so it must hold no customer's
        data unless the key names it."""


ActionFunction = Callable[[ActionContext, Any], Any]
PollFunction = Callable[[ActionContext, Any, Any], Awaitable[Poll]]
EffectsFunction = Callable[[Any], Effects]


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One action, as `Connector.action` made it from a function."""

    name: str
    title: str
    description: str
    run: ActionFunction
    inputs: type[BaseModel]
    output: object
    """The return annotation, from which the output's JSON Schema is made; `Any` where it says nothing."""
    effects: EffectsFunction
    worst: Effects
    """The most that any inputs can do: what checks that have no inputs yet go by."""
    timeout_s: float | None
    is_async: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerEvent:
    """What a webhook trigger made of a request: the trigger's value, and its own id for deduplication if it has one."""

    value: Value
    deduplication_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """A webhook trigger: `receive` verifies the request and says what starts the flow, or answers it itself.

    It gets the request, the connection (or None) and the trigger's inputs; a `Response` answers without an execution
    (a refused signature, a challenge handshake). With a `scheme` it gets only requests that have been proved by the
    connection's secrets, handshakes are answered for it, and it need not say a delivery's own id.
    """

    name: str
    title: str
    description: str
    receive: Callable[[Request, Any, Any], Awaitable[TriggerEvent | Response]]
    inputs: type[BaseModel]
    scheme: Scheme | None = None


@dataclass(slots=True)
class Connector:
    """A connector: its connection types, actions and triggers, by name."""

    name: str
    title: str = ""
    description: str = ""
    docs: str = ""
    api_version: int = API_VERSION
    connections: dict[str, type[ConnectionType]] = field(default_factory=dict)
    actions: dict[str, Action] = field(default_factory=dict)
    triggers: dict[str, Trigger] = field(default_factory=dict)
    polls: dict[str, PollingTrigger] = field(default_factory=dict)
    connection_required: bool = True
    """False where actions may be used without a connection (http, data)."""

    def connection(self, name: str, fields: type[ConnectionType]) -> type[ConnectionType]:
        """Add a connection type."""
        self._unique(self.connections, "connection type", name)
        self.connections[name] = fields
        return fields

    def action(
        self,
        *,
        effect: Effect | EffectsFunction,
        after_crash: AfterCrash = AfterCrash.NONE,
        name: str = "",
        timeout_s: float | None = 300.0,
    ) -> Callable[[ActionFunction], ActionFunction]:
        """Add the function as an action, under its own name unless `name` is given.

        `effect` may be a function of the validated inputs that returns `Effects`. `PluginError` if the function's
        second parameter is not annotated with a pydantic model.
        """

        def add(function: ActionFunction) -> ActionFunction:
            action = name or function.__name__
            self._unique(self.actions, "action", action)
            hints = get_type_hints(function)
            parameters = list(inspect.signature(function).parameters)
            inputs = hints.get(parameters[1]) if len(parameters) == 2 else None
            if not (isinstance(inputs, type) and issubclass(inputs, BaseModel)):
                raise PluginError(f"action {self.name}.{action}: it must take (context, inputs: a model of its inputs)")
            title, _, description = inspect.cleandoc(function.__doc__ or action).partition("\n")
            if callable(effect) and not isinstance(effect, Effect):
                effects, worst = effect, Effects(effect=Effect.EFFECT, after_crash=after_crash)
            else:
                worst = Effects(effect=Effect(effect), after_crash=after_crash)
                effects = _always(worst)
            self.actions[action] = Action(
                name=action,
                title=title.rstrip("."),
                description=description.strip(),
                run=function,
                inputs=inputs,
                output=hints.get("return", Any),
                effects=effects,
                worst=worst,
                timeout_s=timeout_s,
                is_async=inspect.iscoroutinefunction(function),
            )
            return function

        return add

    def trigger(
        self,
        *,
        name: str = "",
        inputs: type[BaseModel] = Inputs,
        scheme: str | Scheme | None = None,
        secrets: Sequence[str] = (),
    ) -> Callable[
        [Callable[[Request, Any, Any], Awaitable[TriggerEvent | Response]]],
        Callable[[Request, Any, Any], Awaitable[TriggerEvent | Response]],
    ]:
        """Add the function as a webhook trigger.

        `scheme` is how senders prove who they are, a name of `SCHEMES` or one of your own, `secrets` the fields of the
        connection that hold the secrets, where they are not the scheme's. `PluginError` if there is no such scheme.
        """
        if isinstance(scheme, str):
            if scheme not in SCHEMES:
                raise PluginError(f"connector {self.name}: no scheme {scheme!r}; there are {', '.join(SCHEMES)}")
            scheme = SCHEMES[scheme]
        if scheme is not None and secrets:
            scheme = replace(scheme, fields=tuple(secrets))

        def add(
            function: Callable[[Request, Any, Any], Awaitable[TriggerEvent | Response]],
        ) -> Callable[[Request, Any, Any], Awaitable[TriggerEvent | Response]]:
            trigger = name or getattr(function, "__name__", "")
            self._unique({**self.polls, **self.triggers}, "trigger", trigger)
            title, _, description = inspect.cleandoc(function.__doc__ or trigger).partition("\n")
            self.triggers[trigger] = Trigger(
                name=trigger,
                title=title.rstrip("."),
                description=description.strip(),
                receive=function,
                inputs=inputs,
                scheme=scheme,
            )
            return function

        return add

    def polling(self, *, name: str = "", timeout_s: float = 60.0) -> Callable[[PollFunction], PollFunction]:
        """Add the function `(context, inputs, cursor) -> Poll` as a polling trigger. `PluginError` if its second parameter is
        not annotated with a pydantic model."""

        def add(function: PollFunction) -> PollFunction:
            trigger = name or getattr(function, "__name__", "")
            self._unique({**self.polls, **self.triggers}, "trigger", trigger)
            parameters = list(inspect.signature(function).parameters)
            inputs = get_type_hints(function).get(parameters[1]) if len(parameters) == 3 else None
            if not (isinstance(inputs, type) and issubclass(inputs, BaseModel)):
                raise PluginError(f"trigger {self.name}.{trigger}: it must take (context, inputs: a model, cursor)")
            title, _, description = inspect.cleandoc(function.__doc__ or trigger).partition("\n")
            self.polls[trigger] = PollingTrigger(
                name=trigger,
                title=title.rstrip("."),
                description=description.strip(),
                poll=function,
                inputs=inputs,
                timeout_s=timeout_s,
            )
            return function

        return add

    def _unique(self, table: Mapping[str, object], kind: str, name: str) -> None:
        if name in table:
            raise PluginError(f"connector {self.name}: two definitions of {kind} {name!r}")


def _always(effects: Effects) -> EffectsFunction:
    return lambda inputs: effects
