"""The alerts service of a platform on one machine, made of the platform's parts; what `turnout alerts` works with."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Final

from turnout.config import Settings, line_of
from turnout.errors import SettingsError
from turnout.interfaces.notifier import Notifier
from turnout.interfaces.opening import Opening
from turnout.local.stores import Stores
from turnout.plugins import Registry
from turnout.plugins.contracts import Kind
from turnout.services.alerts.book import Book
from turnout.services.alerts.channels import Channels
from turnout.services.alerts.outbox import Outbox
from turnout.services.alerts.service import Alerts
from turnout.services.alerts.watch import ConnectionHealth, Sources, Watch
from turnout.services.connections import Connection, Connections, ConnectionState
from turnout.services.documents import Document
from turnout.services.submission import Instance

__all__ = ["Alerting"]

_BROKEN: Final = 10_000


class Alerting:
    """`instances` gives those that are active, `instance` one of a customer, `NotFound` if it is not. `SettingsError` names the file and line of a
    channel that is set up wrongly."""

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        stores: Stores,
        *,
        instances: Callable[[], AsyncIterator[Instance]],
        instance: Callable[[str, str], Awaitable[Instance]],
        connections: Connections,
        catch_up: Callable[[], Awaitable[None]],
    ) -> None:
        rules = settings.alerts.rules
        opening = Opening(directory=stores.directory, clock=stores.clock, secret=stores.references.resolve)

        def find(kind: str) -> type[Notifier]:
            found: type[Notifier] = registry.find(Kind.STORES, f"alerts:{kind}")
            return found

        self.rules = rules
        self.channels = Channels(settings.alerts.channels, find, opening)
        _check(self.channels, settings)
        self.outbox = Outbox(stores.catalog, self.channels, rules, stores.clock, project=settings.name)
        self.book = Book(stores.catalog, rules, self.outbox, stores.clock)
        sources = Sources(
            records=stores.records,
            queue=stores.queue,
            instances=instances,
            instance=instance,
            broken=lambda: _broken(connections),
            connection=lambda customer, name: _health(connections, customer, name),
            catch_up=catch_up,
        )
        watch = Watch(rules, self.book, sources, stores.clock)
        self.service = Alerts(rules, self.book, self.outbox, watch, self.channels)


async def _broken(connections: Connections) -> AsyncIterator[ConnectionHealth]:
    """The connections of all customers that are broken: the last to break, where more are than anybody can hear of at once."""
    for document in await connections.broken(_BROKEN):
        yield _health_of(document)


async def _health(connections: Connections, customer: str, name: str) -> ConnectionHealth:
    """One that is gone is not broken."""
    document = await connections.documents.get(name, tenant=customer)
    return ConnectionHealth(customer=customer, name=name) if document is None else _health_of(document)


def _health_of(document: Document[Connection]) -> ConnectionHealth:
    """One that nobody has connected yet is not broken: somebody knows."""
    connection = document.value
    broken = connection.reason or "it does not work" if connection.state is ConnectionState.BROKEN else ""
    return ConnectionHealth(customer=document.tenant, name=document.name, broken=broken)


def _check(channels: Channels, settings: Settings) -> None:
    try:
        channels.check()
    except SettingsError as error:
        if settings.file is None:
            raise
        lines = [f"{settings.file}:{_line(settings, line)}: {line}" for line in str(error).splitlines()]
        raise SettingsError("\n".join(lines), setting=error.setting) from None


def _line(settings: Settings, fault: str) -> int:
    """Of the setting that a fault begins with: in the environment's table if it stands there."""
    assert settings.file is not None
    setting = fault.partition(": ")[0]
    within = f"environments.{settings.environment}.{setting}"
    return max(_lines(settings, (setting, within) if settings.environment else (setting,)))


def _lines(settings: Settings, names: Iterable[str]) -> list[int]:
    assert settings.file is not None
    return [line_of(settings.file, name) for name in names]
