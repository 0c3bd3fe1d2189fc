"""Connections of customers over the API. What is secret goes in and never comes out: it is set, or it is not.

A customer's key cannot refer to secrets of the organisation, and where a connection does it sees no more than that something is
set, and cannot change what the secret would then be sent to.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec

from turnout.errors import SettingsError
from turnout.services.api.bodies import Name, existing, wrong_values
from turnout.services.api.endpoint import PREFIX, Answer, Call, Endpoint, Nothing
from turnout.services.api.execution_views import Time
from turnout.services.api.paging import Paged, page, position
from turnout.services.api.parts import Parts
from turnout.services.api.problems import ProblemError
from turnout.services.api_keys import Principal, Role
from turnout.services.connections import Connection, ConnectionState, ConnectionView, NewConnection
from turnout.services.oauth.links import LINK_S
from turnout.services.record_json import time_text

__all__ = ["ENDPOINTS"]

_LONGEST_S: Final = 365 * 86400.0
_UNUSABLE: Final = "a secret of the organisation that it uses cannot be had: ask the organisation"

Fields = Annotated[
    dict[str, Any],
    msgspec.Meta(
        description="The fields of its type by their names; with the organisation's key, text such as `env:NAME` refers to a secret."
    ),
]


class ConnectionSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A connection without its fields. `pending`: somebody has to connect it first; `reason` says what is wrong with it."""

    customer: str
    name: str
    connector: str
    type: str
    state: ConnectionState
    reason: str | None
    created_at: Time
    changed_at: Time


class ConnectionShown(ConnectionSummary, frozen=True, kw_only=True):
    """A connection. `fields` are those that are no secrets, `secrets` says of the others whether they are set; `used_by` are the
    instances that name it."""

    fields: dict[str, Any]
    secrets: dict[str, bool]
    used_by: list[str]


class ConnectionPage(msgspec.Struct, frozen=True, kw_only=True):
    """Connections in the order of their names; `next` is the `cursor` of the following page, null at the end."""

    items: list[ConnectionSummary]
    next: str | None


class CreateConnection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A connection to make. `type` may be left out where the connector has one, or the fields tell."""

    name: Name
    connector: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    type: Annotated[str, msgspec.Meta(max_length=200)] = ""
    fields: Fields = {}


class ConnectionChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fields that get other values, and those that are to have none; what is not named stays."""

    fields: Fields = {}
    unset: list[str] = []


