"""API keys over the API: a customer's admin makes and revokes those of its customer, the organisation's all."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec

from turnout.errors import UserError
from turnout.services.api.endpoint import Answer, Call, Endpoint, Nothing
from turnout.services.api.execution_views import Time
from turnout.services.api.paging import Cursor, Limit, page, position
from turnout.services.api.parts import Parts
from turnout.services.api.problems import ProblemError
from turnout.services.api_keys import ApiKey, Role
from turnout.services.record_json import time_text

__all__ = ["ENDPOINTS"]

_LONGEST_S: Final = 100 * 365 * 86400.0


class Keys(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which keys."""

    customer: Annotated[str, msgspec.Meta(max_length=500)] = ""
    limit: Limit = 50
    cursor: Cursor = ""


class KeyView(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a key. `customer` is null for one of the organisation; `used_at` is exact to the hour."""

    id: str
    name: str
    customer: str | None
    role: Role
    state: Literal["active", "expired", "revoked"]
    created_at: Time
    expires_at: Time | None
    revoked_at: Time | None
    used_at: Time | None


class NewKeyView(KeyView, frozen=True, kw_only=True):
    """A key that was just made. `key` is the whole of it, and is not shown again."""

    key: str


class KeyPage(msgspec.Struct, frozen=True, kw_only=True):
    """Keys in the order of their ids; `next` is the `cursor` of the following page, null at the end."""

    items: list[KeyView]
    next: str | None


class Create(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key to make, of a customer or, without one, of the organisation. It may do no more than the key that asks."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=200, description="Who uses it.")]
    role: Role = Role.READ
    customer: Annotated[str, msgspec.Meta(max_length=500)] | None = None
    expires_s: (
        Annotated[float, msgspec.Meta(gt=0, le=_LONGEST_S, description="How long it is good for, in seconds.")] | None
    ) = None


async def search(parts: Parts, call: Call[Keys, Nothing]) -> Answer:
    query = call.query
    customer = call.only(query.customer or None)
    if query.customer not in ("", customer):
        return Answer(body=page([], query.limit, ""))
    found = await parts.keys.page(customer=customer, after=position(query.cursor), limit=query.limit)
    now = parts.clock.now()
    return Answer(body=page([_view(id, key, now) for id, key in found], query.limit, found[-1][0] if found else ""))


async def create(parts: Parts, call: Call[Nothing, Create]) -> Answer:
    wanted, own = call.body, call.principal.customer
    if own is not None and wanted.customer not in (None, own):
        raise ProblemError(404, f"no customer {wanted.customer!r}")
    try:
        made = await parts.keys.create(
            wanted.name, role=wanted.role, customer=own or wanted.customer, expires_s=wanted.expires_s
        )
    except UserError as error:
        raise ProblemError(400, f"body: {error}") from None
    return Answer(body={**_view(made.id, made.key, parts.clock.now()), "key": made.text}, status=201)


async def show(parts: Parts, call: Call[Nothing, Nothing]) -> Answer:
    id = call.path["id"]
    return Answer(body=_view(id, await parts.keys.get(id, customer=call.principal.customer), parts.clock.now()))


async def revoke(parts: Parts, call: Call[Nothing, Nothing]) -> Answer:
    id = call.path["id"]
    key = await parts.keys.revoke(id, customer=call.principal.customer)
    return Answer(body=_view(id, key, parts.clock.now()))


def _view(id: str, key: ApiKey, now: float) -> dict[str, Any]:
    return {
        "id": id,
        "name": key.name,
        "customer": key.customer,
        "role": key.role.value,
        "state": key.state(now),
        "created_at": time_text(key.created_at),
        "expires_at": time_text(key.expires_at),
        "revoked_at": time_text(key.revoked_at),
        "used_at": time_text(key.used_at),
    }


ENDPOINTS: Final[tuple[Endpoint[Any, Any], ...]] = (
    Endpoint(
        method="GET",
        path="/api-keys",
        name="listApiKeys",
        summary="API keys, never what opens",
        handle=search,
        query=Keys,
        answer=KeyPage,
        role=Role.ADMIN,
        tag="api keys",
    ),
    Endpoint(
        method="POST",
        path="/api-keys",
        name="createApiKey",
        summary="Make an API key, which is shown this once",
        handle=create,
        body=Create,
        answer=NewKeyView,
        statuses=(201,),
        refusals=(404,),
        role=Role.ADMIN,
        tag="api keys",
    ),
    Endpoint(
        method="GET",
        path="/api-keys/{id}",
        name="showApiKey",
        summary="An API key",
        handle=show,
        answer=KeyView,
        refusals=(404,),
        role=Role.ADMIN,
        tag="api keys",
    ),
    Endpoint(
        method="DELETE",
        path="/api-keys/{id}",
        name="revokeApiKey",
        summary="Make a key useless, at once and everywhere",
        handle=revoke,
        answer=KeyView,
        refusals=(404,),
        role=Role.ADMIN,
        tag="api keys",
    ),
)
