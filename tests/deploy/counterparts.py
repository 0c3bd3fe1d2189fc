"""The same resources in two languages: each as the values that it gives by their names, so that what one has and the other
has not shows. What names and attributes mean is written here by hand, and not taken from the table that is tested."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

Leaf = tuple[str, str]

PARTS: Final = {
    "aws_cloudwatch_event_target": "rule",
    "aws_iam_role_policy": "role",
    "aws_iam_role_policy_attachment": "role",
    "aws_vpc_security_group_egress_rule": "security_group_id",
    "aws_vpc_security_group_ingress_rule": "security_group_id",
}
"""What is a part of another resource in CloudFormation, and the argument that says of which."""
TYPES: Final = {
    "AWS::ApplicationAutoScaling::ScalableTarget": "aws_appautoscaling_target",
    "AWS::ApplicationAutoScaling::ScalingPolicy": "aws_appautoscaling_policy",
    "AWS::CloudWatch::Alarm": "aws_cloudwatch_metric_alarm",
    "AWS::EC2::SecurityGroup": "aws_security_group",
    "AWS::ECS::Cluster": "aws_ecs_cluster",
    "AWS::ECS::Service": "aws_ecs_service",
    "AWS::ECS::TaskDefinition": "aws_ecs_task_definition",
    "AWS::Events::Rule": "aws_cloudwatch_event_rule",
    "AWS::IAM::Role": "aws_iam_role",
    "AWS::Lambda::EventInvokeConfig": "aws_lambda_function_event_invoke_config",
    "AWS::Lambda::Function": "aws_lambda_function",
    "AWS::Lambda::Permission": "aws_lambda_permission",
    "AWS::Lambda::Url": "aws_lambda_function_url",
    "AWS::Logs::LogGroup": "aws_cloudwatch_log_group",
    "AWS::SQS::Queue": "aws_sqs_queue",
    "AWS::Scheduler::Schedule": "aws_scheduler_schedule",
}
MEANT: Final = {
    "aws_appautoscaling_policy.arn": "Ref",
    "aws_appautoscaling_target.resource_id": "Ref",
    "aws_cloudwatch_event_rule.name": "Ref",
    "aws_cloudwatch_log_group.arn": "Arn without streams",
    "aws_cloudwatch_log_group.name": "Ref",
    "aws_ecs_cluster.name": "Ref",
    "aws_ecs_service.arn": "Ref",
    "aws_ecs_service.name": "Name",
    "aws_ecs_task_definition.arn": "Ref",
    "aws_iam_role.arn": "Arn",
    "aws_iam_role.name": "Ref",
    "aws_lambda_function.arn": "Arn",
    "aws_lambda_function.function_name": "Ref",
    "aws_lambda_function_url.function_url": "FunctionUrl",
    "aws_security_group.id": "Ref",
    "aws_sqs_queue.arn": "Arn",
    "aws_sqs_queue.url": "Ref",
    "data.aws_caller_identity.account_id": "AWS::AccountId",
    "data.aws_partition.dns_suffix": "AWS::URLSuffix",
    "data.aws_partition.partition": "AWS::Partition",
    "data.aws_region.region": "AWS::Region",
}
RENAMED: Final = {
    "aws_appautoscaling_policy.name": "policyname",
    "aws_appautoscaling_policy.resourceid": "scalingtargetid",
    "aws_cloudwatch_event_target.targetid": "id",
    "aws_cloudwatch_log_group.name": "loggroupname",
    "aws_ecs_service.deploymentmaximumpercent": "maximumpercent",
    "aws_ecs_service.deploymentminimumhealthypercent": "minimumhealthypercent",
    "aws_iam_role.name": "rolename",
    "aws_iam_role_policy.name": "policyname",
    "aws_iam_role_policy_attachment.policyarn": "managedpolicyarns",
    "aws_lambda_function_url.authorizationtype": "authtype",
    "aws_lambda_function_url.functionname": "targetfunctionarn",
    "aws_security_group.description": "groupdescription",
    "aws_security_group.name": "groupname",
    "aws_sqs_queue.maxmessagesize": "maximummessagesize",
    "aws_sqs_queue.messageretentionseconds": "messageretentionperiod",
    "aws_sqs_queue.name": "queuename",
    "aws_sqs_queue.visibilitytimeoutseconds": "visibilitytimeout",
    "aws_vpc_security_group_egress_rule.cidripv4": "cidrip",
    "aws_vpc_security_group_ingress_rule.cidripv4": "cidrip",
    "aws_vpc_security_group_ingress_rule.referencedsecuritygroupid": "sourcesecuritygroupid",
}
WITHOUT: Final = {
    "aws_appautoscaling_policy": {"scalable_dimension", "service_namespace"},
    "aws_cloudwatch_event_rule": {"name"},
    "aws_ecs_cluster": {"name"},
    "aws_ecs_service": {"name", "wait_for_steady_state"},
}
"""What only Terraform is told: CloudFormation makes names up, waits, and takes the rest from what is scaled."""


def differences(template: Mapping[str, Any], configuration: Mapping[str, Any]) -> list[str]:
    """What one has and the other has not, a line each."""
    found = []
    for id, resource in template["Resources"].items():
        wanted = Counter(_leaves(_evaluated(resource["Properties"])))
        type = TYPES[resource["Type"]]
        made = Counter(_counterpart(configuration, type, id, resource))
        found += [f"{id}: CloudFormation alone: {leaf}" for leaf in (wanted - made)]
        found += [f"{id}: Terraform alone: {leaf}" for leaf in (made - wanted)]
    return found + _strangers(template, configuration)


def _strangers(template: Mapping[str, Any], configuration: Mapping[str, Any]) -> list[str]:
    """Resources of Terraform's that come from none of CloudFormation's."""
    known = {(TYPES[one["Type"]], id) for id, one in template["Resources"].items()}
    return [
        f"{type}.{label}: from nowhere"
        for type, labels in configuration["resource"].items()
        for label in labels
        if (type, label) not in known and not (type in PARTS and label.split("_")[0] in template["Resources"])
    ]


def _counterpart(configuration: Mapping[str, Any], type: str, id: str, resource: Mapping[str, Any]) -> Iterator[Leaf]:
    body = dict(configuration["resource"][type][id])
    lifecycle = body.pop("lifecycle", {})
    assert lifecycle.get("prevent_destroy", False) is (resource.get("DeletionPolicy") == "Retain")
    after = body.pop("depends_on", [])
    for needed in resource.get("DependsOn", []):
        assert any(one.split(".")[1] == needed for one in after)
    for name in lifecycle.get("ignore_changes", []):
        assert body.pop(name) == 1
    for name in WITHOUT.get(type, ()):
        assert body.pop(name)
    yield from _own(configuration, type, body)
    for part, owner in PARTS.items():
        for label, arguments in configuration["resource"].get(part, {}).items():
            if label.startswith(f"{id}_"):
                rest = dict(arguments)
                assert _meant(rest.pop(owner)) == f"«{id}»"
                yield from _own(configuration, part, rest)


def _own(configuration: Mapping[str, Any], type: str, body: Mapping[str, Any]) -> Iterator[Leaf]:
    for argument, value in body.items():
        encoded = re.fullmatch(r"\$\{jsonencode\(local\.(\w+)\)\}", value) if isinstance(value, str) else None
        known = configuration["locals"][encoded[1]] if encoded else value
        for name, leaf in _leaves({argument: _evaluated_expressions(known)}):
            yield (RENAMED.get(f"{type}.{name}", name) if not encoded else name), leaf


def _leaves(value: Any, name: str = "") -> Iterator[Leaf]:
    """Each value with the last of its names, and a pair of a name and a value as one. Lists are as long as they are."""
    if isinstance(value, Mapping):
        pair = _pair(value)
        if pair is not None:
            yield pair
            return
        for key, part in value.items():
            yield from _leaves(part, _plain(key))
    elif isinstance(value, list):
        for part in value:
            yield from _leaves(part, name)
    else:
        yield name, json.dumps(_switched(name, value))


def _pair(value: Mapping[str, Any]) -> Leaf | None:
    small = {key.lower(): part for key, part in value.items()}
    if small.keys() in ({"key", "value"}, {"name", "value"}):
        return _plain(str(small.get("key", small.get("name")))), json.dumps(small["value"])
    return None


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _switched(name: str, value: Any) -> Any:
    return {"ENABLED": True, "DISABLED": False}.get(value, value) if name == "assignpublicip" else value


def _evaluated(value: Any) -> Any:
    """CloudFormation's, with «names» for what it refers to."""
    if isinstance(value, list):
        return [_evaluated(one) for one in value]
    if not isinstance(value, Mapping):
        return value
    if "Ref" in value:
        return f"«{value['Ref']}»"
    if "Fn::GetAtt" in value:
        return f"«{'.'.join(value['Fn::GetAtt'])}»"
    if "Fn::Join" in value:
        between, parts = value["Fn::Join"]
        return between.join(_evaluated(one) for one in parts)
    if "Fn::Sub" in value:
        return re.sub(r"\$\{([^!}]+)\}", r"«\1»", value["Fn::Sub"]).replace("${!", "${")
    return {key: _evaluated(part) for key, part in value.items()}


