"""The registry: what it offers, and that a broken plugin costs only what it would have provided."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import click
import pytest
from turnout.errors import NotFound
from turnout.hookspecs import hookimpl
from turnout.interfaces.connector import API_VERSION, Connector
from turnout.interfaces.secrets import Secret, SecretStore
from turnout.plugins import Kind, Registry, load_plugins


class Vault(SecretStore):
    scheme = "vault"
    capabilities = frozenset()

    async def get(self, name: str) -> Secret:
        return Secret(name)

    async def close(self) -> None: ...


class HalfVault(SecretStore):
    async def close(self) -> None: ...


def plugin(name: str, **hooks: Callable[..., object]) -> ModuleType:
    """A plugin module with these hook implementations."""
    module = ModuleType(name)
    for hook, function in hooks.items():
        setattr(module, hook, hookimpl(function))
    return module


def connectors(*names: str) -> Callable[[], Mapping[str, Connector]]:
    return lambda: {name: Connector(name) for name in names}


def load(*extra: object, **options: Any) -> Registry:
    """A registry of these plugins alone, whatever this machine has installed."""
    from turnout.plugins.discovery import installed

    return load_plugins(extra=extra, blocked={entry.name for entry in installed(())}, **options)


def only_failure(registry: Registry) -> str:
    for kind in Kind:
        registry.provided(kind)
    (failure,) = registry.failures
    return str(failure)


def test_things_are_found_by_kind_and_name_with_the_plugin_they_come_from() -> None:
    registry = load(
        plugin("one", turnout_connectors=connectors("crm")),
        plugin("two", turnout_connectors=connectors("erp"), turnout_stores=lambda: {"secrets:vault": Vault}),
    )

    assert set(registry.connectors) == {"crm", "erp"}
    assert registry.find(Kind.STORES, "secrets:vault") is Vault
    assert registry.provided(Kind.CONNECTORS)["erp"].name == "two"
    assert registry.failures == ()


def test_a_hook_is_called_when_its_kind_is_asked_for_and_only_once() -> None:
    calls = []

    def turnout_connectors() -> Mapping[str, Connector]:
        calls.append("called")
        return {}

    registry = load(plugin("lazy", turnout_connectors=turnout_connectors))
    assert registry.queues == {}
    assert calls == []

    assert registry.connectors == {}
    assert registry.connectors == {}
    assert calls == ["called"]


def test_what_the_registry_returns_cannot_be_changed() -> None:
    registry = load(plugin("one", turnout_connectors=connectors("crm")))

    with pytest.raises(TypeError):
        registry.connectors["crm"] = Connector("other")  # type: ignore[index]  # a mapping refuses it


def test_an_unknown_name_is_answered_with_the_nearest_right_one() -> None:
    registry = load(plugin("one", turnout_connectors=connectors("dropbox", "http")))

    with pytest.raises(NotFound, match=r"no connector 'dropbx': did you mean 'dropbox'\?"):
        registry.find(Kind.CONNECTORS, "dropbx")
    with pytest.raises(NotFound, match="no connector 'salesforce': there are dropbox, http"):
        registry.find(Kind.CONNECTORS, "salesforce")


def test_an_unknown_name_mentions_the_plugins_that_failed() -> None:
    registry = load(plugin("broken", turnout_connectors=lambda: 1 / 0))

    with pytest.raises(NotFound, match=r"broken plugins may have provided it \(broken\)"):
        registry.find(Kind.CONNECTORS, "crm")


def test_a_hook_that_raises_is_named_and_the_rest_of_its_plugin_works() -> None:
    def missing() -> Mapping[str, Connector]:
        raise KeyError("crm")

    registry = load(
        plugin("shaky", turnout_connectors=missing, turnout_stores=lambda: {"secrets:vault": Vault}),
        plugin("sound", turnout_connectors=connectors("erp")),
    )

    assert set(registry.connectors) == {"erp"}
    assert set(registry.stores) == {"secrets:vault"}
    assert only_failure(registry) == "plugin 'shaky': turnout_connectors raised KeyError: 'crm'"


def test_a_hook_that_exits_does_not_end_the_process() -> None:
    def turnout_queues() -> Mapping[str, type]:
        raise SystemExit(3)

    registry = load(plugin("leaving", turnout_queues=turnout_queues))

    assert "turnout_queues raised SystemExit: 3" in only_failure(registry)


def test_a_hook_with_wrong_arguments_is_refused_whole() -> None:
    def turnout_connectors(settings: object) -> Mapping[str, Connector]:
        return {}

    registry = load(
        plugin("greedy", turnout_connectors=turnout_connectors, turnout_stores=lambda: {"secrets:vault": Vault})
    )

    assert registry.plugins == ()
    assert registry.stores == {}
    assert "settings" in only_failure(registry)


def test_a_misspelt_hook_is_answered_with_the_nearest_right_one() -> None:
    registry = load(plugin("typo", turnout_conectors=connectors("crm")))

    assert (
        only_failure(registry)
        == "plugin 'typo': there is no hook 'turnout_conectors': did you mean 'turnout_connectors'?"
    )


def test_a_wrapper_is_refused_because_it_could_change_what_others_provide() -> None:
    module = ModuleType("wrapping")

    def turnout_connectors() -> Any:
        return (yield)

    module.turnout_connectors = hookimpl(wrapper=True)(turnout_connectors)  # type: ignore[attr-defined]  # modules are made here

    assert "turnout_connectors is a wrapper" in only_failure(load(module))


@pytest.mark.parametrize(
    ("hook", "answer", "said"),
    [
        ("turnout_connectors", None, "turnout_connectors returned NoneType, not a mapping by name"),
        ("turnout_connectors", {"crm": object()}, "connector 'crm' is of type object"),
        ("turnout_connectors", {"crm": Connector("erp")}, "calls itself 'erp'"),
        ("turnout_connectors", {"": Connector("")}, "a name must be text without spaces"),
        ("turnout_connectors", {7: Connector("crm")}, "names something 7"),
        ("turnout_connectors", {"x": Connector("x", api_version=API_VERSION + 1)}, "upgrade turnout"),
        ("turnout_connectors", {"x": Connector("x", api_version=API_VERSION - 1)}, "upgrade the connector's"),
        ("turnout_queues", {"fast": Vault}, "Vault does not inherit from turnout.interfaces.queue.Queue"),
        ("turnout_sandboxes", {"jail": Vault}, "does not inherit from turnout.interfaces.sandbox.Sandbox"),
        ("turnout_targets", {"moon": Vault}, "does not inherit from turnout.interfaces.target.Target"),
        ("turnout_services", {"extra": Vault}, "does not inherit from turnout.interfaces.service.Service"),
        ("turnout_stores", {"vault": Vault}, "its name must be KIND:NAME"),
        ("turnout_stores", {"attic:vault": Vault}, "with a kind of catalog, journal, records"),
        ("turnout_stores", {"secrets:vault": Vault()}, "of type Vault: the hook must return classes"),
        ("turnout_stores", {"secrets:vault": HalfVault}, "HalfVault does not implement get"),
        ("turnout_commands", {"greet": print}, "not a click.Command"),
    ],
)
def test_what_breaks_a_contract_is_left_out_and_explained(hook: str, answer: object, said: str) -> None:
    registry = load(plugin("wrong", **{hook: lambda: answer}))

    assert said in only_failure(registry)
    assert registry.provided(Kind(hook.removeprefix("turnout_"))) == {}


def test_of_two_plugins_with_one_name_the_first_keeps_it() -> None:
    module = ModuleType("second")
    module.turnout_connectors = hookimpl(trylast=True)(connectors("crm", "erp"))  # type: ignore[attr-defined]  # modules are made here

    registry = load(plugin("first", turnout_connectors=connectors("crm")), module)

    assert registry.provided(Kind.CONNECTORS)["crm"].name == "first"
    assert registry.provided(Kind.CONNECTORS)["erp"].name == "second"
    assert "provides 'crm', which comes from plugin 'first'" in only_failure(registry)


def test_a_command_cannot_take_the_name_of_one_of_turnouts_own() -> None:
    registry = load(
        plugin("bold", turnout_commands=lambda: {"run": click.Command("run"), "greet": click.Command("greet")}),
        reserved_commands={"run"},
    )

    assert set(registry.commands) == {"greet"}
    assert "command 'run' is Turnout's own" in only_failure(registry)


def test_observers_take_the_arguments_they_declare_and_harm_nothing(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[object] = []

    def ended(event: object) -> None:
        seen.append(event)

    def failing(execution: str, event: object) -> None:
        raise ValueError(execution)

    registry = load(plugin("failing", turnout_event=failing), plugin("seeing", turnout_event=ended))
    with caplog.at_level(logging.ERROR):
        for observer in registry.observers:
            observer("x1", "event")  # type: ignore[arg-type]  # wrong on purpose

    assert seen == ["event"]
    assert "plugin failing: turnout_event raised" in caplog.text
