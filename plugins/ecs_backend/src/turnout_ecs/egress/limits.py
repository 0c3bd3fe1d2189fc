"""How much one sandboxed process may take of the network, and of the supervisor's memory for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["PRIVATE_NETWORKS", "EgressLimits"]

PRIVATE_NETWORKS: Final = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressLimits:
    """Of one broker. Times in seconds, sizes in bytes.

    `openable` is the operator's: the networks in which an integration that lists an address reaches it. What is outside
    of them stays closed however it is listed: by default loopback and link-local addresses, as they are the runner's own.
    """

    connect_s: float = 10.0
    first_byte_s: float = 120.0
    idle_s: float = 60.0
    """Between two pieces of a body, either way."""
    total_s: float = 900.0
    keep_idle_s: float = 4.0
    """How long a connection to a server is kept for the next request; below what servers commonly keep theirs."""
    request_bytes: int = 1024 * 1024 * 1024
    response_bytes: int = 1024 * 1024 * 1024
    header_bytes: int = 64 * 1024
    headers: int = 200
    requests: int = 10_000
    """Of one job, refused ones too."""
    streams: int = 128
    """Connections that the code sees; they cost a task and at most `WINDOW_BYTES` each way."""
    connections: int = 32
    """Requests under way at a time, each with a connection to a server; further ones wait."""
    rewritten_bytes: int = 1024 * 1024
    """The largest body of a stated length in which placeholders are replaced: it is gathered, as its length changes."""
    openable: tuple[str, ...] = PRIVATE_NETWORKS
