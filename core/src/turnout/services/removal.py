"""What goes on with instances and customers after the call that asked for it: lifecycle flows, and deletion, which waits.

Each step is found in the catalog by when it is due, and may be taken by several processes at once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from turnout.engine.history import History
from turnout.errors import NotFound
from turnout.interfaces.clock import Clock
from turnout.interfaces.journal import Journal
from turnout.interfaces.records import ExecutionQuery, RecordStore
from turnout.interfaces.service import Invocation, Needs, Route, Service, Timer
from turnout.model.execution import ErrorInfo, Status
from turnout.services.customers import Customer, Customers, CustomerState
from turnout.services.documents import Document
from turnout.services.erasure import Erasure
from turnout.services.ids import new_execution_id
from turnout.services.instance_documents import Deployed, InstanceState, Lifecycle
from turnout.services.instances import SEEN_S, Deployment, Deployments
from turnout.services.lifecycle import LifecycleFlows, flow_of

__all__ = ["Removal", "RemovalParts", "Upkeep"]

_LOOK_S: Final = 2.0
_PAGE: Final = 500
_UNENDED: Final = tuple(status for status in Status if not status.final)
_SETTLED_S: Final = 2 * SEEN_S
"""After this nobody takes in anything more, having read the instance as it was before."""
_LATE_S: Final = 30.0
"""For so long who had begun before a customer was erased may still write of it: an alert of what it had read, a token that a provider
had been asked for. Then it is erased once more, and its keys go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovalParts:
    """`recorded` brings the records up to date, `cancel` ends an execution, `revoke_keys` makes a customer's API keys open nothing."""

    clock: Clock
    journal: Journal
    records: RecordStore
    customers: Customers
    deployments: Deployments
    lifecycle: LifecycleFlows
    recorded: Callable[[], Awaitable[object]]
    cancel: Callable[[str, str], Awaitable[bool]]
    revoke_keys: Callable[[str], Awaitable[object]]
    erasure: Erasure


