"""What each kind of provided thing has to be. Imports an interface only when something of its kind is checked, so that
loading plugins stays quick. A check raises `PluginError` with what is wrong and what to do."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from enum import StrEnum

from turnout.errors import PluginError

__all__ = ["Kind", "check", "check_name"]


class Kind(StrEnum):
    """A kind of thing that plugins provide; the hook of each is `turnout_` and its value."""

    CONNECTORS = "connectors"
    CONNECTOR_SOURCES = "connector_sources"
    QUEUES = "queues"
    SANDBOXES = "sandboxes"
    STORES = "stores"
    TARGETS = "targets"
    SERVICES = "services"
    COMMANDS = "commands"

    @property
    def hook(self) -> str:
        return f"turnout_{self.value}"

    @property
    def singular(self) -> str:
        """What one of them is called in messages."""
        return "sandbox" if self is Kind.SANDBOXES else self.value.removesuffix("s").replace("_", " ")


def check(kind: Kind, name: object, thing: object) -> None:
    """Raise `PluginError` unless `thing` may be provided as `name`."""
    check_name(kind, name)
    _CHECKS[kind](str(name), thing)


def check_name(kind: Kind, name: object) -> None:
    """Names are non-empty text without spaces: they are written in settings, definitions and on the command line."""
    if not isinstance(name, str) or not name or name != "".join(name.split()):
        raise PluginError(f"{kind.hook} names something {name!r}: a name must be text without spaces")


def _connector(name: str, thing: object) -> None:
    from turnout.interfaces.connector import API_VERSION, Connector

    if not isinstance(thing, Connector):
        raise PluginError(f"connector {name!r} is {_described(thing)}, not a turnout.connectors.Connector object")
    if thing.name != name:
        raise PluginError(f"connector {name!r} calls itself {thing.name!r}: both names must be the same")
    if thing.api_version > API_VERSION:
        raise PluginError(
            f"connector {name!r} needs connector API {thing.api_version}, this Turnout has {API_VERSION}: upgrade turnout"
        )
    if thing.api_version < API_VERSION:
        raise PluginError(
            f"connector {name!r} was made for connector API {thing.api_version}, this Turnout has {API_VERSION}: "
            "upgrade the connector's distribution"
        )


def _connector_source(name: str, thing: object) -> None:
    from turnout.interfaces.connector_source import ConnectorSource

    _implements(f"connector source {name!r}", thing, ConnectorSource)


def _queue(name: str, thing: object) -> None:
    from turnout.interfaces.queue import Queue

    _implements(f"queue {name!r}", thing, Queue)


def _sandbox(name: str, thing: object) -> None:
    from turnout.interfaces.sandbox import Sandbox

    _implements(f"sandbox {name!r}", thing, Sandbox)


def _target(name: str, thing: object) -> None:
    from turnout.interfaces.target import Target

    _implements(f"target {name!r}", thing, Target)


def _service(name: str, thing: object) -> None:
    from turnout.interfaces.service import Service

    _implements(f"service {name!r}", thing, Service)
    if getattr(thing, "name", None) != name:
        raise PluginError(
            f"service {name!r} calls itself {getattr(thing, 'name', None)!r}: both names must be the same"
        )


def _store(name: str, thing: object) -> None:
    kind, separator, rest = name.partition(":")
    interfaces = _store_interfaces()
    if not separator or not rest or kind not in interfaces:
        raise PluginError(f"store {name!r}: its name must be KIND:NAME with a kind of {', '.join(interfaces)}")
    _implements(f"store {name!r}", thing, interfaces[kind])


def _store_interfaces() -> Mapping[str, type]:
    from turnout.interfaces.catalog import CatalogStore
    from turnout.interfaces.journal import Journal
    from turnout.interfaces.keys import KeyWrapper
    from turnout.interfaces.log_sink import LogSink
    from turnout.interfaces.metric_sink import MetricSink
    from turnout.interfaces.notifier import Notifier
    from turnout.interfaces.payloads import PayloadStore
    from turnout.interfaces.records import RecordStore
    from turnout.interfaces.secrets import SecretStore
    from turnout.interfaces.state import StateStore

    return {
        "catalog": CatalogStore,
        "journal": Journal,
        "records": RecordStore,
        "payloads": PayloadStore,
        "secrets": SecretStore,
        "state": StateStore,
        "keys": KeyWrapper,
        "alerts": Notifier,
        "logs": LogSink,
        "metrics": MetricSink,
    }


def _command(name: str, thing: object) -> None:
    import click

    if not isinstance(thing, click.Command):
        raise PluginError(f"command {name!r} is {_described(thing)}, not a click.Command")


def _implements(what: str, thing: object, interface: type) -> None:
    expected = f"{interface.__module__}.{interface.__name__}"
    if not isinstance(thing, type):
        raise PluginError(f"{what} is {_described(thing)}: the hook must return classes, implementing {expected}")
    if not issubclass(thing, interface):
        raise PluginError(f"{what}: {thing.__qualname__} does not inherit from {expected}")
    if inspect.isabstract(thing):
        missing = ", ".join(sorted(name for name in dir(thing) if _is_abstract(thing, name)))
        raise PluginError(f"{what}: {thing.__qualname__} does not implement {missing}")


def _is_abstract(thing: type, name: str) -> bool:
    return bool(getattr(inspect.getattr_static(thing, name), "__isabstractmethod__", False))


def _described(thing: object) -> str:
    return f"the class {thing.__qualname__}" if isinstance(thing, type) else f"of type {type(thing).__name__}"


_CHECKS: Mapping[Kind, Callable[[str, object], None]] = {
    Kind.CONNECTORS: _connector,
    Kind.CONNECTOR_SOURCES: _connector_source,
    Kind.QUEUES: _queue,
    Kind.SANDBOXES: _sandbox,
    Kind.STORES: _store,
    Kind.TARGETS: _target,
    Kind.SERVICES: _service,
    Kind.COMMANDS: _command,
}
