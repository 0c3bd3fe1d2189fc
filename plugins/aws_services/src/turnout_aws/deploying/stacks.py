"""CloudFormation's stacks, as far as deploying needs them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from turnout.errors import BackendError
from turnout.interfaces.clock import Clock

from turnout_aws.clients import CallFailed, call

__all__ = ["NOTHING", "Event", "Stack", "Stacks"]

_POLL_S: Final = 3.0
_THERE: Final = "does not exist"
NOTHING: Final = ("didn't contain changes", "No updates are to be performed")
"""How CloudFormation says that nothing would change, which is a failure to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """As it was when it was asked for."""

    id: str
    name: str
    status: str
    changed_at: datetime | None
    tags: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)
    protected: bool = False

    @property
    def busy(self) -> bool:
        return self.status.endswith("_IN_PROGRESS") and not self.in_review

    @property
    def in_review(self) -> bool:
        """It has a change set and nothing else."""
        return self.status == "REVIEW_IN_PROGRESS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    id: str
    resource: str
    type: str
    status: str
    reason: str
    of_stack: bool

    @property
    def failed(self) -> bool:
        """Whether this is why, and not what was given up because of it."""
        return self.status.endswith("_FAILED") and "cancelled" not in self.reason


class Stacks:
    """`client` is boto3's. Each answer is as new as CloudFormation has it; `clock` waits between them."""

    def __init__(self, client: Any, clock: Clock) -> None:
        self._client = client
        self._clock = clock

    async def find(self, name: str) -> Stack | None:
        """By name or id; one that was deleted by its id alone."""
        try:
            answer = await call(f"stack {name}", self._client.describe_stacks, StackName=name)
        except CallFailed as error:
            if error.code == "ValidationError" and _THERE in str(error):
                return None
            raise
        return _stack(answer["Stacks"][0])

    async def all(self) -> AsyncIterator[Stack]:
        token: dict[str, str] = {}
        while True:
            answer = await call("the list of stacks", self._client.describe_stacks, **token)
            for one in answer["Stacks"]:
                yield _stack(one)
            if not answer.get("NextToken"):
                return
            token = {"NextToken": answer["NextToken"]}

    async def template(self, stack: Stack) -> Mapping[str, Any]:
        """As it was given; nothing where it is none of ours, which are JSON."""
        answer = await call(f"the template of {stack.name}", self._client.get_template, StackName=stack.id)
        body = answer.get("TemplateBody") or {}
        if isinstance(body, str):
            try:
                body = json.loads(body)
            except ValueError:
                return {}
        return body if isinstance(body, Mapping) else {}

    async def propose(self, **change_set: Any) -> Mapping[str, Any] | None:
        """Make the change set, wait until CloudFormation has worked it out, and return all of it, `Changes` of all pages; None
        where it is refused at once because nothing changes."""
        name = change_set["StackName"]
        try:
            made = await call(f"change set of {name}", self._client.create_change_set, **change_set)
        except CallFailed as error:
            if any(text in str(error) for text in NOTHING):
                return None
            raise
        named = {"StackName": made["StackId"], "ChangeSetName": made["Id"]}
        while True:
            answer = await self._asked(f"change set of {name}", self._client.describe_change_set, **named)
            if answer is not None and answer["Status"] in {"CREATE_COMPLETE", "FAILED"}:
                break
            await self._clock.sleep(_POLL_S)
        changes, page = list(answer.get("Changes", ())), answer
        while page.get("NextToken"):
            page = await call(
                f"change set of {name}", self._client.describe_change_set, NextToken=page["NextToken"], **named
            )
            changes += page.get("Changes", ())
        return {**answer, "StackId": made["StackId"], "ChangeSetId": made["Id"], "Changes": changes}

    async def discard(self, change_set: Mapping[str, Any], *, stack_too: bool) -> None:
        """`stack_too`: also the stack in review that was made along with it."""
        what = f"change set of {change_set['StackName']}"
        await call(
            what,
            self._client.delete_change_set,
            StackName=change_set["StackId"],
            ChangeSetName=change_set["ChangeSetId"],
        )
        if stack_too:
            await call(what, self._client.delete_stack, StackName=change_set["StackId"])

    async def execute(self, change_set: Mapping[str, Any]) -> None:
        await call(
            f"change set of {change_set['StackName']}",
            self._client.execute_change_set,
            StackName=change_set["StackId"],
            ChangeSetName=change_set["ChangeSetId"],
        )

    async def delete(self, stack: Stack) -> None:
        await call(f"deletion of {stack.name}", self._client.delete_stack, StackName=stack.id)

    async def seen(self, stack_id: str) -> set[str]:
        """The ids of the latest events: what is not among them comes later."""
        answer = await call("events", self._client.describe_stack_events, StackName=stack_id)
        return {one["EventId"] for one in answer["StackEvents"]}

    async def follow(self, stack_id: str, seen: set[str]) -> AsyncIterator[Event]:
        """Events that are not `seen`, as they come; the last one is the stack's own, at rest. A call that is throttled is made
        again later."""
        while True:
            for event in await self._new_events(stack_id, seen):
                seen.add(event.id)
                yield event
                if event.of_stack and not event.status.endswith("_IN_PROGRESS"):
                    return
            await self._clock.sleep(_POLL_S)

    async def at_rest(self, stack: Stack, tell: Callable[[str], None]) -> Stack | None:
        """The stack once nobody changes it; None where it was deleted."""
        told = False
        now: Stack | None = stack
        while now is not None and now.busy:
            if not told:
                tell(f"{stack.name}: {now.status}: waiting until that has ended")
                told = True
            await self._clock.sleep(_POLL_S)
            now = await self.find(stack.id)
        return None if now is None or now.status == "DELETE_COMPLETE" else now

    async def resources(self, stack: Stack) -> list[tuple[str, str, str]]:
        """Logical id, type, and what AWS calls it, of all that is there."""
        found, token = [], dict[str, str]()
        while True:
            answer = await call(
                f"resources of {stack.name}", self._client.list_stack_resources, StackName=stack.id, **token
            )
            found += [
                (one["LogicalResourceId"], one["ResourceType"], one.get("PhysicalResourceId", ""))
                for one in answer["StackResourceSummaries"]
                if one["ResourceStatus"] != "DELETE_COMPLETE"
            ]
            if not answer.get("NextToken"):
                return found
            token = {"NextToken": answer["NextToken"]}

    async def _new_events(self, stack_id: str, seen: set[str]) -> list[Event]:
        """Oldest first. CloudFormation gives the newest first, a page at a time."""
        new: list[Event] = []
        token: dict[str, str] = {}
        while True:
            answer = await self._asked("events", self._client.describe_stack_events, StackName=stack_id, **token)
            if answer is None:
                return []
            page = [_event(one) for one in answer["StackEvents"]]
            new += [one for one in page if one.id not in seen]
            if not answer.get("NextToken") or any(one.id in seen for one in page):
                return new[::-1]
            token = {"NextToken": answer["NextToken"]}

    async def _asked(self, what: str, function: Callable[..., Any], **parameters: Any) -> Any:
        """None where the same call may well succeed later."""
        try:
            return await call(what, function, **parameters)
        except CallFailed as error:
            if error.throttled:
                await self._clock.sleep(error.retry_after_s or 0)
                return None
            raise BackendError(f"{error}; what was begun goes on in the cloud: `turnout status` shows it") from error


def _stack(told: Mapping[str, Any]) -> Stack:
    return Stack(
        id=told["StackId"],
        name=told["StackName"],
        status=told["StackStatus"],
        changed_at=told.get("LastUpdatedTime") or told.get("CreationTime"),
        tags={one["Key"]: one["Value"] for one in told.get("Tags", ())},
        parameters={one["ParameterKey"]: one.get("ParameterValue", "") for one in told.get("Parameters", ())},
        outputs={one["OutputKey"]: one["OutputValue"] for one in told.get("Outputs", ())},
        protected=bool(told.get("EnableTerminationProtection")),
    )


def _event(told: Mapping[str, Any]) -> Event:
    return Event(
        id=told["EventId"],
        resource=told.get("LogicalResourceId", ""),
        type=told.get("ResourceType", ""),
        status=told.get("ResourceStatus", ""),
        reason=told.get("ResourceStatusReason", ""),
        of_stack=told.get("PhysicalResourceId") == told["StackId"],
    )