class Removal:
    """Takes deletions a step further, whenever it is asked to."""

    def __init__(self, parts: RemovalParts) -> None:
        self._parts = parts

    async def instance(self, customer: str, name: str, *, force: bool = False) -> str:
        """What an instance that is being deleted still waits for, for people; empty once it is gone. `force` cancels what runs, and
        waits for no `on_delete`."""
        document = await self._parts.deployments.documents.get(name, tenant=customer)
        if document is None:
            return ""
        if document.value.state is not InstanceState.DELETING:
            return "nothing: it is not being deleted"
        waiting = await self._waiting(document, force=force)
        if waiting:
            return waiting
        await self._parts.erasure.instance(customer, name, document.value)
        await self._parts.deployments.documents.remove(name, tenant=customer)
        return ""

    async def customer(self, name: str, *, force: bool = False) -> str:
        """As `instance`, for a customer with everything that is theirs. Nothing of it runs any more once it begins to be erased."""
        parts = self._parts
        found = await parts.customers.documents.get(name)
        if found is None:
            return ""
        if found.value.state is not CustomerState.DELETING:
            return "nothing: it is not being deleted"
        await parts.revoke_keys(name)
        waiting = []
        async for deployment in parts.deployments.of(name):
            if deployment.deployed.state is not InstanceState.DELETING:
                await parts.deployments.delete(name, deployment.name)
            if said := await self.instance(name, deployment.name, force=force):
                waiting.append(f"instance {deployment.name}: {said}")
        if waiting:
            return "; ".join(waiting)
        return await self._erase(found)

    async def _erase(self, document: Document[Customer]) -> str:
        """Twice, and in between whoever had begun before comes to an end. It has an end only in the catalog, so that it goes on
        wherever it was cut short."""
        parts, name = self._parts, document.name
        removed = await parts.erasure.customer(name)
        now, since = parts.clock.now(), document.value.erased_at
        if since is None or (removed and now >= since + _LATE_S):
            since = now
            after = replace(document.value, erased_at=now)
            if not await parts.customers.documents.replace(document, after, due=now + _LATE_S):
                return "another process, which erases it at this moment"
        if now < since + _LATE_S:
            return f"{since + _LATE_S - now:.0f} s, in which others may still write what they had begun; everything else is gone"
        await parts.erasure.data_keys(name)
        await parts.customers.documents.remove(name)
        return ""

    async def _waiting(self, document: Document[Deployed], *, force: bool) -> str:
        parts, customer, name = self._parts, document.tenant, document.name
        left = document.value.changed_at + _SETTLED_S - parts.clock.now()
        if left > 0:
            return await self._later(document, "everybody to have seen it", within_s=left)
        lifecycle = document.value.lifecycle
        of_delete = lifecycle.execution if lifecycle is not None else ""
        running = await self._running(customer, name, of_delete if not force else "")
        if running and force:
            for id in running:
                await parts.cancel(id, "its instance is deleted")
            running = await self._running(customer, name, "")
        if running:
            more = "" if len(running) < _PAGE else " or more"
            told = f"{len(running)}{more} of its executions, which have not ended: {', '.join(running[:3])}"
            return await self._later(document, told + (", …" if len(running) > 3 else ""))
        return "" if force else await self._on_delete(document)

    async def _on_delete(self, document: Document[Deployed]) -> str:
        parts = self._parts
        deployment = Deployment(customer=document.tenant, name=document.name, deployed=document.value)
        try:
            instance = await parts.deployments.instance_of(deployment)
        except NotFound as error:
            return await self._stuck(document, f"its version cannot be loaded ({error})")
        if flow_of(instance.integration, "on_delete") is None:
            return ""
        lifecycle = document.value.lifecycle
        if lifecycle is None:
            lifecycle = Lifecycle(event="delete", id=new_execution_id(parts.clock.now()))
            if not await self._write(document, lifecycle, due=parts.clock.now()):
                return "another process, which looks after it at this moment"
        if not lifecycle.execution:
            deployed = replace(document.value, lifecycle=lifecycle)
            execution = await parts.lifecycle.start(instance, deployed)
            return f"its on_delete, execution {execution}"
        status, fault = await self._end(lifecycle.execution)
        if status is Status.SUCCEEDED:
            return ""
        if status is None:
            return await self._later(document, f"its on_delete, execution {lifecycle.execution}")
        why = f": {fault.message}" if fault is not None else ""
        return await self._stuck(document, f"its on_delete {status.value} (execution {lifecycle.execution}){why}")

    async def _running(self, customer: str, name: str, but: str) -> list[str]:
        await self._parts.recorded()
        query = ExecutionQuery(tenant=customer, instance=name, statuses=_UNENDED, parent="", limit=_PAGE)
        return [record.info.id for record in await self._parts.records.search(query) if record.info.id != but]

    async def _end(self, id: str) -> tuple[Status | None, ErrorInfo | None]:
        rows = await self._parts.journal.rows(id)
        if rows:
            ended = History.of(rows).ended
            return (None, None) if ended is None else (ended.status, ended.error)
        record = await self._parts.records.get(id)
        if record is None:
            return Status.CANCELLED, ErrorInfo(kind="lost", message="nothing is known of it any more")
        return (record.status, record.error) if record.status.final else (None, None)

    async def _later(self, document: Document[Deployed], what: str, *, within_s: float = _LOOK_S) -> str:
        await self._write(document, document.value.lifecycle, due=self._parts.clock.now() + within_s)
        return what

    async def _stuck(self, document: Document[Deployed], why: str) -> str:
        """Nothing goes on by itself: a person resumes the execution, or deletes by force."""
        lifecycle = document.value.lifecycle
        if lifecycle is not None and lifecycle.trouble != why:
            await self._write(document, replace(lifecycle, trouble=why), due=self._parts.clock.now() + 60.0)
        else:
            await self._later(document, why, within_s=60.0)
        return f"a person, since {why}: resume that execution, or delete by force"

    async def _write(self, document: Document[Deployed], lifecycle: Lifecycle | None, *, due: float) -> bool:
        after = replace(document.value, lifecycle=lifecycle)
        return await self._parts.deployments.documents.replace(document, after, due=due)

    async def due(self, invocation: Invocation) -> None:
        """Everything that is due, while there is time."""
        parts = self._parts
        now = parts.clock.now()
        for document in await parts.deployments.documents.due(now, limit=_PAGE):
            if invocation.remaining_s() < 1.0:
                return
            if document.value.state is InstanceState.DELETING:
                await self.instance(document.tenant, document.name)
            else:
                await self._begun(document)
        for customer in await parts.customers.documents.due(now):
            if customer.value.state is CustomerState.DELETING and invocation.remaining_s() > 1.0:
                await self.customer(customer.name)

    async def _begun(self, document: Document[Deployed]) -> None:
        """A lifecycle flow that whoever asked for it did not live to start; then nothing is due any more."""
        parts = self._parts
        deployment = Deployment(customer=document.tenant, name=document.name, deployed=document.value)
        await parts.lifecycle.start(await parts.deployments.instance_of(deployment), document.value)
        found = await parts.deployments.documents.get(document.name, tenant=document.tenant)
        if found is not None and found.value.state is not InstanceState.DELETING:
            await parts.deployments.documents.replace(found, found.value, due=None)


class Upkeep(Service):
    """The service `instances`: starts lifecycle flows that were left behind, and finishes deletions."""

    name = "instances"
    needs = Needs(call_s=60.0)

    def __init__(self, removal: Removal) -> None:
        self._removal = removal

    def routes(self) -> Sequence[Route]:
        return ()

    def timers(self) -> Sequence[Timer]:
        return (Timer(name="instances", every_s=_LOOK_S, handle=self._removal.due),)

    async def start(self) -> None:
        """Nothing runs of its own."""

    async def stop(self) -> None:
        """Nothing runs of its own."""