def _evaluated_expressions(value: Any) -> Any:
    """Terraform's, the same way."""
    if isinstance(value, list):
        return [_evaluated_expressions(one) for one in value]
    if isinstance(value, Mapping):
        return {_meant(key): _evaluated_expressions(part) for key, part in value.items()}
    return _meant(value) if isinstance(value, str) else value


def _meant(text: str) -> str:
    made = re.sub(r"(?<!\$)\$\{([^}]+)\}", lambda found: _named(found[1]), text)
    made = re.sub(r"«(\w+)\.Arn without streams»:\*", r"«\1.Arn»", made)
    return made.replace("$${", "${").replace("%%{", "%{")


def _named(expression: str) -> str:
    *before, last = expression.split(".")
    if before == ["var"]:
        return f"«{last}»"
    if before[0] == "data":
        return f"«{MEANT[f'data.{before[1]}.{last}']}»"
    type, id = before
    if type == "aws_appautoscaling_target" and last in WITHOUT["aws_appautoscaling_policy"]:
        return f"«{id}»"
    meaning = MEANT[f"{type}.{last}"]
    return f"«{id}»" if meaning == "Ref" else f"«{id}.{meaning}»"


def dangling(configuration: Mapping[str, Any]) -> list[str]:
    """References to what is not declared, by the documented syntax: blocks by type and label, templates in strings."""
    declared = {f"var.{name}" for name in configuration.get("variable", {})}
    declared |= {f"local.{name}" for name in configuration.get("locals", {})}
    declared |= {f"data.{type}.current" for type in configuration.get("data", {})}
    resources = {f"{type}.{label}" for type, labels in configuration["resource"].items() for label in labels}
    used = set()
    for part in ("locals", "resource", "output"):
        for text in _texts(configuration.get(part, {})):
            for found in re.finditer(r"(?<!\$)\$\{(?:jsonencode\()?([^})]+)\)?\}", text):
                kind, *rest = found[1].split(".")
                length = {"var": 1, "local": 1, "data": 2}.get(kind, 1)
                used.add(".".join([kind, *rest[:length]]))
    for labels in configuration["resource"].values():
        used |= {one for body in labels.values() for one in body.get("depends_on", [])}
    return sorted(used - declared - resources)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)
