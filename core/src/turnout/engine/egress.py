"""What customers' code may reach, and the credentials that it may use without seeing them.

In the place of each secret of a connection the code gets a placeholder; the sandbox's broker puts the secret in its place in
requests to the connection's own hosts. Which hosts those are, a connector says; which others the code may reach, the definition.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import BaseModel, SecretStr
from pydantic_core import to_jsonable_python

from turnout.errors import ExpressionError, SettingsError, StepError
from turnout.expressions import Scope, compile_template
from turnout.interfaces.connector import ConnectionType
from turnout.interfaces.sandbox import Credential, Exchange
from turnout.model.definition import Integration
from turnout.model.hosts import host_of, host_pattern, is_address
from turnout.values import Value

__all__ = ["Reach", "Secrecy", "exchange_line", "hosts_of", "no_broker", "reach_of"]

_LONGEST_PATH: Final = 200

Placeholder = Callable[[str, str], str]
"""Of a connection and the field of a secret: unguessable, and the same for the whole execution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """`connections` is what the code sees of them, by name."""

    hosts: tuple[str, ...] = ()
    credentials: tuple[Credential, ...] = ()
    connections: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Secrecy:
    """Makes the placeholders of one execution."""

    key: bytes
    tenant: str
    execution: str

    def placeholder(self, connection: str, place: str) -> str:
        text = "\0".join(("placeholder", self.tenant, self.execution, connection, place))
        return f"turnout-secret-{hmac.digest(self.key, text.encode(), hashlib.sha256).hex()[:32]}"


def no_broker(names: tuple[str, ...], sandbox: str) -> str:
    """Why code must not be given these connections in `sandbox`, which has no broker."""
    listed = ", ".join(map(repr, names))
    return (
        f"it uses the credentials of {listed}, and {sandbox} has nothing that keeps them from the code: "
        'choose one that has a broker, `[runner] sandbox = "chroot"` of turnout-ecs, or use them in actions'
    )


def hosts_of(integration: Integration, config: Mapping[str, Any]) -> tuple[str, ...]:
    """The hosts that the definition lists, those out of the config of an instance among them. `SettingsError` if the config
    gives something that is not one host by name: what opens private addresses, or everything, is the author's to say."""
    found: dict[str, None] = {}
    for written in integration.code.hosts:
        if "${{" not in written:
            found[_listed(written)] = None
            continue
        for value in _values(written, config):
            found[_host_from_config(written, value)] = None
    return tuple(found)


def _listed(written: str) -> str:
    try:
        return host_pattern(written)
    except ValueError as error:
        raise _unfit(written, str(error)) from error


def _values(written: str, config: Mapping[str, Any]) -> Iterator[Any]:
    scope = Scope(roots={"config": Value(dict(config))}, now=0.0, unique=str)
    try:
        value = compile_template(written).render(scope).load()
    except ExpressionError as error:
        raise _unfit(written, error.reason or error.message) from error
    for item in value if isinstance(value, list) else [value]:
        if item not in (None, ""):
            yield item


def _host_from_config(written: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _unfit(written, "text is expected, or a list of texts")
    try:
        host = host_of(value)
    except ValueError as error:
        raise _unfit(written, str(error)) from error
    if is_address(host):
        raise _unfit(written, "it gives an address; addresses are listed in the definition itself")
    return host


def _unfit(written: str, why: str) -> SettingsError:
    return SettingsError(f"`code.hosts`: {written}: {why}", setting="code.hosts")


def reach_of(hosts: tuple[str, ...], used: Mapping[str, ConnectionType], placeholder: Placeholder) -> Reach:
    """What code that uses these connections reaches. `StepError` of kind `connection` if one has secrets and no hosts."""
    all_hosts = dict.fromkeys(hosts)
    credentials: list[Credential] = []
    connections: dict[str, Mapping[str, Any]] = {}
    for name, made in used.items():
        own = _hosts_of_connection(name, made)
        view = _View(name, made.secrets(), placeholder)
        connections[name] = view.fields(made, "")
        if view.secrets and not own:
            raise _unusable(name, "it says nowhere which host its credentials belong to: set the field with its URL")
        for place, secret in view.secrets.items():
            credentials.append(
                Credential(
                    placeholder=placeholder(name, place),
                    secret=secret,
                    hosts=own,
                    name=f"connection {name}, field {place}",
                )
            )
        # An address that a customer set may be anything in our network: the definition has to list it too.
        all_hosts |= dict.fromkeys(host for host in own if not is_address(host))
    return Reach(hosts=tuple(all_hosts), credentials=tuple(credentials), connections=connections)


def _hosts_of_connection(name: str, made: ConnectionType) -> tuple[str, ...]:
    try:
        hosts = tuple(host_pattern(host) for host in made.hosts())
    except Exception as error:  # a connector's bug; what it says may hold what nobody may see
        raise _unusable(name, f"its connector does not say which hosts it is for ({type(error).__name__})") from None
    if any(host.partition(":")[0] == "*" for host in hosts):
        raise _unusable(name, "its connector says that it is for any host")
    return hosts


def _unusable(name: str, why: str) -> StepError:
    return StepError(f"connection {name!r} cannot be used by code: {why}", kind="connection", retryable=False)


class _View:
    """A connection as code sees it. `secrets` are those that it was not given, by their place."""

    def __init__(self, name: str, known: tuple[str, ...], placeholder: Placeholder) -> None:
        self.secrets: dict[str, str] = {}
        self._name = name
        self._known = tuple(secret for secret in known if secret)
        self._placeholder = placeholder

    def fields(self, model: BaseModel, place: str) -> dict[str, Any]:
        return {
            info.alias or name: self._shown(getattr(model, name), _below(place, info.alias or name))
            for name, info in type(model).model_fields.items()
        }

    def _shown(self, value: Any, place: str) -> Any:
        match value:
            case SecretStr():
                return self._hidden(value.get_secret_value(), place)
            case BaseModel():
                return self.fields(value, place)
            case dict():
                return {str(key): self._shown(item, _below(place, str(key))) for key, item in value.items()}
            case list() | tuple():
                return [self._shown(item, _below(place, str(number))) for number, item in enumerate(value)]
            case _:
                plain = to_jsonable_python(value, fallback=lambda _: None)
        if isinstance(plain, str) and any(secret in plain for secret in self._known):
            return self._hidden(plain, place)
        return plain

    def _hidden(self, secret: str, place: str) -> str:
        if not secret:
            return ""
        self.secrets[place] = secret
        return self._placeholder(self._name, place)


def _below(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def exchange_line(exchange: Exchange) -> tuple[str, str]:
    """The level and text of a request's log line."""
    path = exchange.path if len(exchange.path) <= _LONGEST_PATH else f"{exchange.path[: _LONGEST_PATH - 1]}…"
    host = f"[{exchange.host}]" if ":" in exchange.host else exchange.host
    request = f"{exchange.method} {host}:{exchange.port}{path}".lstrip()  # one refused early has no method yet
    if exchange.status is None:
        return "warning", f"{request} refused: {exchange.refusal}" if exchange.refusal else f"{request}: no answer"
    size = _size(exchange.received_bytes)
    answer = f"{request} → {exchange.status}, {size}, {exchange.duration_s * 1000:.0f} ms"
    return ("warning", f"{answer}, broken off: {exchange.refusal}") if exchange.refusal else ("debug", answer)


def _size(count: int) -> str:
    if count < 1000:
        return f"{count} B"
    return f"{count / 1000:.1f} kB" if count < 1_000_000 else f"{count / 1_000_000:.1f} MB"
