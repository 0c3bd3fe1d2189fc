"""What a deployment would do, as values: from the change set that CloudFormation made of it and the templates before and after.

What a resource loses or opens up is marked. This is read from the templates: what AWS fills in later is not seen.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

__all__ = [
    "Change",
    "capabilities",
    "change_of",
    "changes_of_creation",
    "changes_of_deletion",
    "holds_data",
    "kept",
]

_DATA: Final = (
    "AWS::DynamoDB::Table",
    "AWS::ECR::Repository",
    "AWS::EFS::FileSystem",
    "AWS::ElastiCache::",
    "AWS::KMS::Key",
    "AWS::Logs::LogGroup",
    "AWS::RDS::",
    "AWS::S3::Bucket",
    "AWS::SQS::Queue",
    "AWS::SecretsManager::Secret",
)
"""Types that hold data, or what data is read with; those with colons at the end are all of a service's."""
_NO_DATA: Final = ("Policy", "SubnetGroup", "ParameterGroup")
_NAMES: Final = ("GroupName", "InstanceProfileName", "ManagedPolicyName", "RoleName", "UserName")
_EVERYBODY: Final = ("0.0.0.0/0", "::/0")
_PUBLIC: Final = {
    ("AssignPublicIp", "ENABLED"): "its tasks get public addresses",
    ("AuthType", "NONE"): "anybody can call its address",
    ("CidrIp", _EVERYBODY[0]): "reached from anywhere",
    ("CidrIpv6", _EVERYBODY[1]): "reached from anywhere",
    ("PubliclyAccessible", "true"): "reached from anywhere",
    ("Scheme", "internet-facing"): "reached from anywhere",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """`action` is `create`, `change`, `replace`, `delete` or `forget`: what is forgotten stays, and no stack has it any more.
    `risks` are sentences for people."""

    action: str
    resource: str
    type: str
    parts: tuple[str, ...] = ()
    risks: tuple[str, ...] = ()


def change_of(told: Mapping[str, Any], before: Mapping[str, Any], after: Mapping[str, Any]) -> Change:
    """From `ResourceChange` as DescribeChangeSet has it, and the templates."""
    name, kind = told["LogicalResourceId"], told["ResourceType"]
    old = before.get("Resources", {}).get(name, {})
    new = after.get("Resources", {}).get(name, {})
    replaced = told.get("Replacement", "False")
    match told["Action"]:
        case "Add" | "Import":
            action = "create"
        case "Remove":
            action = "forget" if kept(old) else "delete"
        case _:
            action = "change" if replaced == "False" else "replace"
    return Change(
        action=action,
        resource=name,
        type=kind,
        parts=tuple(sorted(told.get("Scope", ()))),
        risks=(*_losses(action, kind, old, sure=replaced != "Conditional"), *_openings(action, kind, old, new)),
    )


def changes_of_creation(template: Mapping[str, Any]) -> tuple[Change, ...]:
    """Where there is no stack that a change set could be made for."""
    return tuple(
        change_of({"Action": "Add", "LogicalResourceId": name, "ResourceType": one["Type"]}, {}, template)
        for name, one in template["Resources"].items()
    )


def changes_of_deletion(template: Mapping[str, Any]) -> tuple[Change, ...]:
    """Where the whole stack goes."""
    return tuple(
        change_of({"Action": "Remove", "LogicalResourceId": name, "ResourceType": one["Type"]}, template, {})
        for name, one in template.get("Resources", {}).items()
    )


def holds_data(resource: Mapping[str, Any]) -> bool:
    """Whether it has what cannot be made again, or is to stay whatever happens."""
    return _holds(resource["Type"]) or kept(resource)


def kept(resource: Mapping[str, Any], policy: str = "DeletionPolicy") -> bool:
    """Whether it stays where its stack loses it."""
    return bool(resource.get(policy) in {"Retain", "RetainExceptOnCreate"})


def capabilities(template: Mapping[str, Any]) -> list[str]:
    """What CloudFormation wants to be told that it may: roles where there are such, names of roles where some have one."""
    iam = [one for one in template["Resources"].values() if one["Type"].startswith("AWS::IAM::")]
    if any(name in one.get("Properties", {}) for one in iam for name in _NAMES):
        return ["CAPABILITY_NAMED_IAM"]
    # What AWS's transform expands has roles of its own.
    return ["CAPABILITY_IAM"] if iam or "Transform" in template else []


def _holds(kind: str) -> bool:
    return kind.startswith(_DATA) and not kind.endswith(_NO_DATA)


def _losses(action: str, kind: str, old: Mapping[str, Any], *, sure: bool) -> Iterator[str]:
    holds = _holds(kind)
    if action == "delete" and holds:
        yield "what it holds is deleted"
    elif action == "replace":
        word = "is" if sure else "may be"
        if not holds:
            yield f"it {word} made anew: its address changes"
        elif kept(old, "UpdateReplacePolicy"):
            yield f"it {word} made anew and empty; the old one stays"
        else:
            yield f"it {word} made anew, and what it holds deleted"


def _openings(action: str, kind: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    if action in {"delete", "forget"}:
        return
    more = sorted(set(_allowed(new)) - set(_allowed(old)))
    if more and old:
        yield f"it allows more: {', '.join(more)}"
    elif wide := [one for one in more if one.startswith("* ")]:
        yield f"it allows everything: {', '.join(wide)}"
    for (name, value), text in _PUBLIC.items():
        if _says(new, name, value) and not _says(old, name, value):
            yield text
    everybody = kind == "AWS::Lambda::Permission" and new.get("Properties", {}).get("Principal") == "*"
    if everybody and old.get("Properties", {}).get("Principal") != "*":
        yield "anybody may call it"


def _allowed(part: Any) -> Iterator[str]:
    """`action on resource`, `action by principal`: each that a statement somewhere in it allows."""
    if isinstance(part, Mapping):
        if part.get("Effect") == "Allow":
            to = ("on", part["Resource"]) if "Resource" in part else ("by", part.get("Principal"))
            condition = f" if {_text(part['Condition'])}" if "Condition" in part else ""
            actions = part["Action"] if "Action" in part else {"all but": part.get("NotAction")}
            for action in _listed(actions):
                yield from (f"{_text(action)} {to[0]} {_text(one)}{condition}" for one in _listed(to[1]))
            return
        for value in part.values():
            yield from _allowed(value)
    elif isinstance(part, list):
        for value in part:
            yield from _allowed(value)


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [value]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _says(part: Any, name: str, value: str) -> bool:
    if isinstance(part, Mapping):
        return any(
            (key == name and str(one).lower() == value.lower()) or _says(one, name, value) for key, one in part.items()
        )
    return isinstance(part, list) and any(_says(one, name, value) for one in part)
