"""Who may come in: keys, and where none is asked for, only programs on this machine and no page that a browser has open."""

from __future__ import annotations

import ipaddress
import math
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from turnout.interfaces.catalog import CatalogStore
from turnout.interfaces.clock import Clock
from turnout.interfaces.service import Request
from turnout.services.api.problems import ProblemError
from turnout.services.api_keys import ApiKeys, Principal, Role
from turnout.services.documents import Documents

__all__ = ["Access", "Failures", "is_loopback"]

_ANYBODY: Final = Principal(id="", name="anybody", role=Role.ADMIN)
_CHALLENGE: Final = {"www-authenticate": 'Bearer realm="turnout"'}
_WRONG: Final = {"www-authenticate": 'Bearer realm="turnout", error="invalid_token"'}
_WINDOW_S: Final = 60.0
_MOST_FAILURES: Final = 20
_SWEPT: Final = 500


def is_loopback(host: str) -> bool:
    """Whether an address or a host's name means this machine."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Count:
    since: float
    failures: int = 1


class Failures:
    """How often an address showed a wrong key, in the catalog, so that all processes count together.

    A good key always opens: a customer's broken program must not lock out whoever is behind the same address. That a guess is
    right is out of the question at 256 bits; what is bounded is what wrong keys cost: past `_MOST_FAILURES` in a minute nothing is
    written for them.
    """

    def __init__(self, catalog: CatalogStore, clock: Clock) -> None:
        self._catalog = catalog
        self._counts = Documents(catalog, "api-failures", _Count)
        self._clock = clock

    async def note(self, client: str) -> float | None:
        """Count a failure; how many seconds the address has to wait, or None if it has not failed too often."""
        name, now = _block(client), self._clock.now()
        for _ in range(3):
            found = await self._counts.get(name)
            if found is None or now - found.value.since >= _WINDOW_S or found.value.since > now:
                change = self._counts.change(
                    name, _Count(since=now), due=now + _WINDOW_S, expected=0 if found is None else found.revision
                )
            elif found.value.failures >= _MOST_FAILURES:
                return found.value.since + _WINDOW_S - now
            else:
                more = _Count(since=found.value.since, failures=found.value.failures + 1)
                change = self._counts.change(name, more, due=found.due, expected=found.revision)
            if await self._catalog.write(change):
                return None
        return None

    async def sweep(self) -> None:
        """Forget counts that are over."""
        for found in await self._counts.due(self._clock.now(), limit=_SWEPT):
            await self._counts.remove(found.name, expected=found.revision)


def _block(client: str) -> str:
    """What counts as one address: of IPv6 what one household or server has, a /64."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return "unknown"
    if address.version == 4:
        return str(address)
    return str(ipaddress.ip_network((int(address) >> 64 << 64, 64)).network_address)


class Access:
    """Finds out who sends a request. `open` asks for no key; `hosts` are the names, beside this machine's own, under which it
    may be asked then."""

    def __init__(self, keys: ApiKeys, failures: Failures, *, open: bool, hosts: frozenset[str]) -> None:
        self._keys = keys
        self._failures = failures
        self._open = open
        self._hosts = hosts

    async def principal(self, request: Request) -> Principal:
        """Who sends it. `ProblemError`: 401 without a good key, 403 where none is needed but the request comes from a page
        or under another name, 429 after many wrong keys."""
        scheme, _, text = request.headers.get("authorization", "").partition(" ")
        if not scheme:
            if not self._open:
                raise ProblemError(401, f"{_HOW} (`turnout api-keys create`)", headers=_CHALLENGE)
            self._require_local(request)
            return _ANYBODY
        if scheme.lower() != "bearer":
            raise ProblemError(401, _HOW, headers=_CHALLENGE)
        principal = await self._keys.check(text.strip())
        if principal is not None:
            return principal
        wait_s = await self._failures.note(request.client)
        if wait_s is not None:
            raise ProblemError(
                429, "too many wrong keys from this address", headers={"retry-after": str(max(1, math.ceil(wait_s)))}
            )
        raise ProblemError(401, "this API key is unknown, expired or revoked", headers=_WRONG)

    def _require_local(self, request: Request) -> None:
        """A page in a browser on this machine can send requests here. It cannot choose the header Host, which names where the
        page thinks it is (DNS rebinding), nor Origin and Sec-Fetch-Site, which say where it came from."""
        host = request.headers.get("host", "")
        name = _name(host)
        if not is_loopback(name) and name not in self._hosts:
            raise ProblemError(
                403,
                f"without an API key this is answered under the names of this machine alone, not under {name!r}: name it in "
                "`hosts` of `[api]`, or send a key",
            )
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            raise ProblemError(403, "without an API key pages of other origins are not answered")
        if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            raise ProblemError(403, "without an API key pages of other sites are not answered")


_HOW: Final = "send an API key: `Authorization: Bearer turnout_…`"


def _name(host: str) -> str:
    """The name in a header Host, without the port, in lower case."""
    if host.startswith("["):
        return host.partition("]")[0].lstrip("[").lower()
    return host.partition(":")[0].lower()
