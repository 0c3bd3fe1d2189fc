"""For connectors' authors: run one action as the engine would, and check what every connector must keep.

async def test_a_file_is_downloaded():
    async with ActionRunner(dropbox, connection=Token(access_token="t", base_url=url)) as runner:
        file = (await runner.run("download", {"path": "/a.txt"})).load()

class TestDropbox(ConnectorContract):
    @pytest.fixture
    def connector(self):
        return dropbox
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from decimal import Context, Decimal
from typing import Any, Final, TypeVar, get_args

import pytest
from pydantic import BaseModel, SecretStr, TypeAdapter, ValidationError

from turnout.engine.leaves import validated
from turnout.engine.resources import Resources
from turnout.errors import StepError
from turnout.interfaces.connector import (
    API_VERSION,
    Action,
    ActionContext,
    AfterCrash,
    ConnectionType,
    Connector,
    Effect,
    Effects,
    Files,
    State,
    Trigger,
)
from turnout.interfaces.polling import PollingTrigger
from turnout.model.hosts import host_pattern
from turnout.model.payload import INLINE_BYTES, File
from turnout.values import Value

__all__ = ["ActionRunner", "ConnectorContract", "MemoryFiles", "MemoryState", "RecordedLog"]

T = TypeVar("T")

_CHUNK_BYTES: Final = 64 * 1024
_EXACT: Final = Context(prec=10_000)
_KEY: Final = hashlib.sha256(b"ActionRunner").hexdigest()


class MemoryFiles(Files):
    """Files whose content is in memory. As in the engine, large content is not inside the `File`."""

    def __init__(self) -> None:
        self._contents: dict[str, bytes] = {}

    async def create(
        self, content: AsyncIterator[bytes] | bytes, *, name: str = "", content_type: str = "application/octet-stream"
    ) -> File:
        data = content if isinstance(content, bytes) else b"".join([chunk async for chunk in content])
        sha256 = hashlib.sha256(data).hexdigest()
        self._contents[sha256] = data
        inline = data if len(data) <= INLINE_BYTES else None
        return File(sha256=sha256, size=len(data), name=name, content_type=content_type, data=inline)

    async def open(self, file: File) -> AsyncIterator[bytes]:
        data = self._contents[file.sha256] if file.data is None else file.data
        for start in range(0, len(data), _CHUNK_BYTES):
            yield data[start : start + _CHUNK_BYTES]

    async def read(self, file: File, *, limit: int = 64 * 1024 * 1024) -> bytes:
        if file.size > limit:
            raise StepError(f"{file.name} has {file.size} bytes, more than {limit}: stream it", kind="too_large")
        return b"".join([chunk async for chunk in self.open(file)])


class MemoryState(State):
    """State in memory, by scope."""

    def __init__(self) -> None:
        self._values: dict[tuple[bool, str], Value] = {}

    async def get(self, key: str, *, flow: bool = False) -> Value | None:
        return self._values.get((flow, key))

    async def set(self, key: str, value: Value, *, flow: bool = False) -> None:
        self._values[flow, key] = Value.from_encoded(value.encode())

    async def increment(self, key: str, by: Decimal, *, flow: bool = False) -> Decimal:
        there = self._values.get((flow, key), Value(0)).load()
        if isinstance(there, bool) or not isinstance(there, int | float):
            raise StepError(f"state {key!r} is not a number", kind="type", retryable=False)
        total = _EXACT.add(Decimal(str(there)), by)
        self._values[flow, key] = Value(int(total) if total == total.to_integral_value() else float(total))
        return total

    async def delete(self, key: str, *, flow: bool = False) -> bool:
        return self._values.pop((flow, key), None) is not None


class RecordedLog:
    """A logger that keeps `(level, message)`."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def debug(self, message: str) -> None:
        self.lines.append(("debug", message))

    def info(self, message: str) -> None:
        self.lines.append(("info", message))

    def warning(self, message: str) -> None:
        self.lines.append(("warning", message))

    def error(self, message: str) -> None:
        self.lines.append(("error", message))


class _Context(ActionContext):
    def __init__(self, runner: ActionRunner, action: str, *, attempt: int, repeated: bool) -> None:
        self._runner = runner
        self.files = runner.files
        self.state = runner.state
        self.log = runner.log
        self.execution = "test"
        self.step = action
        self.attempt = attempt
        self.idempotency_key = runner.idempotency_key
        self.repeated = repeated

    @property
    def connection(self) -> Any:
        return self._runner.connection

    @property
    def remaining_s(self) -> float | None:
        return self._runner.remaining_s

    @property
    def trace_headers(self) -> Mapping[str, str]:
        return self._runner.trace_headers

    async def resource(self, key: object, make: Callable[[], Awaitable[T]], close: Callable[[T], Awaitable[None]]) -> T:
        return await self._runner.resources.get(key, make, close)


