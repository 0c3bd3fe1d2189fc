"""Actions, triggers and connections against what the installed connectors offer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from turnout.definition.expressions_in import texts
from turnout.definition.nearest import hint_for
from turnout.definition.places import Places, Way
from turnout.errors import Problem
from turnout.interfaces.connector import Connector, Trigger
from turnout.interfaces.polling import PollingTrigger
from turnout.model.definition import LIFECYCLE, ActionStep, CodeStep, ConnectionSlot, Flow, Integration, Position, walk

__all__ = ["ActionChecks"]

_BUILT_IN = ("webhook", "schedule", "call", *LIFECYCLE)


@dataclass(frozen=True, slots=True)
class _Place:
    """Who has the problem, and where: the mapping that stands at `below`, and ways from there."""

    who: str
    below: Position | Flow | None
    ways: tuple[Way, ...] = ((),)

    def at(self, *ways: Way) -> _Place:
        return _Place(self.who, self.below, ways)


class ActionChecks:
    """Checks one integration against connectors by name."""

    def __init__(self, integration: Integration, connectors: Mapping[str, Connector], places: Places) -> None:
        self._integration = integration
        self._connectors = connectors
        self._places = places

    def check(self, flow: Flow) -> Iterator[Problem]:
        """The problems of a flow's trigger and actions."""
        yield from self._trigger(flow)
        for step in walk(flow.steps):
            if isinstance(step, ActionStep):
                yield from self._action(step)
            elif isinstance(step, CodeStep):
                yield from self._code(step)

    def connections(self) -> Iterator[Problem]:
        """The problems of the connections themselves: of unknown connectors or types, or used by nothing."""
        used = {flow.trigger.connection for flow in self._integration.flows.values()}
        for flow in self._integration.flows.values():
            used |= {step.connection for step in walk(flow.steps) if isinstance(step, ActionStep)}
            used |= {name for step in walk(flow.steps) if isinstance(step, CodeStep) for name in step.connections}
        for name, slot in self._integration.connections.items():
            yield from self._slot(name, slot)
            if name not in used:
                yield self._places.problem(
                    f"connection {name!r} is used by no step",
                    ways=(("connections", name),),
                    at_key=True,
                    hint="remove it, or name it in the `connection` of an action or the `connections` of a code step",
                )

    def _slot(self, name: str, slot: ConnectionSlot) -> Iterator[Problem]:
        place = _Place(f"connection {name!r}", None, (("connections", name, "connector"), ("connections", name)))
        connector = self._connectors.get(slot.connector)
        if connector is None:
            yield self._no_connector(slot.connector, place)
        elif not connector.connections:
            yield self._problem(place, f"{slot.connector} takes no connection")
        elif slot.type and slot.type not in connector.connections:
            yield self._problem(
                place.at(("connections", name, "type"), *place.ways),
                f"{slot.connector} has no connection type {slot.type!r}",
                hint_for(slot.type, connector.connections),
            )

    def _problem(self, place: _Place, message: str, hint: str = "", *, at_key: bool = False) -> Problem:
        text = f"{place.who}: {message}"
        return self._places.problem(text, below=place.below, ways=place.ways, hint=hint, at_key=at_key)

    def _no_connector(self, name: str, place: _Place) -> Problem:
        hint = hint_for(name, self._connectors, there_are="installed are")
        return self._problem(
            place, f"there is no connector {name!r}", hint or "`turnout plugins` lists what is installed"
        )

    def _trigger(self, flow: Flow) -> Iterator[Problem]:
        trigger = flow.trigger
        if trigger.type in _BUILT_IN:
            return
        place = _Place(f"flow {flow.name!r}", flow, (("trigger",),))
        name, _, short = trigger.type.partition(".")
        connector = self._connectors.get(name)
        if connector is None:
            yield self._no_connector(name, place)
            return
        triggers: dict[str, Trigger | PollingTrigger] = {**connector.triggers, **connector.polls}
        found = triggers.get(short)
        if found is None:
            hint = hint_for(short, triggers) or f"{name} has no triggers"
            yield self._problem(place, f"{name} has no trigger {short!r}", hint)
            return
        yield from self._polled(flow, short in connector.polls, place)
        connection = place.at(("trigger", trigger.type, "connection"), ("trigger", "connection"), ("trigger",))
        yield from self._connection(trigger.connection, connector, connection)
        inputs = place.at(("trigger", trigger.type, "with"), ("trigger", "with"), ("trigger",))
        yield from self._inputs(found.inputs, trigger.options, trigger.type, inputs)

    def _polled(self, flow: Flow, polled: bool, place: _Place) -> Iterator[Problem]:
        trigger = flow.trigger
        at = place.at(("trigger", trigger.type, "every"), ("trigger", "every"), ("trigger",))
        if polled and trigger.every_s is None:
            yield self._problem(at, f"{trigger.type} is polled: say how often", "`every: 5m`")
        elif polled and trigger.every_s is not None and trigger.every_s < 1:
            yield self._problem(at, "`every` must be a second or longer")
        elif not polled and trigger.every_s is not None:
            yield self._problem(at, f"{trigger.type} is started by requests: it has no `every`")

    def _action(self, step: ActionStep) -> Iterator[Problem]:
        place = _Place(f"step {step.id!r}", step.position, (("action",),))
        connector = self._connectors.get(step.connector)
        if connector is None:
            yield self._no_connector(step.connector, place)
            return
        name = step.action.partition(".")[2]
        action = connector.actions.get(name)
        if action is None:
            hint = hint_for(name, connector.actions)
            yield self._problem(place, f"{connector.name} has no action {name!r}", hint)
            return
        yield from self._connection(step.connection, connector, place.at(("connection",), ("action",)))
        yield from self._inputs(action.inputs, step.inputs, step.action, place.at(("with",), ("action",)))

    def _code(self, step: CodeStep) -> Iterator[Problem]:
        slots = self._integration.connections
        for number, name in enumerate(step.connections):
            place = _Place(f"step {step.id!r}", step.position, (("connections", number), ("connections",), ("code",)))
            if name not in slots:
                yield self._problem(place, f"there is no connection {name!r}", hint_for(name, slots))
            elif name in step.connections[:number]:
                yield self._problem(place, f"it names the connection {name!r} twice")

    def _connection(self, name: str, connector: Connector, place: _Place) -> Iterator[Problem]:
        slots = self._integration.connections
        fitting = [other for other, slot in slots.items() if slot.connector == connector.name]
        if not name:
            if connector.connections and connector.connection_required:
                hint = hint_for("", fitting, there_are="write `connection:` with one of")
                declare = f"declare one under `connections` with `connector: {connector.name}`"
                yield self._problem(place, f"{connector.name} needs a connection", hint or declare)
        elif name not in slots:
            yield self._problem(place, f"there is no connection {name!r}", hint_for(name, fitting or slots))
        elif slots[name].connector != connector.name:
            message = f"connection {name!r} is for {slots[name].connector}, not for {connector.name}"
            yield self._problem(place, message, hint_for("", fitting))

    def _inputs(self, model: type[BaseModel], inputs: Any, of: str, place: _Place) -> Iterator[Problem]:
        """Names and literal values of inputs. What an expression will give is not known: its input's value passes."""
        if isinstance(inputs, str) and "${{" in inputs:
            return
        if not isinstance(inputs, Mapping):
            yield self._problem(place, f"the inputs of {of} are a mapping by name")
            return
        dynamic = {name for name, value in inputs.items() if any(texts(value, ((),)))}
        for location, kind, message in _faults(model, dict(inputs), dynamic):
            ways = place.ways[:-1]
            deeper = (*((*way, *location) for way in ways), *((*way, *location[:1]) for way in ways))
            name = ".".join(str(part) for part in location)
            if kind == "missing":
                yield self._problem(place, f"{of} needs the input {name!r}", at_key=True)
            elif kind == "extra_forbidden":
                hint = hint_for(name, _input_names(model)) if len(location) == 1 else ""
                yield self._problem(place.at(*deeper, *place.ways), f"{of} has no input {name!r}", hint, at_key=True)
            else:
                what = f"input {name!r} of {of}" if name else f"the inputs of {of}"
                yield self._problem(place.at(*deeper, *place.ways), f"{what}: {message}")


def _faults(model: type[BaseModel], inputs: dict[str, Any], dynamic: set[str]) -> Iterator[tuple[Way, str, str]]:
    """What the model says about the inputs, less what it cannot know where values come from expressions."""
    try:
        model.model_validate(inputs)
    except ValidationError as error:
        for item in error.errors(include_url=False, include_context=False, include_input=False):
            location, kind = item["loc"], item["type"]
            known = kind == "extra_forbidden" and len(location) == 1
            if not known and (location[0] in dynamic if location else dynamic):
                continue
            yield location, kind, item["msg"].removeprefix("Value error, ")
    except Exception as error:
        # A connector's own validator, which may not have expected text with an expression in it.
        if not dynamic:
            yield (), "", f"they cannot be checked: {type(error).__name__}: {error}"


def _input_names(model: type[BaseModel]) -> list[str]:
    return [item.alias or name for name, item in model.model_fields.items()]
