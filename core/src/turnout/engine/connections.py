"""Making a connection out of an instance's settings: references resolved, fields checked, nothing shown."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from pydantic import ValidationError

from turnout.definition.nearest import hint_for
from turnout.errors import NotFound, SettingsError, StepError
from turnout.interfaces.connector import ConnectionType, Connector
from turnout.interfaces.oauth import OAuth2
from turnout.interfaces.secrets import Secret
from turnout.masking import Mask
from turnout.model.definition import ActionStep, CallStep, CodeStep, Integration, walk

__all__ = ["connect", "connection_type", "field_faults", "resolved_connection", "slots_used", "type_named"]


def connection_type(
    integration: Integration,
    connectors: Mapping[str, Connector],
    slot: str,
    written: Mapping[str, Any] | None = None,
) -> type[ConnectionType]:
    """The connection type of a slot: what the definition says, or `type` among the values `written` for it, or the only
    one of the connector that these values fit. `SettingsError` if it must be said and is not."""
    declared = integration.connections[slot]
    types = connectors[declared.connector].connections
    values = dict(written or {})
    said = str(values.pop("type", "")) if _says_type(types, values) else ""
    if declared.type and said not in ("", declared.type):
        raise SettingsError(
            f"connection {slot!r}: its values say type {said!r}, the definition says {declared.type!r}", setting=slot
        )
    return types[type_named(slot, types, declared.type or said, values)]


def type_named(slot: str, types: Mapping[str, type[ConnectionType]], name: str, values: Mapping[str, Any]) -> str:
    """The name of a connection's type: `name`, or where that is empty the only one, or the only one that the values fit.
    Of several, those that customers connect have to be named: nobody writes their tokens. `SettingsError` if there is none."""
    fitting = [name] if name else [other for other, kind in types.items() if _fits(kind, values)]
    written = [other for other, kind in types.items() if not issubclass(kind, OAuth2)] or list(types)
    if not name and len(fitting) > 1:
        fitting = [other for other in fitting if other in written]
    elif not name and not fitting and len(written) == 1:
        fitting = written
    if len(fitting) != 1 or fitting[0] not in types:
        wanted = f"there is no type {name!r}" if name else "say its `type`"
        raise SettingsError(f"connection {slot!r}: {wanted} in the definition, one of {', '.join(types)}", setting=slot)
    return fitting[0]


def field_faults(kind: type[ConnectionType], values: Mapping[str, Any], unknown: frozenset[str]) -> list[str]:
    """What is wrong with a connection's values, without any of them. Those of the fields `unknown` are not known yet."""
    try:
        kind.model_validate(dict(values))
    except ValidationError as error:
        faults = [fault for fault in error.errors() if not unknown.intersection(map(str, fault["loc"]))]
        mask = Mask(tuple(value for value in values.values() if isinstance(value, str) and value))
        # A check of the whole connection may have failed for what is not known yet.
        return [mask.text(_fault(fault, kind)) for fault in faults if fault["loc"] or not unknown]
    return []


def slots_used(integration: Integration, flow: str) -> tuple[str, ...]:
    """The connections that a flow, or one that it calls, may use."""
    used: dict[str, None] = {}
    waiting, seen = [flow], {flow}
    while waiting:
        for step in walk(integration.flows[waiting.pop()].steps):
            if isinstance(step, ActionStep) and step.connection:
                used[step.connection] = None
            if isinstance(step, CodeStep):
                used.update(dict.fromkeys(step.connections))
            if isinstance(step, CallStep) and step.flow not in seen:
                seen.add(step.flow)
                waiting.append(step.flow)
    return tuple(used)


async def connect(
    integration: Integration,
    connectors: Mapping[str, Connector],
    secret: Callable[[str], Awaitable[Secret]],
    slot: str,
    written: Mapping[str, Any] | None,
) -> ConnectionType:
    """The connection whose fields are `written`. `StepError` of kind `connection` says what is missing and never what is there."""
    try:
        fields = connection_type(integration, connectors, slot, written)
        if written is None and (needed := _required(fields)):
            raise _broken(slot, f"it has no values and needs {_listed(needed)}; give them with --connections")
    except (NotFound, SettingsError) as error:
        raise _broken(slot, str(error)) from error
    return await resolved_connection(slot, fields, secret, written)


async def resolved_connection(
    name: str,
    fields: type[ConnectionType],
    secret: Callable[[str], Awaitable[Secret]],
    written: Mapping[str, Any] | None,
) -> ConnectionType:
    """The connection of that type. `StepError` as `connect`."""
    try:
        values = {field: item for field, item in (written or {}).items() if field in _names(fields) or field != "type"}
        resolved = {field: await _resolved(value, secret) for field, value in values.items()}
    except (NotFound, SettingsError) as error:
        raise _broken(name, str(error)) from error
    try:
        made = fields.model_validate(resolved)
    except ValidationError as error:
        # The values of a connection are secret: neither pydantic's text nor its inputs may be shown, nor what a
        # connector's own check says of them.
        faults = "; ".join(_fault(fault, fields) for fault in error.errors())
        shown = Mask(tuple(value for value in resolved.values() if isinstance(value, str) and value)).text(faults)
        raise _broken(name, shown) from None
    if isinstance(made, OAuth2) and not made.access_token.get_secret_value():
        raise _broken(name, "OAuth 2.0 has no token for values in a file: keep it with `turnout connections create`")
    return made


def _fault(fault: Mapping[str, Any], fields: type[ConnectionType]) -> str:
    name = ".".join(map(str, fault["loc"]))
    match fault["type"]:
        case "missing":
            return f"it needs {name!r}"
        case "extra_forbidden":
            hint = hint_for(name, _names(fields))
            return f"it has no field {name!r}" + (f" ({hint})" if hint else "")
        case _:
            return f"{name}: {fault['msg']}"


def _says_type(types: Mapping[str, type[ConnectionType]], values: Mapping[str, Any]) -> bool:
    """Whether `type` among the values is the connection type, not a field of one."""
    return "type" in values and not any("type" in _names(kind) for kind in types.values())


def _fits(kind: type[ConnectionType], values: Mapping[str, Any]) -> bool:
    return set(_required(kind)) <= set(values) <= set(_names(kind))


def _names(kind: type[ConnectionType]) -> tuple[str, ...]:
    return tuple(field.alias or name for name, field in kind.model_fields.items())


def _required(kind: type[ConnectionType]) -> tuple[str, ...]:
    return tuple(field.alias or name for name, field in kind.model_fields.items() if field.is_required())


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


async def _resolved(value: Any, secret: Callable[[str], Awaitable[Secret]]) -> Any:
    """A `Secret` is what it is, whatever it looks like: a provider's token is no reference of ours."""
    if isinstance(value, Secret):
        return value.reveal()
    return (await secret(value)).reveal() if isinstance(value, str) else value


def _broken(slot: str, why: str) -> StepError:
    return StepError(f"connection {slot!r} cannot be used: {why}", kind="connection", retryable=False)
