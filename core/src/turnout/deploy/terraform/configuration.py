"""A target's description as a Terraform configuration, in its JSON syntax."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from turnout.deploy.terraform.expressions import Expressions, Known, Names
from turnout.deploy.terraform.forms import Made, ResourceType
from turnout.deploy.terraform.types import TYPES
from turnout.errors import BackendError
from turnout.interfaces.deployment import Deployment, Description, Parameter, Resource

__all__ = ["terraform"]

_TERRAFORM: Final = ">= 1.5"
_PROVIDER: Final = ">= 6.29, < 7"
"""The first that has `invoked_via_function_url`, without which nobody reaches an address of a function
(https://github.com/hashicorp/terraform-provider-aws/pull/44858)."""
_LISTS: Final = re.compile(r"List<(.+)>|CommaDelimitedList")
_TAKEN: Final = frozenset({"count", "depends_on", "for_each", "lifecycle", "locals", "providers", "source", "version"})
"""Names that no variable may have (https://developer.hashicorp.com/terraform/language/values/variables)."""


def terraform(deployment: Deployment, description: Description) -> dict[str, Any]:
    """The configuration, which the same description always makes in the same order. `BackendError` names a resource, a
    property or a parameter's type that is not known: nothing is left out."""
    types = {one.id: _type_of(one) for one in description.resources}
    names = Names(
        parameters={one.name: _LISTS.fullmatch(one.type) is not None for one in description.parameters},
        resources={
            id: Known(address=f"{type.type}.{_label(id)}", ref=type.ref, attributes=type.attributes)
            for id, type in types.items()
        },
    )
    made = {one.id: _made(deployment, one, types[one.id], names) for one in description.resources}
    outputs = Expressions(names=names, fault=lambda path, what: BackendError(f"Terraform: output {path}: {what}"))
    values = {name: {"value": outputs.value(value, name)} for name, value in description.outputs.items()}
    sources = outputs.sources.union(*(one.expressions.sources for one, _ in made.values()))
    parts: dict[str, Any] = {
        "//": f"Turnout: the services of {deployment.name} on {deployment.target}",
        "terraform": {
            "required_version": _TERRAFORM,
            "required_providers": {"aws": {"source": "hashicorp/aws", "version": _PROVIDER}},
        },
        "variable": {one.name: _variable(one) for one in description.parameters},
        "data": {source: {"current": {}} for source in sorted(sources)},
        "locals": {name: value for one, _ in made.values() for name, value in one.values.items()},
        "resource": _resources(description.resources, types, made),
        "output": values,
    }
    return {name: part for name, part in parts.items() if part}


def _label(id: str) -> str:
    return id if id[0].isalpha() else f"_{id}"


def _type_of(resource: Resource) -> ResourceType:
    if resource.type not in TYPES:
        raise BackendError(f"Terraform: {resource.id}: the type {resource.type} is not known")
    return TYPES[resource.type]


def _variable(parameter: Parameter) -> Mapping[str, Any]:
    """Nothing in it is a template (https://developer.hashicorp.com/terraform/language/syntax/json#variable-blocks)."""
    if parameter.name in _TAKEN:
        raise BackendError(f"Terraform: parameter {parameter.name}: no variable may have this name")
    if parameter.type.startswith("AWS::SSM::"):
        raise BackendError(f"Terraform: parameter {parameter.name}: the type {parameter.type} is not known")
    listed = _LISTS.fullmatch(parameter.type)
    kind = "number" if "Number" in (parameter.type, listed and listed[1]) else "string"
    type = f"list({kind})" if listed else kind
    default: Any = parameter.default
    if default is not None and listed:
        default = [one.strip() for one in default.split(",")]
    given = {} if default is None else {"default": default}
    return {"type": type, "description": parameter.description, **given}


def _made(deployment: Deployment, resource: Resource, type: ResourceType, names: Names) -> tuple[Made, dict[str, Any]]:
    def fault(path: str, what: str) -> BackendError:
        return BackendError(f"Terraform: {resource.id} ({resource.type}): {path}: {what}")

    made = Made(
        label=_label(resource.id),
        address=names.resources[resource.id].address,
        expressions=Expressions(names=names, fault=fault),
    )
    named = {type.named: _name(deployment, resource)} if type.named else {}
    properties = {**type.implied, **type.initial, **named, **resource.properties}
    return made, made.arguments(properties, type.properties)


def _name(deployment: Deployment, resource: Resource) -> str:
    """As CloudFormation makes one up, without what it adds at random."""
    words = [word for word in re.split(r"[^A-Za-z0-9]+", deployment.name) if word]
    return "-".join([*words, resource.id])


def _resources(
    resources: Sequence[Resource],
    types: Mapping[str, ResourceType],
    made: Mapping[str, tuple[Made, dict[str, Any]]],
) -> dict[str, dict[str, Any]]:
    bodies: dict[str, dict[str, Any]] = {}
    for resource in resources:
        one, arguments = made[resource.id]
        type = types[resource.id]
        after = _after(resource, {id: other for id, (other, _) in made.items()})
        body = {
            **arguments,
            **type.always,
            **_lifecycle(resource, type),
            **({"depends_on": after} if after else {}),
        }
        own = {(type.type, one.label): body, **one.parts}
        for (kind, label), content in own.items():
            if label in bodies.setdefault(kind, {}):
                raise BackendError(f"Terraform: {resource.id} ({resource.type}): there is a {kind}.{label} already")
            bodies[kind][label] = content
    return bodies


def _after(resource: Resource, made: Mapping[str, Made]) -> list[str]:
    """What it depends on and does not refer to. A resource of CloudFormation's is there when all its parts are, a role with
    its policies: what refers to it waits for them."""
    after = {made[id].address: None for id in resource.depends_on}
    referred = made[resource.id].expressions.referred
    for id, other in made.items():
        if id != resource.id and (id in referred or id in resource.depends_on):
            after.update({f"{type}.{label}": None for type, label in other.parts})
    return list(after)


def _lifecycle(resource: Resource, type: ResourceType) -> Mapping[str, Any]:
    left = [type.properties[name] for name in type.initial if name not in resource.properties]
    kept = {"prevent_destroy": True} if resource.keep else {}
    rules = {**kept, **({"ignore_changes": left} if left else {})}
    return {"lifecycle": rules} if rules else {}
