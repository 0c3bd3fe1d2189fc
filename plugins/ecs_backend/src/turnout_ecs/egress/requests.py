"""What a request of the process must be like, and what becomes of its head on the way to the server and back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

import h11

from turnout_ecs.egress.credentials import Headers, Swap
from turnout_ecs.egress.errors import Refused
from turnout_ecs.egress.limits import EgressLimits
from turnout_ecs.egress.policy import host_name
from turnout_ecs.egress.upstream import Target

__all__ = ["check", "has_body", "opened_target", "path_of", "request_headers", "response_headers", "stated_length"]

_HOP: Final = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"upgrade",
        b"expect",
    }
)
_FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})


def opened_target(opening: bytes) -> Target:
    """Where a stream leads that was opened with this. `Refused` for what is no host and port."""
    try:
        said: Any = json.loads(opening)
        host, port, tls = said["host"], said["port"], said["tls"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Refused("EINVAL", "no host and port") from None
    if not (isinstance(host, str) and type(port) is int and 0 < port < 65536 and isinstance(tls, bool)):
        raise Refused("EINVAL", "no host and port")
    return Target(host_name(host), port, tls)


def check(request: h11.Request, target: Target, limits: EgressLimits) -> None:
    """`Refused` for a request that could mean another host to the server than to us, or more than one request."""
    headers = request.headers
    if request.method == b"CONNECT" or not request.target.startswith(b"/"):
        raise Refused(
            "EPROTO", "only requests for a path are made here: proxies and tunnels do not work in the sandbox"
        )
    if len(headers) > limits.headers:
        raise Refused("EPROTO", f"a request has at most {limits.headers} headers")
    hosts = [value for name, value in headers if name == b"host"]
    if len(hosts) != 1 or _authority(hosts[0], target) != (target.host, target.port):
        shown = b", ".join(hosts)[:300].decode("ascii", "replace")
        raise Refused(
            "EACCES", f"the Host header {shown!r} is not {target.authority}, to which the connection was opened"
        )
    names = [name for name, _ in headers if name in _FRAMING]
    if len(names) > 1:
        raise Refused("EPROTO", "a request states the length of its body once")
    if any(name == b"upgrade" for name, _ in headers):
        raise Refused(
            "EPROTONOSUPPORT", "connections cannot be upgraded in the sandbox: no WebSockets, no HTTP/2, only HTTP"
        )


def has_body(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    return any(name in _FRAMING and value != b"0" for name, value in headers)


def stated_length(headers: Sequence[tuple[bytes, bytes]]) -> int | None:
    """Content-Length, which h11 has checked; None where it is not stated."""
    return next((int(value) for name, value in headers if name == b"content-length"), None)


def path_of(target: bytes) -> str:
    """For the log: without the query."""
    return target.split(b"?")[0].split(b"#")[0].decode("ascii", "replace")[:1000]


def request_headers(request: h11.Request, target: Target, swap: Swap, length: int | None) -> Headers:
    """The headers that the server gets: those of one hop dropped, placeholders replaced, the body's length as it is now.

    The answer must be readable where secrets are looked for in it: then it is asked for without compression.
    """
    dropped = _dropped(request.headers) | {b"host"}
    kept = [(raw, swap.header(raw, value)) for raw, value in _raw(request.headers) if raw.lower() not in dropped]
    passed = [(b"Host", target.authority.encode()), *kept]
    if swap.scans:
        passed = [(raw, value) for raw, value in passed if raw.lower() != b"accept-encoding"]
        passed.append((b"Accept-Encoding", b"identity"))
    if length is not None:
        passed.append((b"Content-Length", b"%d" % length))
    elif any(name == b"transfer-encoding" for name, _ in request.headers):
        passed.append((b"Transfer-Encoding", b"chunked"))
    return passed


def response_headers(response: h11.Response, swap: Swap, *, decoded: bool, length: int | None) -> Headers:
    """The headers that the code gets, with placeholders where a value has a secret."""
    dropped = _dropped(response.headers) | ({b"content-encoding"} if decoded else set())
    rewriter = swap.answer()
    passed = []
    for raw, value in _raw(response.headers):
        if raw.lower() not in dropped and rewriter.whole(raw) == raw:
            passed.append((raw, rewriter.whole(value)))
    if length is not None:
        passed.append((b"Content-Length", b"%d" % length))
    return passed


def _raw(headers: Any) -> list[tuple[bytes, bytes]]:
    return list(headers.raw_items()) if hasattr(headers, "raw_items") else list(headers)


def _dropped(headers: Sequence[tuple[bytes, bytes]]) -> frozenset[bytes]:
    named = {token.strip().lower() for name, value in headers if name == b"connection" for token in value.split(b",")}
    return _HOP | _FRAMING | named


def _authority(value: bytes, target: Target) -> tuple[str, int]:
    text = value.decode("ascii", "replace")
    host, colon, port = text.rpartition(":") if not text.endswith("]") and ":" in text else (text, "", "")
    if colon and not (port.isascii() and port.isdigit() and len(port) < 6):
        return "", 0
    try:
        return host_name(host), int(port) if colon else (443 if target.tls else 80)
    except Refused:
        return "", 0
