"""Customers over the API: the organisation's to make, change and delete; a customer's key sees its own."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec

from turnout.errors import NotFound
from turnout.services.api.bodies import Delete, Deleted, Name, deleted, wrong_values
from turnout.services.api.endpoint import PREFIX, Answer, Call, Endpoint, Nothing
from turnout.services.api.execution_views import Time
from turnout.services.api.paging import Paged, page, position
from turnout.services.api.parts import Parts
from turnout.services.api_keys import Role
from turnout.services.customers import Customer, CustomerState
from turnout.services.record_json import time_text

__all__ = ["ENDPOINTS"]

Title = Annotated[str, msgspec.Meta(max_length=200, description="What people call it: one line.")]
Metadata = Annotated[str, msgspec.Meta(max_length=1000)]


class CustomerView(msgspec.Struct, frozen=True, kw_only=True):
    """A customer. Nothing is taken in for one who is `suspended` or `deleting`."""

    name: str
    title: str
    state: CustomerState
    metadata: dict[str, str]
    created_at: Time


class CustomerPage(msgspec.Struct, frozen=True, kw_only=True):
    """Customers in the order of their names; `next` is the `cursor` of the following page, null at the end."""

    items: list[CustomerView]
    next: str | None


class NewCustomer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A customer to make. `metadata` is for programs: an id in another system."""

    name: Name
    title: Title = ""
    metadata: dict[str, Metadata] = {}


class CustomerChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be otherwise; what is not named stays. Null removes a key of `metadata`."""

    title: Title | msgspec.UnsetType = msgspec.UNSET
    metadata: dict[str, Metadata | None] = {}


async def search(parts: Parts, call: Call[Paged, Nothing]) -> Answer:
    query, after = call.query, position(call.query.cursor)
    own = call.principal.customer
    if own is None:
        found = await parts.customers.page(after=after, limit=query.limit)
    else:
        document = await parts.customers.documents.get(own)
        found = [] if document is None or after >= own else [(own, document.value)]
    return Answer(body=page([_view(*one) for one in found], query.limit, found[-1][0] if found else ""))


async def create(parts: Parts, call: Call[Nothing, NewCustomer]) -> Answer:
    wanted = call.body
    with wrong_values(call):
        await parts.customers.create(wanted.name, title=wanted.title, metadata=wanted.metadata)
    return await _shown(parts, wanted.name, status=201)


async def show(parts: Parts, call: Call[Nothing, Nothing]) -> Answer:
    return await _shown(parts, call.customer())


async def change(parts: Parts, call: Call[Nothing, CustomerChange]) -> Answer:
    name, wanted = call.customer(), call.body
    title = None if isinstance(wanted.title, msgspec.UnsetType) else wanted.title
    with wrong_values(call):
        await parts.customers.change(name, title=title, metadata=wanted.metadata, expected=call.expected)
    return await _shown(parts, name)


async def suspend(parts: Parts, call: Call[Nothing, Nothing]) -> Answer:
    await parts.customers.suspend(call.customer())
    return await _shown(parts, call.customer())


async def resume(parts: Parts, call: Call[Nothing, Nothing]) -> Answer:
    await parts.customers.resume(call.customer())
    return await _shown(parts, call.customer())


async def delete(parts: Parts, call: Call[Delete, Nothing]) -> Answer:
    name = call.customer()
    await parts.customers.mark_deleting(name)
    return deleted(await parts.removal.customer(name, force=call.query.force))


async def _shown(parts: Parts, name: str, *, status: int = 200) -> Answer:
    document = await parts.customers.documents.get(name)
    if document is None:
        raise NotFound("customer", name)
    headers = {"location": f"{PREFIX}/customers/{name}"} if status == 201 else {}
    return Answer(body=_view(name, document.value), status=status, revision=document.revision, headers=headers)


def _view(name: str, customer: Customer) -> dict[str, Any]:
    return {
        "name": name,
        "title": customer.title,
        "state": customer.state.value,
        "metadata": dict(customer.metadata),
        "created_at": time_text(customer.created_at),
    }


ENDPOINTS: Final[tuple[Endpoint[Any, Any], ...]] = (
    Endpoint(
        method="GET",
        path="/customers",
        name="listCustomers",
        summary="Customers, by name",
        handle=search,
        query=Paged,
        answer=CustomerPage,
        tag="customers",
    ),
    Endpoint(
        method="POST",
        path="/customers",
        name="createCustomer",
        summary="Make a customer",
        description="Asked again it is 409, and nothing has changed: the name is what it is known by.",
        handle=create,
        body=NewCustomer,
        answer=CustomerView,
        statuses=(201,),
        refusals=(409,),
        role=Role.ADMIN,
        organisation=True,
        tag="customers",
    ),
    Endpoint(
        method="GET",
        path="/customers/{customer}",
        name="showCustomer",
        summary="A customer",
        handle=show,
        answer=CustomerView,
        conditional=True,
        tag="customers",
    ),
    Endpoint(
        method="PATCH",
        path="/customers/{customer}",
        name="changeCustomer",
        summary="Change a customer's title or metadata",
        handle=change,
        body=CustomerChange,
        answer=CustomerView,
        refusals=(409,),
        role=Role.ADMIN,
        organisation=True,
        conditional=True,
        tag="customers",
    ),
    Endpoint(
        method="POST",
        path="/customers/{customer}/suspend",
        name="suspendCustomer",
        summary="Take nothing more in for any of its instances; what runs goes on",
        handle=suspend,
        answer=CustomerView,
        refusals=(409,),
        role=Role.OPERATE,
        organisation=True,
        tag="customers",
    ),
    Endpoint(
        method="POST",
        path="/customers/{customer}/resume",
        name="resumeCustomer",
        summary="Take in again what is sent to a customer who was suspended",
        handle=resume,
        answer=CustomerView,
        refusals=(409,),
        role=Role.OPERATE,
        organisation=True,
        tag="customers",
    ),
    Endpoint(
        method="DELETE",
        path="/customers/{customer}",
        name="deleteCustomer",
        summary="Delete a customer with everything that is theirs",
        description="202 while what runs, or an `on_delete`, is waited for, and for half a minute after that: the services finish it.",
        handle=delete,
        query=Delete,
        answer=Deleted,
        statuses=(200, 202),
        refusals=(409,),
        role=Role.ADMIN,
        organisation=True,
        tag="customers",
    ),
)