class ActionRunner:
    """Runs actions of one connector, one at a time or many at once, with files and state in memory.

    Inputs are validated and outputs encoded as the engine does it. The attributes may be changed between runs. Leaving the block
    (or `close`) closes what actions kept with `context.resource`.
    """

    def __init__(
        self,
        connector: Connector,
        *,
        connection: ConnectionType | None = None,
        idempotency_key: str = _KEY,
        remaining_s: float | None = None,
    ) -> None:
        self.connector = connector
        self.connection = connection
        self.idempotency_key = idempotency_key
        self.remaining_s = remaining_s
        self.trace_headers: Mapping[str, str] = {}
        self.files = MemoryFiles()
        self.state = MemoryState()
        self.log = RecordedLog()
        self.resources = Resources()

    async def __aenter__(self) -> ActionRunner:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    def effects(self, action: str, inputs: Mapping[str, Any] | None = None) -> Effects:
        """What the action declares for these inputs."""
        chosen = self._action(action)
        return chosen.effects(validated(chosen.inputs, Value(dict(inputs or {}))))

    async def run(
        self, action: str, inputs: Mapping[str, Any] | None = None, *, attempt: int = 1, repeated: bool = False
    ) -> Value:
        """The action's output. `StepError` as it fails; of kind `input` where the inputs do not hold."""
        chosen = self._action(action)
        checked = validated(chosen.inputs, Value(dict(inputs or {})))
        context = _Context(self, action, attempt=attempt, repeated=repeated)
        if chosen.is_async:
            output = await chosen.run(context, checked)
        else:
            output = await asyncio.to_thread(chosen.run, context, checked)
        value = output if isinstance(output, Value) else Value(output)
        value.encode()
        return value

    async def close(self) -> None:
        """Close what actions kept. Idempotent."""
        await self.resources.close()

    def _action(self, name: str) -> Action:
        assert name in self.connector.actions, f"{self.connector.name} has no action {name!r}"
        return self.connector.actions[name]


_MARK: Final = "s3cr3t-MARK-that-must-not-be-seen"
_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")
_SECRET_NAME: Final = re.compile(r"(^|_)(password|passwd|secret|token|key|credential|private_key|passphrase)s?$")
_LIMIT_S: Final = 24 * 3600.0


