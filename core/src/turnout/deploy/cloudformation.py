"""A target's description as a CloudFormation template."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from turnout.interfaces.deployment import Deployment, Description, Parameter, Resource

__all__ = ["cloudformation"]

_SERVERLESS: Final = "AWS::Serverless-2016-10-31"


def cloudformation(deployment: Deployment, description: Description) -> dict[str, Any]:
    """The template, which the same description always makes in the same order."""
    serverless = any(resource.type.startswith("AWS::Serverless::") for resource in description.resources)
    parts: dict[str, Any] = {
        "AWSTemplateFormatVersion": "2010-09-09",
        **({"Transform": _SERVERLESS} if serverless else {}),
        "Description": f"Turnout: the services of {deployment.name} on {deployment.target}",
        "Parameters": {one.name: _parameter(one) for one in description.parameters},
        "Resources": {one.id: _resource(one) for one in description.resources},
        "Outputs": {name: {"Value": value} for name, value in description.outputs.items()},
    }
    return {name: part for name, part in parts.items() if part}


def _parameter(parameter: Parameter) -> Mapping[str, Any]:
    default = {} if parameter.default is None else {"Default": parameter.default}
    return {"Type": parameter.type, "Description": parameter.description, **default}


def _resource(resource: Resource) -> Mapping[str, Any]:
    kept = {"DeletionPolicy": "Retain", "UpdateReplacePolicy": "Retain"} if resource.keep else {}
    after = {"DependsOn": list(resource.depends_on)} if resource.depends_on else {}
    return {"Type": resource.type, **kept, **after, "Properties": resource.properties}
