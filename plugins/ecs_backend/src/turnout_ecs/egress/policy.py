"""Which hosts a job may reach: its list, checked before any name is resolved, and the addresses that names resolve to."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from turnout.errors import UserError

from turnout_ecs.egress.addresses import Address, Network, closed_for_good, is_public, literal, within
from turnout_ecs.egress.errors import Refused

__all__ = ["HostPattern", "Policy", "host_name"]

_WEB_PORTS: Final = frozenset({80, 443})
_LABEL: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", re.ASCII)
_PATTERN: Final = re.compile(
    r"(?:\[(?P<six>[0-9a-fA-F:.]+(?:/\d{1,3})?)\]|(?P<name>[^:\[\]]+))(?::(?P<port>\d{1,5}))?", re.ASCII
)


def host_name(text: str) -> str:
    """A host as it is compared: lower case, no dot at its end, IPv6 without brackets and as short as it goes.

    `Refused` for what is no host name or address: user information, zones, paths, blanks, names not in ASCII.
    """
    host = text.lower()
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if ":" not in host:
            raise Refused("EINVAL", f"{text!r} is not a host name")
    elif host.endswith("."):
        host = host[:-1]
    if not host or len(host) > 253 or "%" in host:
        raise Refused("EINVAL", f"{text[:300]!r} is not a host name")
    if not host.isascii():
        raise Refused("EINVAL", f"{text!r}: write host names in ASCII (xn--…), as a URL object does")
    address = literal(host)
    if address is not None:
        return str(address)
    if not all(_LABEL.fullmatch(label) for label in host.split(".")):
        raise Refused("EINVAL", f"{text!r} is not a host name")
    return host


@dataclass(frozen=True, slots=True)
class HostPattern:
    """One entry of a list of hosts. `name` is `*`, `*.example.com` or `example.com`; or else `network` is there."""

    text: str
    name: str
    network: Network | None
    ports: frozenset[int]

    @classmethod
    def parse(cls, text: str) -> HostPattern:
        """`UserError` says what is wrong with it."""
        found = _PATTERN.fullmatch(text)
        if found is None:
            found = re.fullmatch(
                r"(?P<six>[0-9a-fA-F:.]+(?:/\d{1,3})?)(?P<name>)(?P<port>)", text
            )  # IPv6 without brackets
        if found is None:
            raise _wrong(text)
        port = int(found["port"]) if found["port"] else 0
        if found["port"] and not 0 < port < 65536:
            raise _wrong(text)
        name, network = _name_or_network(text, found["six"] or found["name"])
        return cls(text, name, network, frozenset({port}) if port else _WEB_PORTS)

    def matches(self, host: str, port: int, address: Address | None) -> bool:
        """`host` as `host_name` gives it; `address` where that is one."""
        if port not in self.ports:
            return False
        if address is not None:
            return (self.name == "*" and is_public(address)) or (self.network is not None and address in self.network)
        if self.name.startswith("*."):
            return host.endswith(self.name[1:])
        return self.name in {"*", host}


class Policy:
    """A job's list of hosts. `openable`: the networks whose special addresses the list may open, which is the operator's say."""

    __slots__ = ("_openable", "_patterns")

    def __init__(self, hosts: Iterable[str], openable: Sequence[str]) -> None:
        self._patterns = tuple(HostPattern.parse(host) for host in hosts)
        self._openable: tuple[Network, ...] = tuple(ipaddress.ip_network(network) for network in openable)

    def permits(self, host: str, port: int) -> bool:
        """Whether the list has this host and port. `host` as `host_name` gives it."""
        address = literal(host)
        return any(pattern.matches(host, port, address) for pattern in self._patterns)

    def check(self, host: str, port: int) -> None:
        """`Refused` for a host that is not listed; no name has been resolved then."""
        if self.permits(host, port):
            address = literal(host)
            if address is not None:
                self.check_address(host, port, address)
            return
        shown = f"[{host}]" if ":" in host else host
        if port not in _WEB_PORTS:
            shown += f":{port}"
        raise Refused(
            "EACCES", f"{shown} is not among this integration's hosts: add it to `code: {{hosts: [{shown}]}}`"
        )

    def check_address(self, host: str, port: int, address: Address) -> None:
        """`Refused` for an address that is not public, unless it is listed itself and may be."""
        if is_public(address):
            return
        listed = any(pattern.network is not None and pattern.matches("", port, address) for pattern in self._patterns)
        if closed_for_good(address) or (listed and not within(address, self._openable)):
            raise Refused(
                "EACCES", f"{_named(host, address)} is not a public address; this runner does not let code reach it"
            )
        if not listed:
            entry = (f"[{address}]" if address.version == 6 else f"{address}") + (
                "" if port in _WEB_PORTS else f":{port}"
            )
            raise Refused(
                "EACCES",
                f"{_named(host, address)} is not a public address: "
                f"it is reached only where `code: {{hosts: [{entry}]}}` or a network with it is listed too",
            )


def _named(host: str, address: Address) -> str:
    return host if host == str(address) else f"{host} has the address {address}, which"


def _name_or_network(text: str, value: str) -> tuple[str, Network | None]:
    try:
        if "/" in value or ":" in value:
            return "", ipaddress.ip_network(value)
        name = "*" if value == "*" else host_name(value.removeprefix("*."))
        address = None if name == "*" else literal(name)
    except (Refused, ValueError) as error:
        raise _wrong(text, f": {error}") from None
    if address is not None:
        if value.startswith("*."):
            raise _wrong(text)
        return "", ipaddress.ip_network(address)
    return (f"*.{name}" if value.startswith("*.") else name), None


def _wrong(text: str, why: str = "") -> UserError:
    return UserError(
        f"{text!r} is no host{why}. Write example.com, *.example.com, example.com:8443, 10.1.2.3, 10.1.0.0/16, [fd00::1]:8443 or *"
    )
