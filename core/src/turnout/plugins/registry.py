"""The registry: what is installed, asked for by kind and name.

Hooks are called when their kind is first asked for, each plugin's on its own, and the answers are kept: one plugin that
raises, or answers with something that breaks its contract, costs only what it would have provided.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pluggy

from turnout import hookspecs
from turnout.errors import NotFound, PluginError
from turnout.plugins.contracts import Kind, check
from turnout.plugins.declared import declared_connectors
from turnout.plugins.discovery import Plugin, PluginFailure, import_plugin, installed

if TYPE_CHECKING:
    import click

    from turnout.config import Settings
    from turnout.interfaces.connector import Connector
    from turnout.interfaces.connector_source import ConnectorSource
    from turnout.interfaces.queue import Queue
    from turnout.interfaces.sandbox import Sandbox
    from turnout.interfaces.service import Service
    from turnout.interfaces.target import Target
    from turnout.model.events import Event

    Observer = Callable[[str, Event], None]

__all__ = ["Registry", "load_plugins"]

_log = logging.getLogger(__name__)
_HARMFUL = (Exception, SystemExit)
"""What a plugin's code may raise without harming anyone else; KeyboardInterrupt is the user's own."""


def load_plugins(
    settings: Settings | None = None,
    *,
    extra: Iterable[object] = (),
    blocked: Collection[str] = (),
    reserved_commands: Collection[str] = (),
) -> Registry:
    """Import every installed plugin and check its hooks' signatures; call none of them yet.

    `settings` are a project's: they block plugins, and declare connectors. `extra` are modules or objects with hook implementations, for tests and embedding; they come last. `blocked` are
    names of installed plugins to leave out. Commands named in `reserved_commands` are refused. Never raises for what a
    plugin does: see `Registry.failures`.
    """
    registry = Registry(settings, reserved_commands=reserved_commands)
    for plugin in installed({*blocked, *(settings.plugins.blocked if settings is not None else ())}):
        registry._load(plugin)
    for given in extra:
        name = getattr(given, "__name__", type(given).__name__)
        registry._register(Plugin(name=name), given)
    return registry


class Registry:
    """Everything that plugins provide. Mappings are read-only and keyed by the name that settings and definitions use.

    Made by `load_plugins`.
    """

    def __init__(self, settings: Settings | None = None, *, reserved_commands: Collection[str] = ()) -> None:
        self._settings = settings
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._plugins: dict[object, Plugin] = {}
        self._failures: list[PluginFailure] = []
        self._provided: dict[Kind, dict[str, tuple[Any, Plugin]]] = {}
        self._reserved_commands = frozenset(reserved_commands)

    @property
    def plugins(self) -> tuple[Plugin, ...]:
        """The plugins that were loaded, in the order in which they are asked."""
        return tuple(self._plugins.values())

    @property
    def failures(self) -> tuple[PluginFailure, ...]:
        """What went wrong so far. Asking for a kind calls its hooks, which may add to it."""
        return tuple(self._failures)

    @property
    def connectors(self) -> Mapping[str, Connector]:
        """Those of plugins, and those that the project declares. `SettingsError` where a declaration is wrong."""
        return self._things(Kind.CONNECTORS)

    @property
    def connector_sources(self) -> Mapping[str, type[ConnectorSource]]:
        return self._things(Kind.CONNECTOR_SOURCES)

    @property
    def queues(self) -> Mapping[str, type[Queue]]:
        return self._things(Kind.QUEUES)

    @property
    def sandboxes(self) -> Mapping[str, type[Sandbox]]:
        return self._things(Kind.SANDBOXES)

    @property
    def stores(self) -> Mapping[str, type]:
        """By `kind:name`: `journal:sqlite`."""
        return self._things(Kind.STORES)

    @property
    def targets(self) -> Mapping[str, type[Target]]:
        return self._things(Kind.TARGETS)

    @property
    def services(self) -> Mapping[str, type[Service]]:
        return self._things(Kind.SERVICES)

    @property
    def commands(self) -> Mapping[str, click.Command]:
        return self._things(Kind.COMMANDS)

    @property
    def observers(self) -> tuple[Observer, ...]:
        """Functions of an execution's id and an event, one a plugin that observes. They never raise: what the plugin
        raises is logged."""
        return tuple(
            _harmless(implementation, self._plugins[implementation.plugin])
            for implementation in self._implementations("turnout_event")
        )

    def provided(self, kind: Kind) -> Mapping[str, Plugin]:
        """Which plugin each thing of a kind comes from."""
        return {name: plugin for name, (_, plugin) in self._ask(kind).items()}

    def find(self, kind: Kind, name: str) -> Any:
        """The thing of that name; `NotFound` with the nearest right name, and with the plugins that failed."""
        things = self._ask(kind)
        if name in things:
            return things[name][0]
        raise NotFound(kind.singular, name, hint=self._hint(kind, name))

    def _hint(self, kind: Kind, name: str) -> str:
        things = self._ask(kind)
        near = difflib.get_close_matches(name, things, n=1)
        there = f"there are {', '.join(sorted(things)) or 'none'}, others come with plugins (`turnout plugins`)"
        parts = [f"did you mean {near[0]!r}?" if near else there]
        if self._failures:
            broken = ", ".join(sorted({failure.distribution or failure.name for failure in self._failures}))
            parts.append(f"broken plugins may have provided it ({broken}): see `turnout plugins`")
        return "; ".join(parts)

    def _things(self, kind: Kind) -> Mapping[str, Any]:
        return MappingProxyType({name: thing for name, (thing, _) in self._ask(kind).items()})

    def _ask(self, kind: Kind) -> Mapping[str, tuple[Any, Plugin]]:
        if kind not in self._provided:
            found: dict[str, tuple[Any, Plugin]] = {}
            for implementation in self._implementations(kind.hook):
                plugin = self._plugins[implementation.plugin]
                for name, thing in self._answers(kind, plugin, implementation):
                    self._add(found, kind, plugin, name, thing)
            if kind is Kind.CONNECTORS and self._settings is not None:
                found.update(declared_connectors(self._settings, found, self.find))
            self._provided[kind] = found
        return self._provided[kind]

    def _implementations(self, hook: str) -> list[pluggy.HookImpl]:
        """In the order of `plugins`: a `tryfirst` must not win a name that another plugin has."""
        order = list(self._plugins)
        caller: pluggy.HookCaller = getattr(self._manager.hook, hook)
        return sorted(caller.get_hookimpls(), key=lambda implementation: order.index(implementation.plugin))

    def _answers(self, kind: Kind, plugin: Plugin, implementation: pluggy.HookImpl) -> Iterable[tuple[Any, Any]]:
        try:
            answer = implementation.function()
            if not isinstance(answer, Mapping):
                raise PluginError(f"{kind.hook} returned {type(answer).__name__}, not a mapping by name")
            return list(answer.items())
        except PluginError as error:
            self._fail(plugin, str(error))
        except _HARMFUL as error:
            self._fail(plugin, f"{kind.hook} raised {_told(error)}")
        return ()

    def _add(self, found: dict[str, tuple[Any, Plugin]], kind: Kind, plugin: Plugin, name: Any, thing: Any) -> None:
        try:
            check(kind, name, thing)
            if kind is Kind.COMMANDS and name in self._reserved_commands:
                raise PluginError(f"command {name!r} is Turnout's own: rename the plugin's")
            if name in found:
                other = found[name][1]
                raise PluginError(
                    f"{kind.hook} provides {name!r}, which comes from plugin {other.name!r} "
                    f"({other.distribution or 'given in process'}) already: remove one of the two"
                )
        except PluginError as error:
            self._fail(plugin, str(error))
        else:
            found[name] = (thing, plugin)

    def _load(self, plugin: Plugin) -> None:
        try:
            module = import_plugin(plugin)
        except _HARMFUL as error:
            self._fail(plugin, f"cannot be imported: {_told(error)}")
        else:
            self._register(plugin, module)

    def _register(self, plugin: Plugin, module: object) -> None:
        try:
            self._check_hooks(module)
            self._manager.register(module, name=plugin.id)
        except PluginError as error:
            self._fail(plugin, str(error))
        except pluggy.PluginValidationError as error:
            # Before 1.7 pluggy keeps what it had accepted of the plugin when it meets the fault.
            if self._manager.is_registered(module):
                self._manager.unregister(module)
            self._fail(plugin, f"breaks a hook's contract: {_told(error)}")
        except _HARMFUL as error:
            self._fail(plugin, f"cannot be registered: {_told(error)}")
        else:
            self._plugins[module] = plugin

    def _check_hooks(self, module: object) -> None:
        """Refuse hooks that do not exist (misspelt, or of a newer Turnout) and wrappers, which could alter the others'."""
        hooks = [name for name in vars(hookspecs) if name.startswith("turnout_")]
        for name in dir(module):
            options = self._manager.parse_hookimpl_opts(module, name)
            if options is None:
                continue
            hook = options.get("specname") or name
            if hook not in hooks and not options["optionalhook"]:
                near = difflib.get_close_matches(hook, hooks, n=1)
                advice = f"did you mean {near[0]!r}?" if near else "is it made for a newer Turnout?"
                raise PluginError(f"there is no hook {hook!r}: {advice}")
            if options["hookwrapper"] or options["wrapper"]:
                raise PluginError(f"{hook} is a wrapper: hooks register, they do not wrap each other")

    def _fail(self, plugin: Plugin, error: str) -> None:
        self._failures.append(PluginFailure(distribution=plugin.distribution, name=plugin.name, error=error))
        _log.debug("plugin %s failed: %s", plugin.id, error, exc_info=True)


def _harmless(implementation: pluggy.HookImpl, plugin: Plugin) -> Observer:
    def observe(execution: str, event: Event) -> None:
        given: Mapping[str, object] = {"execution": execution, "event": event}
        try:
            implementation.function(*(given[argument] for argument in implementation.argnames))
        except Exception:
            _log.exception("plugin %s: turnout_event raised", plugin.id)

    return observe


def _told(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
