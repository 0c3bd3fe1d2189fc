"""What the role that Turnout runs with has to be allowed, by the options of a table: that and no more."""

from __future__ import annotations

from collections.abc import Sequence

from turnout.interfaces.permission import Permission

from turnout_aws.clients import AwsOptions

__all__ = ["allowed", "arn"]


def allowed(options: AwsOptions, actions: Sequence[str], resources: Sequence[str]) -> Sequence[Permission]:
    """Those actions; where a role is taken on for them, that alone: the actions are that role's business."""
    if options.role is not None:
        return (Permission(actions=("sts:AssumeRole",), resources=(options.role,)),)
    return (Permission(actions=tuple(actions), resources=tuple(resources)),)


def arn(service: str, resource: str, options: AwsOptions) -> str:
    """Of the account that it is deployed to, and of its region where the options name none."""
    region = options.region or "${AWS::Region}"
    return f"arn:${{AWS::Partition}}:{service}:{region}:${{AWS::AccountId}}:{resource}"
