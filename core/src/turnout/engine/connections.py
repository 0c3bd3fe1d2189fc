"""Making a connection out of an instance's settings: references resolved, fields checked, nothing shown."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from pydantic import ValidationError

from turnout.engine.backends import InstanceSettings
from turnout.errors import NotFound, SettingsError, StepError
from turnout.interfaces.connector import ConnectionType, Connector
from turnout.interfaces.secrets import Secret
from turnout.model.definition import Integration

__all__ = ["connect", "connection_type"]


def connection_type(integration: Integration, connectors: Mapping[str, Connector], slot: str) -> type[ConnectionType]:
    """The connection type that a slot of the definition asks for. `SettingsError` if it must be said and is not."""
    declared = integration.connections[slot]
    types = connectors[declared.connector].connections
    name = declared.type or (next(iter(types)) if len(types) == 1 else "")
    if name not in types:
        raise SettingsError(
            f"connection {slot!r}: say its `type` in the definition, one of {', '.join(types)}", setting=slot
        )
    return types[name]


async def connect(
    integration: Integration,
    connectors: Mapping[str, Connector],
    settings: InstanceSettings,
    secret: Callable[[str], Awaitable[Secret]],
    slot: str,
) -> ConnectionType:
    """The connection. `StepError` of kind `connection` says what is missing and never what is there."""
    written = settings.connections.get(slot)
    if written is None:
        raise _broken(slot, "the instance has no values for it; give them with --connections")
    try:
        fields = connection_type(integration, connectors, slot)
        return fields.model_validate({name: await _resolved(value, secret) for name, value in written.items()})
    except (NotFound, SettingsError) as error:
        raise _broken(slot, str(error)) from error
    except ValidationError as error:
        # The values of a connection are secret: neither pydantic's text nor its inputs may be shown.
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise _broken(slot, faults) from None


async def _resolved(value: Any, secret: Callable[[str], Awaitable[Secret]]) -> Any:
    return (await secret(value)).reveal() if isinstance(value, str) else value


def _broken(slot: str, why: str) -> StepError:
    return StepError(f"connection {slot!r} cannot be used: {why}", kind="connection", retryable=False)
