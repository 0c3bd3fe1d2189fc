"""Deploying a package: parameters, artefacts, a change set, and what comes of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from turnout.errors import BackendError, UserError
from turnout.interfaces.clock import Clock

from turnout_aws.deploying.artefacts import Bucket
from turnout_aws.deploying.images import REPOSITORY, Repository
from turnout_aws.deploying.moving import SERVICES, Move, remains, services_of, together
from turnout_aws.deploying.packages import PackageFiles, stack_name
from turnout_aws.deploying.plan import (
    Change,
    capabilities,
    change_of,
    changes_of_creation,
    changes_of_deletion,
    holds_data,
)
from turnout_aws.deploying.stacks import NOTHING, Event, Stack, Stacks

__all__ = ["ARTEFACT_BUCKET", "DIGEST", "Deployer", "Plan", "digest_of", "is_of", "tags_of"]

ARTEFACT_BUCKET: Final = "ArtefactBucket"
DIGEST: Final = "turnout:digest"
_LARGEST_BODY: Final = 51_200
_GOOD: Final = frozenset({"CREATE_COMPLETE", "UPDATE_COMPLETE", "DELETE_COMPLETE"})
_STUCK: Final = {
    "CREATE_FAILED": "`turnout destroy` it, then deploy again",
    "DELETE_FAILED": "`turnout destroy` it once more",
    "ROLLBACK_FAILED": "`turnout destroy` it, then deploy again",
    "UPDATE_FAILED": "roll it back: `aws cloudformation rollback-stack`",
    "UPDATE_ROLLBACK_FAILED": "`aws cloudformation continue-update-rollback`, then deploy again",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What deploying a package does to its stack. `anew`: a creation that failed is deleted first. `moves` are of the services
    that it gains or loses; with two `phases` it gains first, and loses once another stack has what it loses."""

    stack: str
    target: str
    anew: bool
    changes: tuple[Change, ...]
    moves: tuple[Move, ...] = ()
    phases: int = 1


def tags_of(project: str, environment: str, target: str) -> dict[str, str]:
    """By which a stack is known to be Turnout's, and whose. CloudFormation hands them on to the resources."""
    tags = {"turnout:project": project, "turnout:environment": environment, "turnout:target": target}
    return {name: value for name, value in tags.items() if value}


def is_of(stack: Stack, project: str, environment: str) -> bool:
    tags = stack.tags
    return tags.get("turnout:project") == project and tags.get("turnout:environment", "") == environment


