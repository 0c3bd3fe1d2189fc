"""What browsers and other senders ask before they send: HEAD, OPTIONS, and pages of other origins (CORS)."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from turnout.interfaces.service import Request, Response
from turnout.model.webhook import Hook

__all__ = ["METHODS", "allowed", "opened", "preflight"]

METHODS: Final = ("POST", "GET", "PUT", "PATCH", "DELETE")
_HEADERS: Final = re.compile(r"[A-Za-z0-9, -]{1,1000}")
_SHOWN: Final = "turnout-execution, location, retry-after"


def allowed(hook: Hook) -> tuple[str, ...]:
    """The methods that start an execution."""
    return hook.methods or METHODS


def preflight(request: Request, hook: Hook) -> Response:
    """The answer to OPTIONS (RFC 9110, 9.3.7), and to a page that asks whether it may send (Fetch standard, CORS)."""
    methods = ", ".join((*allowed(hook), "HEAD", "OPTIONS"))
    headers = {"allow": methods}
    if _origin(request, hook):
        asked = request.headers.get("access-control-request-headers", "")
        headers |= {"access-control-allow-methods": ", ".join(allowed(hook)), "access-control-max-age": "600"}
        headers |= {"access-control-allow-headers": asked} if _HEADERS.fullmatch(asked) else {}
    return opened(Response(status=204, headers=headers), request, hook)


def opened(answer: Response, request: Request, hook: Hook) -> Response:
    """The answer as a page of an allowed origin may read it. Cookies are never meant."""
    if not hook.cors:
        return answer
    headers = {**answer.headers, "vary": "origin"}
    if origin := _origin(request, hook):
        headers |= {"access-control-allow-origin": origin, "access-control-expose-headers": _SHOWN}
    return replace(answer, headers=headers)


def _origin(request: Request, hook: Hook) -> str:
    origin = request.headers.get("origin", "")
    if "*" in hook.cors:
        return "*" if origin else ""
    return origin if origin in hook.cors else ""
