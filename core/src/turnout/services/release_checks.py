"""Whether a version can be deployed with what a customer has: all that is missing is found before anything changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from turnout.definition.nearest import hint_for
from turnout.definition.schedules import schedules_of
from turnout.definition.settings import resolved_or_wrong
from turnout.engine.backends import Bundle
from turnout.engine.egress import hosts_of
from turnout.errors import SettingsError
from turnout.model.definition import ConnectionSlot, Integration
from turnout.services.connections import Connection, Connections, ConnectionState

__all__ = ["Checked", "Given", "check_release"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What an instance is to run with: config values as they were given, and connections of the customer by slot. `kept`
    are those of both that it had before, and that the version may know nothing of."""

    config: Mapping[str, Any] = field(default_factory=dict, repr=False)
    connections: Mapping[str, str] = field(default_factory=dict)
    kept: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """The outcome: with `problems` it cannot be deployed; `notes` are for people. `config` is resolved, `given` names what is no
    default."""

    config: Mapping[str, Any] = field(repr=False)
    given: tuple[str, ...]
    connections: Mapping[str, str]
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def require(self, what: str) -> None:
        """`SettingsError` with everything that is wrong, a line each."""
        if self.problems:
            lines = "".join(f"\n  {problem}" for problem in self.problems)
            raise SettingsError(f"{what}; nothing was changed:{lines}", faults=self.problems)


async def check_release(bundle: Bundle, customer: str, given: Given, connections: Connections) -> Checked:
    """Config values and connections against what the version declares."""
    integration = bundle.integration
    notes = [
        f"{name!r} is not of this version any more: what it was is kept for going back"
        for name in sorted(given.kept)
        if name not in integration.config and name not in integration.connections
    ]
    values = {
        name: value for name, value in given.config.items() if name in integration.config or name not in given.kept
    }
    config, wrong = resolved_or_wrong(integration, values)
    problems = list(wrong.values())
    if not wrong:
        try:
            hosts_of(integration, config)
            schedules_of(integration, config)
        except SettingsError as error:
            problems.append(str(error))
    chosen = await _chosen(integration, customer, given, connections, (problems, notes))
    return Checked(
        config=config,
        given=tuple(sorted(name for name in values if name in integration.config)),
        connections=chosen,
        problems=tuple(problems),
        notes=tuple(notes),
    )


async def _chosen(
    integration: Integration,
    customer: str,
    given: Given,
    connections: Connections,
    said: tuple[list[str], list[str]],
) -> dict[str, str]:
    """The connection of each slot: the one that is named, or the one that is called like the slot."""
    problems, notes = said
    for slot in given.connections:
        if slot not in integration.connections and slot not in given.kept:
            hint = hint_for(slot, integration.connections)
            problems.append(f"{slot!r} is no connection of {integration.name!r}" + (f" ({hint})" if hint else ""))
    known = {name: connection async for name, connection in connections.all(customer)}
    chosen = {}
    for slot, declared in integration.connections.items():
        name = given.connections.get(slot, slot)
        found = known.get(name)
        if found is None:
            problems.append(_missing(declared, customer, given.connections.get(slot), known))
        elif fault := _unfit(declared, name, found):
            problems.append(fault)
        else:
            chosen[slot] = name
            if found.state is not ConnectionState.OK:
                reason = f": {found.reason}" if found.reason else ""
                notes.append(f"connection {name!r} is {found.state.value}{reason}")
    return chosen


def _missing(slot: ConnectionSlot, customer: str, named: str | None, known: Mapping[str, Connection]) -> str:
    kind = f"{slot.connector}{f'.{slot.type}' if slot.type else ''}"
    fitting = [name for name, connection in known.items() if not _unfit(slot, name, connection)]
    if named is not None:
        hint = hint_for(named, known)
        return f"connection {slot.name!r}: customer {customer!r} has no connection {named!r}" + (
            f" ({hint})" if hint else ""
        )
    others = f"name one of {', '.join(fitting)}, or make one" if fitting else "make one"
    return f"connection {slot.name!r} is not set: {others} of connector {kind}"


def _unfit(slot: ConnectionSlot, name: str, found: Connection) -> str:
    if found.connector == slot.connector and slot.type in ("", found.type):
        return ""
    wanted = f"{slot.connector}.{slot.type}" if slot.type else slot.connector
    return f"connection {slot.name!r} must be of {wanted}; {name!r} is of {found.connector}.{found.type}"