def digest_of(template: Mapping[str, Any]) -> str:
    """The digest of the package that a deployed template came from."""
    told = template.get("Metadata", {})
    return str(told.get(DIGEST, "")) if isinstance(told, Mapping) else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployer:
    """`bucket` makes the bucket of a name, and `repository` that of an ARN. `tell` is told, a line each, what goes on. `under_way` is told the name of a stack
    once CloudFormation changes it by itself, and an empty text once it has ended."""

    stacks: Stacks
    clock: Clock
    bucket: Callable[[str], Bucket]
    repository: Callable[[str], Repository]
    bucket_name: str | None
    parameters: Mapping[str, str]
    tell: Callable[[str], None]
    under_way: Callable[[str], None]

    async def deploy(self, package: PackageFiles, *, dry_run: bool, loses: bool = True) -> Plan:
        """Bring the stack to what the package says; with `dry_run` say what that would change. The same package again changes
        nothing. Unless it `loses` what the package lacks, that stays as it is. `BackendError` where CloudFormation took it back; `UserError` where something must be given or settled first."""
        name = stack_name(package.project, package.environment, package.target)
        stack = await self._stack(package, name)
        anew = stack is not None and stack.status == "ROLLBACK_COMPLETE"
        given = await self._given(package, None if anew else stack)
        if anew and stack is not None:
            if dry_run:
                changes = changes_of_creation(package.template)
                return Plan(stack=name, target=package.target, anew=True, changes=changes)
            self.tell(f"{name}: its creation failed and was taken back: it is deleted and created anew")
            await self.delete(stack)
            stack = None
        if not dry_run:
            for artefact in package.artefacts:
                await self._bucket(given).put(package.project, artefact)
        given |= await self._images(package, given, stack, dry_run=dry_run)
        if not loses and stack is not None and not stack.in_review:
            package, given = await self._together(package, stack, given)
        return await self._change(package, name, stack, given, dry_run=dry_run, anew=anew)

    async def clear(self, stack: Stack, *, dry_run: bool) -> Plan:
        """Take everything from it that runs services, and leave what holds data; delete it where nothing does."""
        target, old = stack.tags.get("turnout:target", ""), await self.stacks.template(stack)
        left = remains(old, holds_data)
        if left is None:
            if not dry_run:
                await self.delete(stack)
            return Plan(stack=stack.name, target=target, anew=False, changes=changes_of_deletion(old))
        project, environment = stack.tags["turnout:project"], stack.tags.get("turnout:environment", "")
        package = PackageFiles(
            project=project, environment=environment, target=target, template=left, artefacts=(), digest=""
        )
        given: dict[str, str | None] = dict.fromkeys(left.get("Parameters", {}))
        return await self._change(package, stack.name, stack, given, dry_run=dry_run, anew=False)

    async def delete(self, stack: Stack) -> None:
        """Delete it, and return once it is gone. `BackendError` names what could not be."""
        if stack.in_review:
            await self.stacks.delete(stack)
            return
        seen = await self.stacks.seen(stack.id)
        await self.stacks.delete(stack)
        await self._watch(stack.name, stack.id, seen)

    async def _stack(self, package: PackageFiles, name: str) -> Stack | None:
        stack = await self.stacks.find(name)
        stack = await self.stacks.at_rest(stack, self.tell) if stack is not None else None
        if stack is None or stack.in_review:
            return stack
        if not is_of(stack, package.project, package.environment):
            raise UserError(
                f"there is a stack {name!r} that is not this project's (its tags say so): rename the project or that stack"
            )
        if advice := _STUCK.get(stack.status):
            raise UserError(f"{name}: {stack.status}: {advice}")
        return stack

    async def _given(self, package: PackageFiles, stack: Stack | None) -> dict[str, str | None]:
        """Each parameter's value; None: the one that the stack has. `UserError` lists all that are missing."""
        declared = package.template.get("Parameters", {})
        before = await self._before(stack)
        known = {name: value for name, value in self.parameters.items() if name in declared}
        bucket = self.bucket_name or known.get(ARTEFACT_BUCKET) or before.get(ARTEFACT_BUCKET)
        if bucket:
            known[ARTEFACT_BUCKET] = bucket
            for one in package.artefacts:
                key = self.bucket(bucket).key(package.project, one.sha256, one.path.suffix)
                known[one.parameter] = key
        ours = {one.parameter for one in package.artefacts}
        built = {one.parameter for one in package.images} if REPOSITORY in declared else set()
        missing = [
            f"  {name}: {one.get('Description', '')}"
            for name, one in declared.items()
            if name not in known and name not in before and "Default" not in one and name not in ours | built
        ]
        if missing:
            lines = "\n".join(missing)
            raise UserError(
                f"{package.target}: give these by `--parameter NAME=VALUE` (the bucket by `--bucket`):\n{lines}"
            )
        if ours and not bucket:
            raise UserError(f"{package.target}: name the bucket that its code is uploaded to: `--bucket`")
        return {name: known.get(name) for name in declared if name in known or name in before}

    async def _images(
        self, package: PackageFiles, given: Mapping[str, str | None], stack: Stack | None, *, dry_run: bool
    ) -> dict[str, str]:
        """The address of each image that none was given for, in the repository of the parameter."""
        wanted = [one for one in package.images if given.get(one.parameter) is None]
        declared = package.template.get("Parameters", {}).get(REPOSITORY)
        if not wanted or declared is None:
            return {}
        before = stack.parameters.get(REPOSITORY) if stack is not None and REPOSITORY in given else None
        repository = self.repository(str(given.get(REPOSITORY) or before or declared.get("Default", "")))
        return {one.parameter: await repository.provide(one, dry_run=dry_run) for one in wanted}

    async def _together(
        self, package: PackageFiles, stack: Stack, given: Mapping[str, str | None]
    ) -> tuple[PackageFiles, dict[str, str | None]]:
        """The package with all that the stack has beside it, and what both take."""
        declared = package.template.get("Parameters", {})
        changed = {
            name: value
            for name, value in stack.parameters.items()
            if name in declared and given.get(name, declared[name].get("Default")) not in {None, value}
        }
        old = await self.stacks.template(stack)
        template, more = together(package.template, old, changed)
        previous: dict[str, str | None] = dict.fromkeys(
            name for name in template.get("Parameters", {}) if name not in declared
        )
        services = tuple(sorted({*package.services, *services_of(old)}))
        both = replace(package, template=template, services=services, digest=f"{package.digest}-moving")
        return both, {**given, **previous, **more}

    async def _before(self, stack: Stack | None) -> Mapping[str, str]:
        """The values that somebody gave: what was the default once gives way to what is the default now."""
        if stack is None or stack.in_review:
            return {}
        declared = (await self.stacks.template(stack)).get("Parameters", {})
        defaults = {name: str(one["Default"]) for name, one in declared.items() if "Default" in one}
        return {name: value for name, value in stack.parameters.items() if defaults.get(name) != value}

    def _bucket(self, given: Mapping[str, str | None]) -> Bucket:
        name = self.bucket_name or given.get(ARTEFACT_BUCKET)
        if not name:
            raise UserError("name the bucket that what is uploaded is kept in: `--bucket`")
        return self.bucket(name)

    async def _change(
        self,
        package: PackageFiles,
        name: str,
        stack: Stack | None,
        given: dict[str, str | None],
        *,
        dry_run: bool,
        anew: bool,
    ) -> Plan:
        new = stack is None or stack.in_review
        made = await self.stacks.propose(
            StackName=name,
            ChangeSetName=f"turnout-{package.digest[:12]}-{int(self.clock.now() * 1000)}",
            ChangeSetType="CREATE" if new else "UPDATE",
            Parameters=[_parameter(key, value) for key, value in given.items()],
            Capabilities=capabilities(package.template),
            Tags=[
                {"Key": key, "Value": value}
                for key, value in tags_of(package.project, package.environment, package.target).items()
            ],
            **await self._template(package, given),
        )
        if made is None:
            return Plan(stack=name, target=package.target, anew=anew, changes=())
        made = {**made, "StackName": name}
        before: Mapping[str, Any] = {} if new or stack is None else await self.stacks.template(stack)
        changes = tuple(
            change_of(one["ResourceChange"], before, package.template)
            for one in made["Changes"]
            if one["Type"] == "Resource"
        )
        plan = Plan(stack=name, target=package.target, anew=anew, changes=changes)
        failed = made["Status"] == "FAILED"
        if failed or dry_run:
            await self.stacks.discard(made, stack_too=stack is None)
            reason = made.get("StatusReason", "")
            if failed and not any(text in reason for text in NOTHING):
                raise BackendError(f"{name}: CloudFormation refuses the change: {reason}")
            return plan
        seen = await self.stacks.seen(made["StackId"])
        await self.stacks.execute(made)
        await self._watch(name, made["StackId"], seen)
        return plan

    async def _template(self, package: PackageFiles, given: Mapping[str, str | None]) -> Mapping[str, str]:
        """The package's, which says whose it is: a tag would be handed on to each resource, and change them all each time."""
        told = {**package.template.get("Metadata", {}), DIGEST: package.digest}
        if package.services:
            told[SERVICES] = ",".join(package.services)
        body = json.dumps({**package.template, "Metadata": told}, separators=(",", ":"))
        if len(body.encode()) <= _LARGEST_BODY:
            return {"TemplateBody": body}
        return {"TemplateURL": await self._bucket(given).put_template(package.project, body.encode())}

    async def _watch(self, name: str, stack_id: str, seen: set[str]) -> None:
        self.under_way(name)
        reasons: list[Event] = []
        status = ""
        async for event in self.stacks.follow(stack_id, seen):
            self.tell(" ".join(part for part in (f"{name}:", event.resource, event.status, event.reason) if part))
            status = event.status
            if event.failed and not event.of_stack:
                reasons.append(event)
        self.under_way("")
        if status not in _GOOD:
            why = "; ".join(f"{one.resource} ({one.type}): {one.reason or one.status}" for one in reasons)
            raise BackendError(f"{name}: {status}: {why or 'see `aws cloudformation describe-stack-events`'}")


def _parameter(name: str, value: str | None) -> dict[str, Any]:
    if value is None:
        return {"ParameterKey": name, "UsePreviousValue": True}
    return {"ParameterKey": name, "ParameterValue": value}
