"""Hosts as definitions list them: what a pattern is, and the host of a URL that a customer set.

A pattern is `api.example.com`, `*.example.com`, `*`, an IP address or a network; all but an IPv6 address without brackets may
end in a port. Addresses in any other form (decimal, hexadecimal, short) are none: programs disagree on what those mean.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final
from urllib.parse import urlsplit

__all__ = ["HOST_FORMS", "host_of", "host_pattern", "is_address"]

HOST_FORMS: Final = "api.example.com, *.example.com, example.com:8443, 10.1.2.3, 10.1.0.0/16, [fd00::1]:8443 or *"

_LABEL: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", re.ASCII)
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
_PARTS: Final = re.compile(r"(?:\[(?P<six>[^\[\]]+)\]|(?P<name>[^:\[\]]+))(?::(?P<port>[0-9]{1,5}))?", re.ASCII)


def host_pattern(text: str) -> str:
    """The pattern in its usual form, in lower case. `ValueError` says what is wrong with it."""
    lowered = text.lower()
    if "://" in lowered or "@" in lowered:
        raise ValueError("a URL is not a host: write the host alone")
    if lowered.count(":") > 1 and "[" not in lowered:
        return str(_network(lowered))
    parts = _PARTS.fullmatch(lowered)
    if parts is None:
        raise ValueError("it is not a host")
    port = f":{int(parts['port'])}" if parts["port"] else ""
    if parts["port"] and not 0 < int(parts["port"]) < 65536:
        raise ValueError("a port is from 1 to 65535")
    if parts["six"]:
        if ":" not in parts["six"]:
            raise ValueError("brackets are for IPv6 addresses")
        return f"[{_network(parts['six'])}]{port}"
    name = parts["name"]
    if "/" in name or _NUMBER.fullmatch(name.rpartition(".")[2]):
        return f"{_network(name)}{port}"
    if name != "*":
        _check_name(name.removeprefix("*."))
    return name + port


def host_of(value: str) -> str:
    """The host, with its port where it names one, of a URL or of a host by itself: one name or address, no wildcard and no
    network. `ValueError` says why there is none; it never has the value, which may hold a secret."""
    text = value.strip()
    if "://" in text:
        text = _authority(text)
    try:
        host = host_pattern(text)
    except ValueError:
        raise ValueError("it is neither a host nor a URL with one") from None
    if "*" in host or "/" in host:
        raise ValueError("one host is expected")
    return host


def is_address(host: str) -> bool:
    """Whether a pattern is an address or a network, not a name."""
    return host[0] == "[" or host.count(":") > 1 or "/" in host or host.partition(":")[0].rpartition(".")[2].isdigit()


def _authority(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or parts.scheme not in ("http", "https"):
        raise ValueError("it is neither a host nor a URL with one")
    return (f"[{host}]" if ":" in host else host) + ("" if port is None else f":{port}")


def _network(text: str) -> str:
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        raise ValueError("it is not an IP address or network as it is usually written") from None
    if "%" in text:
        raise ValueError("an address with a zone is not reachable from elsewhere")
    return str(network) if "/" in text else str(network.network_address)


def _check_name(name: str) -> None:
    if not name.isascii():
        raise ValueError("a host's name is written in ASCII (xn--…)")
    if "*" in name:
        raise ValueError("a * stands for all names below a host, at the beginning alone: *.example.com")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise ValueError("it is not a host's name")
