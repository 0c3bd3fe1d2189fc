"""Instances over the API: versions deployed to customers, changed, paused, taken back, deleted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any, Final

import msgspec

from turnout.errors import NotFound
from turnout.services.api.bodies import Delete, Deleted, Name, deleted, existing, wrong_values
from turnout.services.api.endpoint import PREFIX, Answer, Call, Endpoint, Nothing
from turnout.services.api.execution_views import Time
from turnout.services.api.integrations import published
from turnout.services.api.paging import Cursor, Limit, Paged, page, position
from turnout.services.api.parts import Parts
from turnout.services.api.problems import ProblemError
from turnout.services.api_keys import Role
from turnout.services.instance_documents import InstanceState
from turnout.services.instances import Changes, Deployment, NewInstance
from turnout.services.record_json import time_text

__all__ = ["ENDPOINTS"]

Text = Annotated[str, msgspec.Meta(max_length=200)]
Config = Annotated[dict[str, Any], msgspec.Meta(description="Values of config variables by their names.")]
Slots = Annotated[
    dict[str, str], msgspec.Meta(description="Names of the customer's connections by the slots of the version.")
]


class LifecycleView(msgspec.Struct, frozen=True, kw_only=True):
    """A flow that runs because of a change, and `trouble` if it did not end well."""

    event: str
    execution: str | None
    trouble: str | None


class InstanceSummary(msgspec.Struct, frozen=True, kw_only=True):
    """An instance. `version_before` is where a rollback leads, null where there is none."""

    customer: str
    name: str
    integration: str
    version: str
    version_before: str | None
    state: InstanceState
    connections: dict[str, str]
    lifecycle: LifecycleView | None
    created_at: Time
    changed_at: Time


class InstanceShown(InstanceSummary, frozen=True, kw_only=True):
    """An instance with the config values that were given to it: the others have the version's defaults. `notes` say what is
    worth knowing of a change that was just made."""

    config: dict[str, Any]
    notes: list[str]


class InstancePage(msgspec.Struct, frozen=True, kw_only=True):
    """Instances in the order of their customers and names; `next` is the `cursor` of the following page, null at the end."""

    items: list[InstanceSummary]
    next: str | None


class Instances(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which instances: all filters must hold."""

    customer: Annotated[str, msgspec.Meta(max_length=500)] = ""
    integration: Annotated[str, msgspec.Meta(max_length=500)] = ""
    limit: Limit = 50
    cursor: Cursor = ""


class Deploy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to deploy: the newest version unless one is named, under the integration's name unless another is. A slot that is not
    named takes the connection that is called like it."""

    integration: Annotated[Text, msgspec.Meta(min_length=1)]
    version: Text = ""
    name: Name | msgspec.UnsetType = msgspec.UNSET
    config: Config = {}
    connections: Slots = {}


class InstanceChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be otherwise: another version, other values; config values in `unset` get their defaults again. What is not
    named stays."""

    version: Text = ""
    config: Config = {}
    unset: list[str] = []
    connections: Slots = {}


class Fit(msgspec.Struct, frozen=True, kw_only=True):
    """What a change would say: with `problems` nothing would be changed."""

    fits: bool
    problems: list[str]
    notes: list[str]


async def search(parts: Parts, call: Call[Instances, Nothing]) -> Answer:
    query = call.query
    customer = call.only(query.customer or None)
    if query.customer not in ("", customer):
        return Answer(body=page([], query.limit, ""))
    return await _page(parts, query, customer)


async def search_of(parts: Parts, call: Call[Paged, Nothing]) -> Answer:
    customer, query = await existing(parts, call), call.query
    return await _page(parts, Instances(limit=query.limit, cursor=query.cursor), customer)


async def _page(parts: Parts, query: Instances, customer: str | None) -> Answer:
    found: list[Deployment] = []
    async for deployment in _after(parts, customer, position(query.cursor)):
        if query.integration in ("", deployment.deployed.integration):
            found.append(deployment)
        if len(found) == query.limit:
            break
    last = f"{found[-1].customer}/{found[-1].name}" if found else ""
    return Answer(body=page([_summary(one) for one in found], query.limit, last))


