"""Published integrations over the API. They are the organisation's: a customer's key knows those that the customer has instances
of, and of no others that they exist."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec

from turnout.errors import NotFound
from turnout.model.definition import Integration
from turnout.services.api.endpoint import Answer, Call, Endpoint, Nothing
from turnout.services.api.execution_views import Time
from turnout.services.api.paging import Paged, page, position, wrong_cursor
from turnout.services.api.parts import Parts
from turnout.services.api.problems import ProblemError
from turnout.services.api_keys import Principal
from turnout.services.record_json import time_text
from turnout.services.versions import Version

__all__ = ["ENDPOINTS", "VersionView", "published", "version_view"]


class VersionView(msgspec.Struct, frozen=True, kw_only=True):
    """A published version, which never changes; `bundle` is the hash of all that it is made of."""

    integration: str
    version: str
    description: str
    bundle: str
    published_at: Time


class IntegrationView(msgspec.Struct, frozen=True, kw_only=True):
    """An integration: the version that was published last, and how many there are."""

    name: str
    newest: VersionView
    versions: int


class IntegrationPage(msgspec.Struct, frozen=True, kw_only=True):
    """Integrations in the order of their names; `next` is the `cursor` of the following page, null at the end."""

    items: list[IntegrationView]
    next: str | None


class VersionPage(msgspec.Struct, frozen=True, kw_only=True):
    """Versions, the newest first; `next` is the `cursor` of the following page, null at the end."""

    items: list[VersionView]
    next: str | None


class ConfigView(msgspec.Struct, frozen=True, kw_only=True):
    """A config variable. An instance has to set it where it is `required` and has no `default`; `choices` are all that it may be,
    empty where anything."""

    name: str
    type: str
    description: str
    required: bool
    default: Any
    choices: list[Any]


class SlotView(msgspec.Struct, frozen=True, kw_only=True):
    """A connection that an instance fills; `type` is empty where any of the connector's will do."""

    name: str
    connector: str
    type: str
    description: str


class FlowView(msgspec.Struct, frozen=True, kw_only=True):
    """A flow, and what starts it."""

    name: str
    trigger: str
    description: str


class VersionShown(VersionView, frozen=True, kw_only=True):
    """A version, with what an instance of it needs and has."""

    config: list[ConfigView]
    connections: list[SlotView]
    flows: list[FlowView]