class Invite(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A link to make: `return_to` is a page to go back to, which `[oauth] return_urls` allows."""

    return_to: Annotated[str, msgspec.Meta(max_length=2000)] = ""
    valid_s: Annotated[float, msgspec.Meta(gt=0, le=_LONGEST_S, description="How long it may be used, in seconds.")] = (
        LINK_S
    )


class Invitation(msgspec.Struct, frozen=True, kw_only=True):
    """Whoever opens `link` connects the account, once."""

    link: str
    expires_at: Time


async def search(parts: Parts, call: Call[Paged, Nothing]) -> Answer:
    customer, query = await existing(parts, call), call.query
    found = await parts.connections.documents.page(tenant=customer, after=position(query.cursor), limit=query.limit)
    shown = [_summary(call.principal, customer, one.name, one.value) for one in found]
    return Answer(body=page(shown, query.limit, found[-1].name if found else ""))


async def create(parts: Parts, call: Call[Nothing, CreateConnection]) -> Answer:
    customer, wanted = await existing(parts, call, growing=True), call.body
    new = NewConnection(
        connector=wanted.connector, type=wanted.type, fields=wanted.fields, references=_may_refer(call.principal)
    )
    with wrong_values(call):
        await parts.connections.create(customer, wanted.name, new)
    return await _shown(parts, call, customer, wanted.name, status=201)


async def show(parts: Parts, call: Call[Nothing, Nothing]) -> Answer:
    return await _shown(parts, call, await existing(parts, call), call.path["connection"])


async def change(parts: Parts, call: Call[Nothing, ConnectionChange]) -> Answer:
    customer, name, wanted = await existing(parts, call), call.path["connection"], call.body
    with wrong_values(call):
        await parts.connections.update(
            customer,
            name,
            wanted.fields,
            unset=tuple(dict.fromkeys(wanted.unset)),
            references=_may_refer(call.principal),
            expected=call.expected,
        )
    return await _shown(parts, call, customer, name)


async def try_out(parts: Parts, call: Call[Nothing, Nothing]) -> Answer:
    customer, name = await existing(parts, call), call.path["connection"]
    await parts.connections.test(customer, name)
    return await _shown(parts, call, customer, name)


async def remove(parts: Parts, call: Call[Nothing, Nothing]) -> Answer:
    await parts.connections.remove(await existing(parts, call), call.path["connection"])
    return Answer(status=204)


async def invite(parts: Parts, call: Call[Nothing, Invite]) -> Answer:
    customer, name, wanted = await existing(parts, call), call.path["connection"], call.body
    expires_at = parts.clock.now() + wanted.valid_s
    try:
        link = await parts.oauth.invite(customer, name, return_to=wanted.return_to, valid_s=wanted.valid_s)
    except SettingsError as error:
        if error.setting == "oauth.return_urls":
            raise ProblemError(400, f"body: `return_to`: {error}") from None
        raise
    return Answer(body=Invitation(link=link, expires_at=time_text(expires_at) or ""), status=201)


def _may_refer(principal: Principal) -> bool:
    return principal.customer is None


async def _shown(parts: Parts, call: Call[Any, Any], customer: str, name: str, *, status: int = 200) -> Answer:
    view = await parts.connections.view(customer, name)
    headers = {"location": f"{PREFIX}/customers/{customer}/connections/{name}"} if status == 201 else {}
    return Answer(
        body=_full(call.principal, customer, view),
        status=status,
        revision=view.revision,
        depends=",".join(view.used_by),
        headers=headers,
    )


def _full(principal: Principal, customer: str, view: ConnectionView) -> dict[str, Any]:
    references = view.connection.references
    said = {
        field: value
        for field, value in view.shown.items()
        if (field in references and _may_refer(principal)) or (field not in references and field not in view.secrets)
    }
    secrets = {**view.secrets, **dict.fromkeys(references, True)}
    return {
        **_summary(principal, customer, view.name, view.connection),
        "fields": said,
        "secrets": {field: secrets[field] for field in sorted(secrets)},
        "used_by": list(view.used_by),
    }


def _summary(principal: Principal, customer: str, name: str, connection: Connection) -> dict[str, Any]:
    reason = connection.reason
    named = [written.partition(":")[2] for written in connection.references.values()]
    if not _may_refer(principal) and any(name and name in reason for name in named):
        reason = _UNUSABLE
    return {
        "customer": customer,
        "name": name,
        "connector": connection.connector,
        "type": connection.type,
        "state": connection.state.value,
        "reason": reason or None,
        "created_at": time_text(connection.created_at),
        "changed_at": time_text(connection.changed_at),
    }


_COLLECTION: Final = "/customers/{customer}/connections"
_ONE: Final = f"{_COLLECTION}/{{connection}}"

ENDPOINTS: Final[tuple[Endpoint[Any, Any], ...]] = (
    Endpoint(
        method="GET",
        path=_COLLECTION,
        name="listConnections",
        summary="A customer's connections, by name",
        handle=search,
        query=Paged,
        answer=ConnectionPage,
        tag="connections",
    ),
    Endpoint(
        method="POST",
        path=_COLLECTION,
        name="createConnection",
        summary="Keep a connection of a customer, sealed for that customer and this name",
        handle=create,
        body=CreateConnection,
        answer=ConnectionShown,
        statuses=(201,),
        refusals=(409,),
        role=Role.ADMIN,
        tag="connections",
    ),
    Endpoint(
        method="GET",
        path=_ONE,
        name="showConnection",
        summary="A connection, without its secrets",
        handle=show,
        answer=ConnectionShown,
        refusals=(409,),
        conditional=True,
        tag="connections",
    ),
    Endpoint(
        method="PATCH",
        path=_ONE,
        name="changeConnection",
        summary="Change fields of a connection",
        description="Every instance that uses it works with them from its next step.",
        handle=change,
        body=ConnectionChange,
        answer=ConnectionShown,
        refusals=(409,),
        role=Role.ADMIN,
        conditional=True,
        tag="connections",
    ),
    Endpoint(
        method="DELETE",
        path=_ONE,
        name="removeConnection",
        summary="Remove a connection that no instance uses",
        handle=remove,
        statuses=(204,),
        refusals=(409,),
        role=Role.ADMIN,
        tag="connections",
    ),
    Endpoint(
        method="POST",
        path=f"{_ONE}/test",
        name="testConnection",
        summary="Make the connection once: its references are looked up, its fields checked, its access token renewed",
        description="`state` and `reason` say how that went.",
        handle=try_out,
        answer=ConnectionShown,
        refusals=(409,),
        role=Role.OPERATE,
        tag="connections",
    ),
    Endpoint(
        method="POST",
        path=f"{_ONE}/invitations",
        name="inviteToConnect",
        summary="Make the link by which somebody of the customer connects the account of an OAuth 2.0 connection",
        handle=invite,
        body=Invite,
        answer=Invitation,
        statuses=(201,),
        refusals=(409,),
        role=Role.ADMIN,
        tag="connections",
    ),
)