async def _after(parts: Parts, customer: str | None, place: str) -> AsyncIterator[Deployment]:
    """Instances behind a place, which is a customer and a name."""
    first, _, name = place.partition("/")
    if first and customer in (None, first):
        async for deployment in _of(parts, first, name):
            yield deployment
    elif customer is not None and customer > first:
        async for deployment in _of(parts, customer, ""):
            yield deployment
    while customer is None and (others := await parts.customers.page(after=first)):
        for first, _ in others:
            async for deployment in _of(parts, first, ""):
                yield deployment


async def _of(parts: Parts, customer: str, name: str) -> AsyncIterator[Deployment]:
    while found := await parts.deployments.page(customer, after=name):
        for deployment in found:
            yield deployment
        name = found[-1].name


async def deploy(parts: Parts, call: Call[Nothing, Deploy]) -> Answer:
    customer, wanted = await existing(parts, call, growing=True), call.body
    name = wanted.integration if isinstance(wanted.name, msgspec.UnsetType) else wanted.name
    await _require(parts, call, wanted.integration, wanted.version)
    new = NewInstance(
        integration=wanted.integration, version=wanted.version, config=wanted.config, connections=wanted.connections
    )
    with wrong_values(call):
        made = await parts.deployments.deploy(customer, name, new)
    return await _shown(parts, made, status=201)


async def _require(parts: Parts, call: Call[Any, Any], integration: str, version: str) -> None:
    """400 for a version that the key cannot know of, or that there is not."""
    try:
        await published(parts, call.principal, integration, version)
    except NotFound as error:
        raise ProblemError(400, f"body: there is no {error.kind} {error.name!r}") from None


async def show(parts: Parts, call: Call[Nothing, Nothing]) -> Answer:
    customer = await existing(parts, call)
    return await _shown(parts, await parts.deployments.show(customer, call.path["instance"]))


async def change(parts: Parts, call: Call[Nothing, InstanceChange]) -> Answer:
    customer, name, changes = await _wanted(parts, call)
    with wrong_values(call):
        changed = await parts.deployments.upgrade(customer, name, changes)
    return await _shown(parts, changed)


async def check(parts: Parts, call: Call[Nothing, InstanceChange]) -> Answer:
    customer, name, changes = await _wanted(parts, call)
    with wrong_values(call):
        checked = await parts.deployments.check(customer, name, changes)
    return Answer(body=Fit(fits=not checked.problems, problems=list(checked.problems), notes=list(checked.notes)))


async def _wanted(parts: Parts, call: Call[Nothing, InstanceChange]) -> tuple[str, str, Changes]:
    customer, name, wanted = await existing(parts, call), call.path["instance"], call.body
    integration = (await parts.deployments.show(customer, name)).deployed.integration
    if wanted.version:
        await _require(parts, call, integration, wanted.version)
    changes = Changes(
        version=wanted.version,
        config=wanted.config,
        unset=tuple(wanted.unset),
        connections=wanted.connections,
        expected=call.expected,
    )
    return customer, name, changes


async def rollback(parts: Parts, call: Call[Nothing, Nothing]) -> Answer:
    customer = await existing(parts, call)
    with wrong_values(call, status=409):
        gone_back = await parts.deployments.rollback(customer, call.path["instance"])
    return await _shown(parts, gone_back)


async def pause(parts: Parts, call: Call[Nothing, Nothing]) -> Answer:
    return await _shown(parts, await parts.deployments.pause(await existing(parts, call), call.path["instance"]))


async def resume(parts: Parts, call: Call[Nothing, Nothing]) -> Answer:
    return await _shown(parts, await parts.deployments.resume(await existing(parts, call), call.path["instance"]))


async def delete(parts: Parts, call: Call[Delete, Nothing]) -> Answer:
    customer, name = await existing(parts, call), call.path["instance"]
    await parts.deployments.delete(customer, name)
    return deleted(await parts.removal.instance(customer, name, force=call.query.force))


async def _shown(parts: Parts, deployment: Deployment, *, status: int = 200) -> Answer:
    customer, name = deployment.customer, deployment.name
    config = await parts.deployments.config(customer, name)
    headers = {"location": f"{PREFIX}/customers/{customer}/instances/{name}"} if status == 201 else {}
    body = {**_summary(deployment), "config": dict(config), "notes": list(deployment.notes)}
    return Answer(body=body, status=status, revision=deployment.revision, headers=headers)