class ConnectorContract:
    """What every connector keeps. Subclass it in your tests and override the fixture `connector`; override `examples`
    too where an action's effects depend on its inputs."""

    @pytest.fixture
    def connector(self) -> Connector:
        """The connector under test."""
        raise NotImplementedError("override the fixture `connector`")

    @pytest.fixture
    def examples(self) -> Mapping[str, Mapping[str, Any]]:
        """Valid inputs by action."""
        return {}

    def test_names_are_lower_case_words(self, connector: Connector) -> None:
        for name in (connector.name, *connector.actions, *connector.triggers, *connector.polls, *connector.connections):
            assert _NAME.fullmatch(name), f"{name!r} must be lower-case letters, digits and _"

    def test_it_is_made_for_this_version_of_the_interface(self, connector: Connector) -> None:
        assert connector.api_version == API_VERSION, "read the changelog of the interface, then raise api_version"

    def test_it_says_what_it_is_and_where_to_read_more(self, connector: Connector) -> None:
        assert connector.title
        assert connector.description
        if connector.connections or connector.docs:
            assert connector.docs.startswith("https://"), "docs must be the URL of the other side's own documentation"

    def test_it_offers_something(self, connector: Connector) -> None:
        assert connector.actions or connector.triggers or connector.polls or connector.connections

    def test_a_required_connection_can_be_made(self, connector: Connector) -> None:
        assert connector.connections or not connector.connection_required, (
            "it needs a connection, and has no type of one"
        )

    def test_actions_have_titles_for_people(self, connector: Connector) -> None:
        for name, part in _parts(connector).items():
            assert part.title != name, f"{name}: the first line of the docstring is its title"
            assert part.title[:1].isupper(), f"{name}: a title begins with a capital"
            assert len(part.title) <= 80, f"{name}: a title is one short line"

    def test_every_input_is_described(self, connector: Connector) -> None:
        for name, part in _parts(connector).items():
            for field, info in part.inputs.model_fields.items():
                assert info.description, f"{name}: the input {field!r} has no description"

    def test_misspelt_inputs_are_refused(self, connector: Connector) -> None:
        for name, part in _parts(connector).items():
            assert part.inputs.model_config.get("extra") == "forbid", f"{name}: its inputs must forbid others"

    def test_inputs_and_outputs_have_a_schema(self, connector: Connector) -> None:
        for action in connector.actions.values():
            assert action.inputs.model_json_schema()["type"] == "object"
            output: TypeAdapter[Any] = TypeAdapter(action.output)  # type: ignore[arg-type]  # an annotation is any object
            assert isinstance(output.json_schema(mode="serialization"), dict)
        for trigger in connector.triggers.values():
            assert trigger.inputs.model_json_schema()["type"] == "object"

    def test_effects_hold_for_the_examples(
        self, connector: Connector, examples: Mapping[str, Mapping[str, Any]]
    ) -> None:
        for name, inputs in examples.items():
            action = connector.actions[name]
            effects = action.effects(validated(action.inputs, Value(dict(inputs))))
            assert isinstance(effects, Effects), f"{name}: its effects must be `Effects`"
            assert _ORDER[effects.effect] <= _ORDER[action.worst.effect], f"{name}: does more than its worst says"

    def test_only_effects_say_what_is_safe_after_a_crash(self, connector: Connector) -> None:
        for name, action in connector.actions.items():
            if action.worst.effect is not Effect.EFFECT:
                assert action.worst.after_crash is AfterCrash.NONE, f"{name}: only an effect has an after_crash"

    def test_every_action_ends(self, connector: Connector) -> None:
        for name, action in connector.actions.items():
            assert action.timeout_s is not None, f"{name}: an action needs a time-out"
            assert 0 < action.timeout_s <= _LIMIT_S, f"{name}: a time-out is above 0 and at most a day"

    def test_actions_take_a_context_and_inputs(self, connector: Connector) -> None:
        for name, action in connector.actions.items():
            assert len(inspect.signature(action.run).parameters) == 2, f"{name}: it must take (context, inputs)"

    def test_fields_named_like_secrets_are_secrets(self, connector: Connector) -> None:
        for name, kind in connector.connections.items():
            for field, info in kind.model_fields.items():
                if _SECRET_NAME.search(field):
                    assert _is_secret(info.annotation), f"{name}.{field} must be a SecretStr"

    def test_secrets_are_in_no_text_of_a_connection(self, connector: Connector) -> None:
        for name, kind in connector.connections.items():
            connection = _filled(kind)
            shown = f"{connection!r} {connection!s} {connection.model_dump_json()} {connection.model_dump()}"
            assert _MARK not in shown, f"{name}: a secret can be seen"

    def test_secrets_are_known_to_the_mask(self, connector: Connector) -> None:
        for name, kind in connector.connections.items():
            fields = [field for field, info in kind.model_fields.items() if _is_secret(info.annotation)]
            known = _filled(kind).secrets()
            assert len([secret for secret in known if _MARK in secret]) >= len(fields), (
                f"{name}: secrets() leaves one out"
            )

    def test_the_hosts_of_a_connection_are_patterns(self, connector: Connector) -> None:
        for name, kind in connector.connections.items():
            for host in _filled(kind).hosts():
                try:
                    pattern = host_pattern(host)
                except ValueError as error:
                    raise AssertionError(f"{name}: hosts() has {host!r}: {error}") from error
                assert pattern.partition(":")[0] != "*", f"{name}: credentials are for some hosts, not for any"

    def test_a_connection_that_does_not_hold_is_refused_without_its_secrets(self, connector: Connector) -> None:
        for name, kind in connector.connections.items():
            data = {**_values(kind), "unknown_field": _MARK}
            with pytest.raises(ValidationError) as refused:
                kind.model_validate(data)
            assert _MARK not in str(refused.value), f"{name}: set hide_input_in_errors=True"


_ORDER: Final = {Effect.PURE: 0, Effect.READ: 1, Effect.EFFECT: 2}


def _parts(connector: Connector) -> dict[str, Action | Trigger | PollingTrigger]:
    return {**connector.actions, **connector.triggers, **connector.polls}


def _is_secret(annotation: object) -> bool:
    return annotation is SecretStr or SecretStr in get_args(annotation)


def _values(kind: type[BaseModel]) -> dict[str, Any]:
    """Values for the fields that are needed or secret."""
    values: dict[str, Any] = {}
    for name, info in kind.model_fields.items():
        if _is_secret(info.annotation):
            values[info.alias or name] = _MARK
        elif info.is_required():
            values[info.alias or name] = next(iter(info.examples or ["value"]))
    return values


def _filled(kind: type[ConnectionType]) -> ConnectionType:
    return kind.model_validate(_values(kind))
