"""API keys: who may use the HTTP API, and for which customer.

A key is `turnout_<id>_<secret>`. The id is public and names the key in the catalog; the secret is 256 random bits in hex. What is
kept is the secret's SHA-256: a slow hash with a salt (bcrypt, Argon2) protects what people choose, whose guesses can be
enumerated. 256 random bits cannot, with any hash, and a slow one would make each request expensive. Hashes are compared in
constant time, so that an answer's delay says nothing of how much of a guess was right.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from turnout.errors import NotFound, UserError
from turnout.interfaces.catalog import CatalogStore
from turnout.interfaces.clock import Clock
from turnout.services.documents import Document, Documents

__all__ = ["ApiKey", "ApiKeys", "NewKey", "Principal", "Role"]

_PREFIX: Final = "turnout"
_ID_BYTES: Final = 8
_SECRET_BYTES: Final = 32
_KEY: Final = re.compile(rf"{_PREFIX}_([0-9a-f]{{{2 * _ID_BYTES}}})_([0-9a-f]{{{2 * _SECRET_BYTES}}})")
_ID: Final = re.compile(rf"[0-9a-f]{{{2 * _ID_BYTES}}}")
_LONGEST_NAME: Final = 200
_USE_S: Final = 3600.0
"""How exactly the last use is known: a key that is used a thousand times a second is written once an hour."""
_KEPT_S: Final = 30 * 86400.0
"""For how long a revoked or expired key is still listed."""
_SWEPT: Final = 500
_NO_SECRET: Final = hashlib.sha256(secrets.token_bytes(32)).hexdigest()


class Role(StrEnum):
    """What a key may do; each role may do what those before it may.

    `read` looks; `operate` starts, stops and repeats what is set up; `admin` sets up: instances, connections, keys.
    """

    READ = "read"
    OPERATE = "operate"
    ADMIN = "admin"

    def allows(self, needed: Role) -> bool:
        order = list(Role)
        return order.index(self) >= order.index(needed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who asks: a key of one customer (`customer`), or of the whole organisation (None). `id` is the key's; empty where no
    key is asked for."""

    id: str
    name: str = ""
    customer: str | None = None
    role: Role = Role.READ

    def sees(self, customer: str) -> bool:
        """Whether it has to do with that customer at all."""
        return self.customer is None or self.customer == customer


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """What is kept of a key, and shown of it but for `secret_sha256`. Times are seconds since the epoch; `used_at` is exact
    to the hour."""

    name: str
    role: Role
    created_at: float
    secret_sha256: str = field(repr=False)
    customer: str | None = None
    expires_at: float | None = None
    revoked_at: float | None = None
    used_at: float | None = None

    def state(self, now: float) -> str:
        """`active`, `expired` or `revoked`."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "active"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A key as it is given out: `text` is the whole of it, which nobody can be told a second time."""

    id: str
    key: ApiKey
    text: str = field(repr=False)


