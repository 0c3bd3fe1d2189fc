"""Which addresses are public, and how an address is written. A table of our own.

Python's `ipaddress.is_global` is true of forms that lead to private addresses: NAT64, 6to4, `::127.0.0.1`. From the IANA
special-purpose address registries (RFC 6890 and its updates), AWS's metadata and task endpoints, and the transition
mechanisms that embed an IPv4 address.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from typing import Final

from turnout_ecs.egress.errors import Refused

__all__ = ["Address", "Network", "closed_for_good", "is_public", "literal", "within"]

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NEVER: Final = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",  # unspecified, "this network"
        "169.254.169.254/32",  # metadata of EC2, Google, Azure
        "169.254.170.0/23",  # credentials and metadata of ECS tasks and EKS pods: .170.2, .170.23, .171.…
        "168.63.129.16/32",  # Azure's wire server
        "100.100.100.200/32",  # Alibaba's metadata
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
        "::/96",  # unspecified, loopback (opened below), IPv4-compatible
        "::ffff:0:0/96",  # IPv4-mapped
        "::ffff:0:0:0/96",  # IPv4-translated (SIIT)
        "64:ff9b::/96",  # NAT64
        "64:ff9b:1::/48",  # NAT64 of the network's own
        "2001::/32",  # Teredo
        "2002::/16",  # 6to4
        "fd00:ec2::/32",  # AWS: metadata (::254), task credentials (::23), DNS, time
        "fd20:ce::254/128",  # Google's metadata
        "ff00::/8",  # multicast
    )
)
"""Nothing opens these: no web API is there, and some hand out the runner's own credentials."""

_SPECIAL: Final = tuple(
    ipaddress.ip_network(text)
    for text in (
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local
        "172.16.0.0/12",
        "192.0.0.0/24",  # IETF protocol assignments
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarking
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
    )
)
_GLOBAL_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
_SPECIAL_6: Final = tuple(
    ipaddress.IPv6Network(text)
    for text in (
        "2001::/23",  # IETF protocol assignments: Teredo, benchmarking, ORCHID
        "2001:db8::/32",  # documentation
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)
_ENDS_IN_A_NUMBER: Final = re.compile(r"(?:^|\.)(?:\d+|0x[0-9a-f]*)\Z", re.ASCII)
"""What URLs take for an IPv4 address (WHATWG URL, "ends in a number checker")."""
_LOOPBACK_6: Final = ipaddress.IPv6Address("::1")


def is_public(address: Address) -> bool:
    """Whether it is an ordinary address of the public internet."""
    if closed_for_good(address):
        return False
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _SPECIAL)
    return address in _GLOBAL_UNICAST and not _embeds_ipv4(address) and not any(address in net for net in _SPECIAL_6)


def closed_for_good(address: Address) -> bool:
    """Whether no list of hosts opens it."""
    if address == _LOOPBACK_6:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        return True
    return any(address in network for network in _NEVER)


def within(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)


def literal(host: str) -> Address | None:
    """The address that `host` is written as, if it is one. `Refused` for every other way to write one: with a zone, in
    decimal, hexadecimal or octal, with fewer than four parts: libraries disagree on what those mean."""
    if ":" in host:
        try:
            return ipaddress.IPv6Address(host)
        except ValueError:
            raise Refused("EINVAL", f"{host!r} is not a valid address") from None
    if not _ENDS_IN_A_NUMBER.search(host):
        return None
    try:
        return ipaddress.IPv4Address(host)
    except ValueError:
        raise Refused(
            "EINVAL", f"{host!r} is not a valid address: write IPv4 addresses as four decimal numbers"
        ) from None


def _embeds_ipv4(address: ipaddress.IPv6Address) -> bool:
    """ISATAP (RFC 5214): an interface identifier that says it holds an IPv4 address."""
    return (int(address) >> 32) & 0xFFFFFFFF in {0x00005EFE, 0x02005EFE}