def _summary(deployment: Deployment) -> dict[str, Any]:
    deployed = deployment.deployed
    lifecycle = deployed.lifecycle
    return {
        "customer": deployment.customer,
        "name": deployment.name,
        "integration": deployed.integration,
        "version": deployed.current.version,
        "version_before": None if deployed.previous is None else deployed.previous.version,
        "state": deployed.state.value,
        "connections": dict(deployed.current.connections),
        "lifecycle": None
        if lifecycle is None
        else {"event": lifecycle.event, "execution": lifecycle.execution or None, "trouble": lifecycle.trouble or None},
        "created_at": time_text(deployed.created_at),
        "changed_at": time_text(deployed.changed_at),
    }


_COLLECTION: Final = "/customers/{customer}/instances"
_ONE: Final = f"{_COLLECTION}/{{instance}}"

ENDPOINTS: Final[tuple[Endpoint[Any, Any], ...]] = (
    Endpoint(
        method="GET",
        path="/instances",
        name="searchInstances",
        summary="Instances of all customers that the key sees, by customer and name",
        handle=search,
        query=Instances,
        answer=InstancePage,
        tag="instances",
    ),
    Endpoint(
        method="GET",
        path=_COLLECTION,
        name="listInstances",
        summary="A customer's instances, by name",
        handle=search_of,
        query=Paged,
        answer=InstancePage,
        tag="instances",
    ),
    Endpoint(
        method="POST",
        path=_COLLECTION,
        name="deployInstance",
        summary="Deploy a published version to a customer",
        description="All that is missing is said at once, in `faults`, and then nothing was deployed. A customer's key deploys "
        "integrations that the customer has an instance of.",
        handle=deploy,
        body=Deploy,
        answer=InstanceShown,
        statuses=(201,),
        refusals=(409,),
        role=Role.ADMIN,
        tag="instances",
    ),
    Endpoint(
        method="GET",
        path=_ONE,
        name="showInstance",
        summary="An instance, and what is under way with it",
        handle=show,
        answer=InstanceShown,
        conditional=True,
        tag="instances",
    ),
    Endpoint(
        method="PATCH",
        path=_ONE,
        name="changeInstance",
        summary="Take an instance to another version, or change its config and connections",
        description="All that is missing is said at once, in `faults`, and then nothing was changed. Executions that were "
        "accepted go on as they began.",
        handle=change,
        body=InstanceChange,
        answer=InstanceShown,
        refusals=(409,),
        role=Role.ADMIN,
        conditional=True,
        tag="instances",
    ),
    Endpoint(
        method="POST",
        path=f"{_ONE}/check",
        name="checkInstance",
        summary="What a change would say, without changing anything",
        handle=check,
        body=InstanceChange,
        answer=Fit,
        refusals=(409,),
        tag="instances",
    ),
    Endpoint(
        method="POST",
        path=f"{_ONE}/rollback",
        name="rollBackInstance",
        summary="Take an instance back to the version before, with the config and connections that it had",
        handle=rollback,
        answer=InstanceShown,
        refusals=(409,),
        role=Role.ADMIN,
        tag="instances",
    ),
    Endpoint(
        method="POST",
        path=f"{_ONE}/pause",
        name="pauseInstance",
        summary="Take nothing more in: webhooks are answered 503, schedules are held; what runs goes on",
        handle=pause,
        answer=InstanceShown,
        refusals=(409,),
        role=Role.OPERATE,
        tag="instances",
    ),
    Endpoint(
        method="POST",
        path=f"{_ONE}/resume",
        name="resumeInstance",
        summary="Take in again what is sent to an instance that was paused",
        handle=resume,
        answer=InstanceShown,
        refusals=(409,),
        role=Role.OPERATE,
        tag="instances",
    ),
    Endpoint(
        method="DELETE",
        path=_ONE,
        name="deleteInstance",
        summary="Delete an instance",
        description="202 while what runs, or its `on_delete`, is waited for: the services finish it.",
        handle=delete,
        query=Delete,
        answer=Deleted,
        statuses=(200, 202),
        refusals=(409,),
        role=Role.ADMIN,
        tag="instances",
    ),
)
