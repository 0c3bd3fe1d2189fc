"""Instances: versions of integrations deployed to customers, and all that becomes of them until they are deleted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

from turnout.definition.nearest import hint_for
from turnout.errors import Changed, NotFound, Paused, SettingsError, TurnoutError, UserError
from turnout.interfaces.catalog import CatalogStore
from turnout.interfaces.clock import Clock
from turnout.model.definition import Integration
from turnout.services.connections import Connections
from turnout.services.customers import LOCAL_TENANT, Customers, CustomerState
from turnout.services.documents import Document
from turnout.services.ids import new_execution_id
from turnout.services.instance_documents import Deployed, InstanceState, Lifecycle, Release, deployed_of
from turnout.services.instance_settings import SettingsStore
from turnout.services.lifecycle import LifecycleFlows, flow_of
from turnout.services.names import check_name
from turnout.services.recent import Recent
from turnout.services.release_checks import Checked, Given, check_release
from turnout.services.submission import Instance
from turnout.services.versions import Version, Versions

__all__ = ["PAUSED_S", "SEEN_S", "Changes", "Deployment", "DeploymentParts", "Deployments", "Local", "NewInstance"]

SEEN_S: Final = 1.0
"""How long a process may go on with what it has read of an instance."""
PAUSED_S: Final = 60.0
"""When senders are asked to come back to an instance that is paused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewInstance:
    """What to deploy: a version (the newest where it is empty) with config values, and connections of the customer by slot. A
    slot that is not named takes the connection that is called like it."""

    integration: str
    version: str = ""
    config: Mapping[str, Any] = field(default_factory=dict, repr=False)
    connections: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What an instance is to have otherwise. `version` empty: the one that it has. Config values in `unset` get their
    defaults again; what is named nowhere stays. `expected` is the revision that somebody has seen: `Changed` if it is another."""

    version: str = ""
    config: Mapping[str, Any] = field(default_factory=dict, repr=False)
    unset: tuple[str, ...] = ()
    connections: Mapping[str, str] = field(default_factory=dict)
    expected: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """An instance as it is kept, under which revision, and, of an operation that checked it, what people should know."""

    customer: str
    name: str
    deployed: Deployed
    notes: tuple[str, ...] = ()
    revision: int = 0


class Local(Protocol):
    """The instances of the project's own files, as this process has read them."""

    def all(self) -> Sequence[Instance]: ...

    async def get(self, name: str) -> Instance: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentParts:
    """What deployments are made of. `beside` refuses, with a `SettingsError`, an instance that must not be beside the others."""

    catalog: CatalogStore
    clock: Clock
    customers: Customers
    versions: Versions
    connections: Connections
    settings: SettingsStore
    lifecycle: LifecycleFlows
    local: Local
    beside: Callable[[Instance], Awaitable[None]]


