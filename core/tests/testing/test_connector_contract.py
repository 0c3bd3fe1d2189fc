"""The contract suite for connectors catches each broken promise; the runner does as the engine does."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from pydantic import Field, SecretStr
from turnout.connectors import (
    ActionContext,
    AfterCrash,
    ConnectionType,
    Connector,
    Effect,
    Effects,
    File,
    Inputs,
    StepError,
    Value,
)
from turnout.testing.connectors import ActionRunner, ConnectorContract


class Told(Inputs):
    text: str = Field(default="", description="What to say")
    raw: Value | None = Field(default=None, description="Anything, unparsed")


class Token(ConnectionType):
    token: SecretStr


def good() -> Connector:
    connector = Connector("good", title="Good", description="Keeps everything.", docs="https://example.com")
    connector.connection("token", Token)

    @connector.action(effect=Effect.PURE)
    async def say(context: ActionContext, inputs: Told) -> str:
        """Say it back."""
        return inputs.text

    @connector.action(effect=Effect.PURE)
    def kind(context: ActionContext, inputs: Told) -> str:
        """Name the type that the engine gave."""
        return type(inputs.raw).__name__

    @connector.action(effect=Effect.READ)
    async def fetch(context: ActionContext, inputs: Told) -> File:
        """Fetch a file."""
        return await context.files.create(inputs.text.encode() * 100_000, name="t.txt")

    return connector


class TestGood(ConnectorContract):
    @pytest.fixture
    def connector(self) -> Connector:
        return good()

    @pytest.fixture
    def examples(self) -> Mapping[str, Mapping[str, Any]]:
        return {"say": {"text": "x"}, "kind": {}, "fetch": {}}


class Undescribed(Inputs):
    text: str = ""


class Lax(Inputs, extra="allow"):
    pass


class Shown(ConnectionType):
    token: str = Field(default="", examples=["s3cr3t-MARK-that-must-not-be-seen"])


class Printed(ConnectionType):
    token: SecretStr

    def __repr__(self) -> str:
        return f"Printed({self.token.get_secret_value()})"


class Forgetful(ConnectionType):
    token: SecretStr

    def secrets(self) -> tuple[str, ...]:
        return ()


class Talkative(ConnectionType, hide_input_in_errors=False):
    token: SecretStr


class Anywhere(ConnectionType):
    def hosts(self) -> tuple[str, ...]:
        return ("*:8443",)


class ByUrl(ConnectionType):
    def hosts(self) -> tuple[str, ...]:
        return ("https://api.example.com",)


def _with_action(inputs: type[Inputs], doc: str = "Do it.", **options: Any) -> Connector:
    connector = good()

    async def act(context: ActionContext, inputs: Inputs) -> None:
        return None

    act.__doc__ = doc
    act.__annotations__ = {"context": ActionContext, "inputs": inputs}
    connector.action(**{"effect": Effect.PURE, **options})(act)
    return connector


def _with_connection(kind: type[ConnectionType]) -> Connector:
    connector = good()
    connector.connection("broken", kind)
    return connector


def _changed(**attributes: Any) -> Connector:
    connector = good()
    for name, value in attributes.items():
        setattr(connector, name, value)
    return connector


BROKEN: list[tuple[str, Connector]] = [
    ("test_names_are_lower_case_words", _changed(name="Not-Good")),
    ("test_it_is_made_for_this_version_of_the_interface", _changed(api_version=0)),
    ("test_it_says_what_it_is_and_where_to_read_more", _changed(docs="")),
    ("test_it_offers_something", _changed(actions={}, connections={})),
    ("test_a_required_connection_can_be_made", _changed(connections={})),
    ("test_actions_have_titles_for_people", _with_action(Told, doc="")),
    ("test_every_input_is_described", _with_action(Undescribed)),
    ("test_misspelt_inputs_are_refused", _with_action(Lax)),
    ("test_only_effects_say_what_is_safe_after_a_crash", _with_action(Told, after_crash=AfterCrash.UPSERT)),
    ("test_every_action_ends", _with_action(Told, timeout_s=None)),
    (
        "test_actions_take_a_context_and_inputs",
        _changed(actions={"say": replace(good().actions["say"], run=lambda context: None)}),  # type: ignore[arg-type, misc]  # wrong on purpose
    ),
    ("test_fields_named_like_secrets_are_secrets", _with_connection(Shown)),
    ("test_secrets_are_in_no_text_of_a_connection", _with_connection(Printed)),
    ("test_secrets_are_known_to_the_mask", _with_connection(Forgetful)),
    ("test_the_hosts_of_a_connection_are_patterns", _with_connection(Anywhere)),
    ("test_the_hosts_of_a_connection_are_patterns", _with_connection(ByUrl)),
    ("test_a_connection_that_does_not_hold_is_refused_without_its_secrets", _with_connection(Talkative)),
]


@pytest.mark.parametrize(("promise", "broken"), BROKEN)
def test_a_broken_promise_is_caught(promise: str, broken: Connector) -> None:
    check = getattr(ConnectorContract(), promise)

    check(good())
    with pytest.raises(AssertionError):
        check(broken)


def test_inputs_without_a_schema_are_caught() -> None:
    from pydantic.errors import PydanticInvalidForJsonSchema

    class Unserializable(Inputs):
        connector: Connector = Field(description="An object of Python")

    with pytest.raises(PydanticInvalidForJsonSchema):
        ConnectorContract().test_inputs_and_outputs_have_a_schema(_with_action(Unserializable))


def test_effects_that_are_none_are_caught() -> None:
    broken = _with_action(Told, effect=lambda inputs: Effect.READ)

    with pytest.raises(AssertionError):
        ConnectorContract().test_effects_hold_for_the_examples(broken, {"act": {}})


def test_an_effects_function_may_do_less_than_its_worst() -> None:
    connector = _with_action(Told, effect=lambda inputs: Effects(effect=Effect.READ))

    ConnectorContract().test_effects_hold_for_the_examples(connector, {"act": {}})


def test_every_promise_has_its_broken_connector() -> None:
    promises = {
        name for name, _ in inspect.getmembers(ConnectorContract, inspect.isfunction) if name.startswith("test_")
    }
    marked = {promise for promise, _ in BROKEN}
    apart = {
        "test_inputs_and_outputs_have_a_schema",
        "test_effects_hold_for_the_examples",
    }

    assert promises == marked | apart


async def test_the_runner_gives_unparsed_values_and_runs_plain_actions_too() -> None:
    async with ActionRunner(good()) as runner:
        assert (await runner.run("kind", {"raw": {"a": 1}})).load() == "Value"
        assert (await runner.run("kind", {"raw": None})).load() == "NoneType"


async def test_the_runner_refuses_inputs_as_the_engine_does() -> None:
    async with ActionRunner(good()) as runner:
        with pytest.raises(StepError, match="txet") as refused:
            await runner.run("say", {"txet": "x"})

    assert refused.value.kind == "input"


async def test_the_runner_keeps_large_files_out_of_values() -> None:
    async with ActionRunner(good()) as runner:
        file = (await runner.run("fetch", {"text": "abc"})).load()

        assert file.data is None
        assert await runner.files.read(file) == b"abc" * 100_000