class ApiKeys:
    """Keys in the catalog: of kind `api-key`, under their id, of no tenant, since whoever shows one does not say whose it is."""

    def __init__(self, catalog: CatalogStore, clock: Clock) -> None:
        self._keys = Documents(catalog, "api-key", ApiKey)
        self._clock = clock

    async def create(
        self, name: str, *, role: Role, customer: str | None = None, expires_s: float | None = None
    ) -> NewKey:
        """Make a key for one customer, or for the organisation, that is good for `expires_s` seconds, or until it is revoked.
        `UserError` if the name is empty or too long, or the time is none."""
        if not name.strip() or len(name) > _LONGEST_NAME or not name.isprintable():
            raise UserError(
                f"a key needs a name that says who uses it, of at most {_LONGEST_NAME} printable characters"
            )
        if customer == "":
            raise UserError("the customer's name is empty: leave it out for a key of the whole organisation")
        if expires_s is not None and expires_s <= 0:
            raise UserError("a key that expires at once opens nothing: give a time such as 90d")
        id, secret = secrets.token_hex(_ID_BYTES), secrets.token_hex(_SECRET_BYTES)
        now = self._clock.now()
        key = ApiKey(
            name=name,
            role=role,
            created_at=now,
            secret_sha256=_hash(secret),
            customer=customer,
            expires_at=None if expires_s is None else now + expires_s,
        )
        due = None if key.expires_at is None else key.expires_at + _KEPT_S
        await self._keys.create(id, key, due=due)
        return NewKey(id=id, key=key, text=f"{_PREFIX}_{id}_{secret}")

    async def check(self, text: str) -> Principal | None:
        """Who shows this key; None if it is no key, unknown, wrong, expired or revoked: which of these is not said, and
        does not show in how long it takes."""
        match = _KEY.fullmatch(text)
        if match is None:
            return None
        found, now = await self._keys.get(match[1]), self._clock.now()
        kept = _NO_SECRET if found is None else found.value.secret_sha256
        if not hmac.compare_digest(kept, _hash(match[2])) or found is None or found.value.state(now) != "active":
            return None
        await self._note(found, now)
        key = found.value
        return Principal(id=found.name, name=key.name, customer=key.customer, role=key.role)

    async def _note(self, found: Document[ApiKey], now: float) -> None:
        """If somebody writes it at the same moment, that stands: a revocation must not be undone by a use."""
        if found.value.used_at is None or now - found.value.used_at >= _USE_S:
            await self._keys.replace(found, replace(found.value, used_at=now), due=found.due)

    async def page(
        self, *, customer: str | None = None, after: str = "", limit: int = 1000
    ) -> Sequence[tuple[str, ApiKey]]:
        """Ids and keys in the order of ids, those after `after`; with `customer` that customer's alone."""
        found: list[tuple[str, ApiKey]] = []
        while len(found) < limit and (page := await self._keys.page(tenant="", after=after, limit=1000)):
            found += [(one.name, one.value) for one in page if customer in (None, one.value.customer)]
            after = page[-1].name
        return found[:limit]

    async def get(self, id: str, *, customer: str | None = None) -> ApiKey:
        """`NotFound` if there is none of that id, or, with `customer`, if it is not that customer's."""
        if not _ID.fullmatch(id):  # it may be a whole key, which must not be repeated
            raise NotFound(
                "API key", "…", hint=f"an id has {2 * _ID_BYTES} letters and digits, the part between the two _"
            )
        found = await self._keys.get(id)
        if found is None or customer not in (None, found.value.customer):
            raise NotFound("API key", id, hint="`turnout api-keys list` shows those that there are")
        return found.value

    async def revoke(self, id: str, *, customer: str | None = None) -> ApiKey:
        """From now on the key opens nothing; it is listed for a month. Idempotent. `NotFound` as `get`."""
        while True:
            await self.get(id, customer=customer)
            found, now = await self._keys.get(id), self._clock.now()
            if found is None:
                continue
            if found.value.revoked_at is not None:
                return found.value
            revoked = replace(found.value, revoked_at=now)
            if await self._keys.replace(found, revoked, due=now + _KEPT_S):
                return revoked

    async def revoke_all(self, customer: str) -> int:
        """Revoke every key of a customer, as when it is deleted; how many there were."""
        keys = [id for id, key in await self.page(customer=customer, limit=100_000) if key.revoked_at is None]
        for id in keys:
            await self.revoke(id)
        return len(keys)

    async def remove_all(self, customer: str) -> int:
        """Forget every key of a customer that is gone; how many there were."""
        keys = [id for id, _ in await self.page(customer=customer, limit=100_000)]
        for id in keys:
            await self._keys.remove(id)
        return len(keys)

    async def sweep(self) -> None:
        """Forget keys that opened nothing for a month."""
        for found in await self._keys.due(self._clock.now(), limit=_SWEPT):
            await self._keys.remove(found.name, expected=found.revision)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