class Deployments:
    """The instances of all customers, and, for who starts executions, those of the project's own files."""

    def __init__(self, parts: DeploymentParts) -> None:
        self._parts = parts
        self.documents = deployed_of(parts.catalog)
        self._recent: Recent[tuple[str, str], tuple[Deployed, Instance]] = Recent(
            parts.clock, self._read, valid_s=SEEN_S
        )

    async def deploy(self, customer: str, name: str, new: NewInstance) -> Deployment:
        """Make an instance and start its `on_deploy`. `SettingsError` lists all that is missing or wrong, and then nothing was
        made; `UserError` that there is one of that name."""
        check_name("instance", name)
        await self._serving(customer)
        version = await self._parts.versions.get(new.integration, new.version)
        checked = await self._checked(version, customer, Given(config=new.config, connections=new.connections))
        checked.require(f"instance {name!r} cannot be deployed")
        release = await self._release(customer, name, version, checked)
        deployed = Deployed(
            integration=version.integration,
            current=release,
            lifecycle=await self._event("deploy", release),
            created_at=release.since,
            changed_at=release.since,
        )
        if not await self.documents.create(name, deployed, tenant=customer, due=_due(deployed)):
            raise UserError(
                f"customer {customer!r} has an instance {name!r} already: upgrade that one, or deploy under another name"
            )
        await self._kept(customer, checked)
        return await self._after(customer, name, checked.notes)

    async def check(self, customer: str, name: str, changes: Changes) -> Checked:
        """What `upgrade` would say, without changing anything."""
        document = await self._document(customer, name)
        _, checked = await self._changed(document, changes)
        return checked

    async def upgrade(self, customer: str, name: str, changes: Changes) -> Deployment:
        """Go to another version, or change config values and connections, and start `on_deploy`. Executions that were accepted
        go on with what they began with. `SettingsError` as `deploy`, `Changed` as somebody else changes it."""
        document = await self._document(customer, name)
        if changes.expected not in (None, document.revision):
            raise _changed(name)
        version, checked = await self._changed(document, changes)
        before = document.value
        checked.require(f"instance {name!r} cannot go from {before.current.version} to {version.version}")
        release = await self._release(customer, name, version, checked)
        same = replace(release, since=before.current.since) == before.current
        if same:
            return replace(_deployment(document), notes=("there is nothing to change",))
        event = "upgrade" if release.bundle != before.current.bundle else "settings"
        after = replace(
            before,
            current=release,
            previous=before.current,
            lifecycle=await self._event(event, release, before.current.version),
            changed_at=release.since,
        )
        await self._write(document, after)
        await self._kept(customer, checked)
        return await self._after(customer, name, checked.notes)

    async def rollback(self, customer: str, name: str) -> Deployment:
        """Go back to the version before with the config values and connections it had; again, and it is as it was. `UserError` if
        there is none, or a connection of it is gone."""
        document = await self._document(customer, name)
        before = document.value
        if before.previous is None:
            raise UserError(
                f"instance {name!r} has had no version but {before.current.version}: there is nothing to go back to"
            )
        await self._parts.versions.admitted(before.previous.bundle)
        gone = [
            f"connection {slot!r}: there is no {used!r} any more"
            for slot, used in before.previous.connections.items()
            if await self._parts.connections.documents.get(used, tenant=customer) is None
        ]
        if gone:
            raise SettingsError(f"instance {name!r} cannot go back to {before.previous.version}: {'; '.join(gone)}")
        now = self._parts.clock.now()
        release = replace(before.previous, since=now)
        after = replace(
            before,
            current=release,
            previous=before.current,
            lifecycle=await self._event("rollback", release, before.current.version),
            changed_at=now,
        )
        await self._write(document, after)
        return await self._after(customer, name)

    async def pause(self, customer: str, name: str) -> Deployment:
        """Take nothing more in: webhooks are answered 503 with Retry-After, nothing is scheduled. What runs goes on."""
        return await self._set(customer, name, InstanceState.PAUSED)

    async def resume(self, customer: str, name: str) -> Deployment:
        return await self._set(customer, name, InstanceState.ACTIVE)

    async def delete(self, customer: str, name: str) -> Deployment:
        """Begin to delete: nothing is taken in any more. `Removal` does the rest, when what runs has ended and `on_delete` has
        run."""
        document = await self._document(customer, name, deleting=True)
        if document.value.state is not InstanceState.DELETING:
            now = self._parts.clock.now()
            after = replace(document.value, state=InstanceState.DELETING, lifecycle=None, changed_at=now)
            await self._write(document, after, due=now)
        return await self.show(customer, name)

    async def show(self, customer: str, name: str) -> Deployment:
        """`NotFound` names the nearest."""
        document = await self._document(customer, name, deleting=True)
        return _deployment(document)

    async def of(self, customer: str) -> AsyncIterator[Deployment]:
        """A customer's instances by name."""
        async for document in self.documents.all(tenant=customer):
            yield _deployment(document)

    async def page(self, customer: str, *, after: str = "", limit: int = 100) -> Sequence[Deployment]:
        """A customer's instances by name, those after `after`."""
        return [_deployment(one) for one in await self.documents.page(tenant=customer, after=after, limit=limit)]

    async def all(self) -> AsyncIterator[Deployment]:
        """Those of all customers."""
        async for customer, _ in self._parts.customers.all():
            async for deployment in self.of(customer):
                yield deployment

    async def config(self, customer: str, name: str) -> Mapping[str, Any]:
        """The config values that were given to an instance, those of defaults left out."""
        release = (await self.show(customer, name)).deployed.current
        return await self._given(customer, release)

    async def get(self, customer: str, name: str) -> Instance:
        """What an execution that is accepted now runs, at most a second old. `NotFound`; `Paused` says why nothing is taken in."""
        if customer == LOCAL_TENANT:
            return await self._parts.local.get(name)
        deployed, instance = await self._recent.get((customer, name))
        state = (await self._parts.customers.recent(customer)).state
        if state is not CustomerState.ACTIVE:
            raise Paused(f"customer {customer!r} is {_word(state)}: nothing is taken in", retry_after_s=PAUSED_S)
        if deployed.state is not InstanceState.ACTIVE:
            word = _word(deployed.state)
            raise Paused(
                f"instance {name!r} of customer {customer!r} is {word}: nothing is taken in", retry_after_s=PAUSED_S
            )
        return instance

    async def active(self) -> AsyncIterator[Instance]:
        """All instances that take something in, those of the project's own files first. One whose version is not here is left
        out."""
        for instance in self._parts.local.all():
            yield instance
        async for customer, found in self._parts.customers.all():
            if found.state is not CustomerState.ACTIVE:
                continue
            async for deployment in self.of(customer):
                if deployment.deployed.state is not InstanceState.ACTIVE:
                    continue
                try:
                    yield await self.instance_of(deployment)
                except TurnoutError:
                    continue

    async def instance_of(self, deployment: Deployment) -> Instance:
        """What it runs, whatever its state. `NotFound` if its bundle is not here."""
        release = deployment.deployed.current
        bundle = await self._parts.versions.bundle(release.bundle)
        return Instance(
            name=deployment.name,
            tenant=deployment.customer,
            integration=bundle.integration,
            bundle=bundle.hash,
            settings=release.settings,
        )

    async def _read(self, key: tuple[str, str]) -> tuple[Deployed, Instance]:
        customer, name = key
        document = await self.documents.get(name, tenant=customer)
        if document is None:
            raise NotFound("instance", name)  # without a hint: whoever sends webhooks is told no other names
        deployment = Deployment(customer=customer, name=name, deployed=document.value)
        return document.value, await self.instance_of(deployment)

    async def _serving(self, customer: str) -> None:
        if (await self._parts.customers.get(customer)).state is CustomerState.DELETING:
            raise UserError(f"customer {customer!r} is being deleted")

    async def _document(self, customer: str, name: str, *, deleting: bool = False) -> Document[Deployed]:
        document = await self.documents.get(name, tenant=customer)
        if document is None:
            await self._parts.customers.get(customer)
            known = [found.name for found in await self.documents.page(tenant=customer)]
            raise NotFound("instance", name, hint=hint_for(name, known) or f"customer {customer!r} has none")
        if document.value.state is InstanceState.DELETING and not deleting:
            raise UserError(f"instance {name!r} is being deleted")
        return document

    async def _checked(self, version: Version, customer: str, given: Given) -> Checked:
        bundle = await self._parts.versions.admitted(version.bundle)
        return await check_release(bundle, customer, given, self._parts.connections)

    async def _changed(self, document: Document[Deployed], changes: Changes) -> tuple[Version, Checked]:
        current, customer = document.value.current, document.tenant
        version = await self._parts.versions.get(document.value.integration, changes.version or current.version)
        kept = await self._given(customer, current)
        config = {**{name: value for name, value in kept.items() if name not in changes.unset}, **changes.config}
        connections = {**current.connections, **changes.connections}
        new = {*changes.config, *changes.connections}
        given = Given(config=config, connections=connections, kept=frozenset({*kept, *current.connections} - new))
        return version, await self._checked(version, customer, given)

    async def _given(self, customer: str, release: Release) -> Mapping[str, Any]:
        settings = await self._parts.settings.settings(customer, release.settings)
        return {name: settings.config[name] for name in release.given if name in settings.config}

    async def _release(self, customer: str, name: str, version: Version, checked: Checked) -> Release:
        parts = self._parts
        digest = await parts.settings.save(customer, checked.config, checked.connections)
        integration: Integration = (await parts.versions.bundle(version.bundle)).integration
        instance = Instance(name=name, tenant=customer, integration=integration, bundle=version.bundle, settings=digest)
        await parts.beside(instance)
        return Release(
            version=version.version,
            bundle=version.bundle,
            settings=digest,
            given=checked.given,
            connections=checked.connections,
            since=parts.clock.now(),
        )

    async def _kept(self, customer: str, checked: Checked) -> None:
        """Whoever deletes an instance with the same settings at this moment may have removed them before this one named them."""
        await self._parts.settings.save(customer, checked.config, checked.connections)

    async def _event(self, event: str, release: Release, before: str = "") -> Lifecycle | None:
        integration = (await self._parts.versions.bundle(release.bundle)).integration
        if flow_of(integration, "on_deploy") is None:
            return None
        return Lifecycle(event=event, id=new_execution_id(self._parts.clock.now()), version_before=before)

    async def _set(self, customer: str, name: str, state: InstanceState) -> Deployment:
        document = await self._document(customer, name)
        if document.value.state is not state:
            after = replace(document.value, state=state, changed_at=self._parts.clock.now())
            await self._write(document, after, due=document.due)
        return await self.show(customer, name)

    async def _write(self, document: Document[Deployed], after: Deployed, *, due: float | None = None) -> None:
        if not await self.documents.replace(document, after, due=_due(after) if due is None else due):
            raise _changed(document.name)
        self._recent.forget((document.tenant, document.name))

    async def _after(self, customer: str, name: str, notes: tuple[str, ...] = ()) -> Deployment:
        """Start what is to run now that the change is written. Should this process die before it has, the upkeep does it."""
        deployment = await self.show(customer, name)
        if deployment.deployed.lifecycle is not None:
            await self._parts.lifecycle.start(await self.instance_of(deployment), deployment.deployed)
        return replace(await self.show(customer, name), notes=notes)


def _deployment(document: Document[Deployed]) -> Deployment:
    return Deployment(customer=document.tenant, name=document.name, deployed=document.value, revision=document.revision)


def _changed(name: str) -> Changed:
    return Changed(f"instance {name!r} was changed by somebody else just now: look at it and try again")


def _due(deployed: Deployed) -> float | None:
    lifecycle = deployed.lifecycle
    return deployed.changed_at if lifecycle is not None and not lifecycle.execution else None


def _word(state: InstanceState | CustomerState) -> str:
    return "being deleted" if state.value == "deleting" else state.value