class Compare(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Two versions."""

    before: Annotated[str, msgspec.Meta(max_length=200)]
    after: Annotated[str, msgspec.Meta(max_length=200)]


class Differences(msgspec.Struct, frozen=True, kw_only=True):
    """What `after` has more (+), less (-) and otherwise (~): a sign, a space and a name each."""

    config: list[str]
    connections: list[str]
    flows: list[str]


async def _known(parts: Parts, principal: Principal) -> frozenset[str] | None:
    """The integrations that a key knows of; None: all."""
    if principal.customer is None:
        return None
    return frozenset([one.deployed.integration async for one in parts.deployments.of(principal.customer)])


async def published(parts: Parts, principal: Principal, integration: str, version: str = "") -> Version:
    """That version, or the newest. `NotFound` says the same of what there is not and of what the key does not know of."""
    known = await _known(parts, principal)
    try:
        if known is not None and integration not in known:
            raise NotFound("published integration", integration)
        return await parts.versions.get(integration, version)
    except NotFound as error:
        raise NotFound(error.kind, error.name) from None


async def search(parts: Parts, call: Call[Paged, Nothing]) -> Answer:
    query, after, known = call.query, position(call.query.cursor), await _known(parts, call.principal)
    every = await parts.versions.integrations()
    found = [one for one in every if one[0] > after and (known is None or one[0] in known)][: query.limit]
    shown = [{"name": name, "newest": version_view(kept[0]), "versions": len(kept)} for name, kept in found]
    return Answer(body=page(shown, query.limit, found[-1][0] if found else ""))


async def show(parts: Parts, call: Call[Nothing, Nothing]) -> Answer:
    newest = await published(parts, call.principal, call.path["integration"])
    versions = await parts.versions.of(newest.integration)
    body = {"name": newest.integration, "newest": version_view(newest), "versions": len(versions)}
    return Answer(body=body)


async def versions(parts: Parts, call: Call[Paged, Nothing]) -> Answer:
    query, after = call.query, position(call.query.cursor)
    newest = await published(parts, call.principal, call.path["integration"])
    found = [version_view(one) for one in await parts.versions.of(newest.integration)]
    if after:
        names = [one["version"] for one in found]
        if after not in names:
            raise wrong_cursor()
        found = found[names.index(after) + 1 :]
    found = found[: query.limit]
    return Answer(body=page(found, query.limit, found[-1]["version"] if found else ""))


async def show_version(parts: Parts, call: Call[Nothing, Nothing]) -> Answer:
    version = await published(parts, call.principal, call.path["integration"], call.path["version"])
    try:
        integration = (await parts.versions.bundle(version.bundle)).integration
    except NotFound:
        raise ProblemError(409, "the content of this version is not kept where this is served") from None
    return Answer(body={**version_view(version), **_declared(integration)})


async def compare(parts: Parts, call: Call[Compare, Nothing]) -> Answer:
    name, query = call.path["integration"], call.query
    before = await published(parts, call.principal, name, query.before)
    after = await published(parts, call.principal, name, query.after)
    try:
        found = await parts.versions.differences(before, after)
    except NotFound:
        raise ProblemError(409, "the content of these versions is not kept where this is served") from None
    return Answer(body={what: list(changes) for what, changes in found.items()})


def version_view(version: Version) -> dict[str, Any]:
    return {
        "integration": version.integration,
        "version": version.version,
        "description": version.description,
        "bundle": version.bundle,
        "published_at": time_text(version.published_at),
    }


def _declared(integration: Integration) -> dict[str, Any]:
    return {
        "config": [
            {
                "name": one.name,
                "type": one.type.value,
                "description": one.description,
                "required": one.required,
                "default": one.default,
                "choices": list(one.choices),
            }
            for one in integration.config.values()
        ],
        "connections": [
            {"name": one.name, "connector": one.connector, "type": one.type, "description": one.description}
            for one in integration.connections.values()
        ],
        "flows": [
            {"name": one.name, "trigger": one.trigger.type, "description": one.description}
            for one in integration.flows.values()
        ],
    }


_ONE: Final = "/integrations/{integration}"

ENDPOINTS: Final[tuple[Endpoint[Any, Any], ...]] = (
    Endpoint(
        method="GET",
        path="/integrations",
        name="listIntegrations",
        summary="Published integrations, by name",
        handle=search,
        query=Paged,
        answer=IntegrationPage,
        tag="integrations",
    ),
    Endpoint(
        method="GET",
        path=_ONE,
        name="showIntegration",
        summary="A published integration",
        handle=show,
        answer=IntegrationView,
        tag="integrations",
    ),
    Endpoint(
        method="GET",
        path=f"{_ONE}/versions",
        name="listVersions",
        summary="The versions of an integration, the newest first",
        handle=versions,
        query=Paged,
        answer=VersionPage,
        tag="integrations",
    ),
    Endpoint(
        method="GET",
        path=f"{_ONE}/versions/{{version}}",
        name="showVersion",
        summary="A version, with the config variables, connections and flows that it has",
        handle=show_version,
        answer=VersionShown,
        refusals=(409,),
        tag="integrations",
    ),
    Endpoint(
        method="GET",
        path=f"{_ONE}/differences",
        name="compareVersions",
        summary="What one version has more, less and otherwise than another",
        handle=compare,
        query=Compare,
        answer=Differences,
        refusals=(409,),
        tag="integrations",
    ),
)
