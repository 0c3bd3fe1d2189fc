"""Which resources of CloudFormation's are which of Terraform's (provider hashicorp/aws): names of arguments, what is nested
where, what a reference means. What is not here is refused.

https://registry.terraform.io/providers/hashicorp/aws/latest/docs
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from turnout.deploy.terraform.forms import Apart, Block, Encoded, Hoisted, Mapped, Pairs, Properties, ResourceType
from turnout.deploy.terraform.tasks import CLUSTER, SCALABLE_TARGET, SCALING_POLICY, SERVICE, TASK_DEFINITION

__all__ = ["TYPES"]

_TAGS: Final = Pairs("tags", "Key")

_LOG_GROUP: Final = ResourceType(
    type="aws_cloudwatch_log_group",
    ref="{name}",
    # The provider takes from the ARN what CloudFormation has at its end.
    attributes={"Arn": "{arn}:*"},
    properties={
        "KmsKeyId": "kms_key_id",
        "LogGroupName": "name",
        "RetentionInDays": "retention_in_days",
        "Tags": _TAGS,
    },
)

_ROLE: Final = ResourceType(
    type="aws_iam_role",
    ref="{name}",
    attributes={"Arn": "{arn}", "RoleId": "{unique_id}"},
    properties={
        "AssumeRolePolicyDocument": Encoded("assume_role_policy"),
        "Description": "description",
        "ManagedPolicyArns": Apart(type="aws_iam_role_policy_attachment", owner=("role", "name"), value="policy_arn"),
        "MaxSessionDuration": "max_session_duration",
        "Path": "path",
        "PermissionsBoundary": "permissions_boundary",
        "Policies": Apart(
            type="aws_iam_role_policy",
            owner=("role", "name"),
            key="PolicyName",
            arguments={"PolicyDocument": Encoded("policy"), "PolicyName": "name"},
        ),
        "RoleName": "name",
        "Tags": _TAGS,
    },
)

_FUNCTION: Final = ResourceType(
    type="aws_lambda_function",
    ref="{function_name}",
    attributes={"Arn": "{arn}"},
    named="FunctionName",
    properties={
        "Architectures": "architectures",
        "Code": Hoisted(
            {
                "ImageUri": "image_uri",
                "S3Bucket": "s3_bucket",
                "S3Key": "s3_key",
                "S3ObjectVersion": "s3_object_version",
            }
        ),
        "Description": "description",
        "Environment": Block("environment", {"Variables": Mapped("variables")}),
        "EphemeralStorage": Block("ephemeral_storage", {"Size": "size"}),
        "FunctionName": "function_name",
        "Handler": "handler",
        "KmsKeyArn": "kms_key_arn",
        "Layers": "layers",
        "LoggingConfig": Block(
            "logging_config",
            {
                "ApplicationLogLevel": "application_log_level",
                "LogFormat": "log_format",
                "LogGroup": "log_group",
                "SystemLogLevel": "system_log_level",
            },
        ),
        "MemorySize": "memory_size",
        "PackageType": "package_type",
        "ReservedConcurrentExecutions": "reserved_concurrent_executions",
        "Role": "role",
        "Runtime": "runtime",
        "Tags": _TAGS,
        "Timeout": "timeout",
        "VpcConfig": Block("vpc_config", {"SecurityGroupIds": "security_group_ids", "SubnetIds": "subnet_ids"}),
    },
)

_URL: Final = ResourceType(
    type="aws_lambda_function_url",
    ref="{function_arn}",
    attributes={"FunctionArn": "{function_arn}", "FunctionUrl": "{function_url}"},
    properties={
        "AuthType": "authorization_type",
        "InvokeMode": "invoke_mode",
        "Qualifier": "qualifier",
        "TargetFunctionArn": "function_name",
    },
)

_PERMISSION: Final = ResourceType(
    type="aws_lambda_permission",
    ref="{id}",
    properties={
        "Action": "action",
        "FunctionName": "function_name",
        "FunctionUrlAuthType": "function_url_auth_type",
        "InvokedViaFunctionUrl": "invoked_via_function_url",
        "Principal": "principal",
        "SourceAccount": "source_account",
        "SourceArn": "source_arn",
    },
)

_EVENT_INVOKE_CONFIG: Final = ResourceType(
    type="aws_lambda_function_event_invoke_config",
    ref="{id}",
    properties={
        "FunctionName": "function_name",
        "MaximumEventAgeInSeconds": "maximum_event_age_in_seconds",
        "MaximumRetryAttempts": "maximum_retry_attempts",
        "Qualifier": "qualifier",
    },
)

_SOURCE_MAPPING: Final = ResourceType(
    type="aws_lambda_event_source_mapping",
    ref="{uuid}",
    attributes={"EventSourceMappingArn": "{arn}"},
    properties={
        "BatchSize": "batch_size",
        "Enabled": "enabled",
        "EventSourceArn": "event_source_arn",
        "FunctionName": "function_name",
        "FunctionResponseTypes": "function_response_types",
        "MaximumBatchingWindowInSeconds": "maximum_batching_window_in_seconds",
        "ScalingConfig": Block("scaling_config", {"MaximumConcurrency": "maximum_concurrency"}),
    },
)

_SCHEDULE: Final = ResourceType(
    type="aws_scheduler_schedule",
    ref="{name}",
    attributes={"Arn": "{arn}"},
    properties={
        "Description": "description",
        "FlexibleTimeWindow": Block(
            "flexible_time_window", {"MaximumWindowInMinutes": "maximum_window_in_minutes", "Mode": "mode"}
        ),
        "GroupName": "group_name",
        "Name": "name",
        "ScheduleExpression": "schedule_expression",
        "ScheduleExpressionTimezone": "schedule_expression_timezone",
        "State": "state",
        "Target": Block(
            "target",
            {
                "Arn": "arn",
                "DeadLetterConfig": Block("dead_letter_config", {"Arn": "arn"}),
                "Input": "input",
                "RetryPolicy": Block(
                    "retry_policy",
                    {
                        "MaximumEventAgeInSeconds": "maximum_event_age_in_seconds",
                        "MaximumRetryAttempts": "maximum_retry_attempts",
                    },
                ),
                "RoleArn": "role_arn",
            },
        ),
    },
)

_ALARM: Final = ResourceType(
    type="aws_cloudwatch_metric_alarm",
    ref="{alarm_name}",
    attributes={"Arn": "{arn}"},
    named="AlarmName",
    properties={
        "ActionsEnabled": "actions_enabled",
        "AlarmActions": "alarm_actions",
        "AlarmDescription": "alarm_description",
        "AlarmName": "alarm_name",
        "ComparisonOperator": "comparison_operator",
        "DatapointsToAlarm": "datapoints_to_alarm",
        "Dimensions": Pairs("dimensions", "Name"),
        "EvaluationPeriods": "evaluation_periods",
        "ExtendedStatistic": "extended_statistic",
        "InsufficientDataActions": "insufficient_data_actions",
        "MetricName": "metric_name",
        "Namespace": "namespace",
        "OKActions": "ok_actions",
        "Period": "period",
        "Statistic": "statistic",
        "Tags": _TAGS,
        "Threshold": "threshold",
        "TreatMissingData": "treat_missing_data",
        "Unit": "unit",
    },
)

_EVENT_RULE: Final = ResourceType(
    type="aws_cloudwatch_event_rule",
    ref="{name}",
    attributes={"Arn": "{arn}"},
    named="Name",
    properties={
        "Description": "description",
        "EventPattern": Encoded("event_pattern"),
        "Name": "name",
        "State": "state",
        "Tags": _TAGS,
        "Targets": Apart(
            type="aws_cloudwatch_event_target",
            owner=("rule", "name"),
            key="Id",
            arguments={"Arn": "arn", "Id": "target_id", "RoleArn": "role_arn"},
        ),
    },
)

_RULE: Final[Properties] = {
    "CidrIp": "cidr_ipv4",
    "CidrIpv6": "cidr_ipv6",
    "Description": "description",
    "FromPort": "from_port",
    "IpProtocol": "ip_protocol",
    "ToPort": "to_port",
}
_INGRESS_RULE: Final[Properties] = {
    **_RULE,
    "SourcePrefixListId": "prefix_list_id",
    "SourceSecurityGroupId": "referenced_security_group_id",
}
_EGRESS_RULE: Final[Properties] = {
    **_RULE,
    "DestinationPrefixListId": "prefix_list_id",
    "DestinationSecurityGroupId": "referenced_security_group_id",
}

_SECURITY_GROUP: Final = ResourceType(
    type="aws_security_group",
    ref="{id}",
    attributes={"GroupId": "{id}", "VpcId": "{vpc_id}"},
    # AWS opens the way out of a new group, and the provider closes it.
    implied={"SecurityGroupEgress": [{"IpProtocol": "-1", "CidrIp": "0.0.0.0/0"}]},
    properties={
        "GroupDescription": "description",
        "GroupName": "name",
        "SecurityGroupEgress": Apart(
            type="aws_vpc_security_group_egress_rule", owner=("security_group_id", "id"), arguments=_EGRESS_RULE
        ),
        "SecurityGroupIngress": Apart(
            type="aws_vpc_security_group_ingress_rule", owner=("security_group_id", "id"), arguments=_INGRESS_RULE
        ),
        "Tags": _TAGS,
        "VpcId": "vpc_id",
    },
)

_INGRESS: Final = ResourceType(
    type="aws_vpc_security_group_ingress_rule",
    ref="{security_group_rule_id}",
    properties={**_INGRESS_RULE, "GroupId": "security_group_id"},
)

_QUEUE: Final = ResourceType(
    type="aws_sqs_queue",
    ref="{url}",
    attributes={"Arn": "{arn}", "QueueName": "{name}", "QueueUrl": "{url}"},
    properties={
        "ContentBasedDeduplication": "content_based_deduplication",
        "DelaySeconds": "delay_seconds",
        "FifoQueue": "fifo_queue",
        "KmsMasterKeyId": "kms_master_key_id",
        "MaximumMessageSize": "max_message_size",
        "MessageRetentionPeriod": "message_retention_seconds",
        "QueueName": "name",
        "ReceiveMessageWaitTimeSeconds": "receive_wait_time_seconds",
        "RedrivePolicy": Encoded("redrive_policy"),
        "SqsManagedSseEnabled": "sqs_managed_sse_enabled",
        "Tags": _TAGS,
        "VisibilityTimeout": "visibility_timeout_seconds",
    },
)

TYPES: Final[Mapping[str, ResourceType]] = {
    "AWS::ApplicationAutoScaling::ScalableTarget": SCALABLE_TARGET,
    "AWS::ApplicationAutoScaling::ScalingPolicy": SCALING_POLICY,
    "AWS::CloudWatch::Alarm": _ALARM,
    "AWS::EC2::SecurityGroup": _SECURITY_GROUP,
    "AWS::EC2::SecurityGroupIngress": _INGRESS,
    "AWS::ECS::Cluster": CLUSTER,
    "AWS::ECS::Service": SERVICE,
    "AWS::ECS::TaskDefinition": TASK_DEFINITION,
    "AWS::Events::Rule": _EVENT_RULE,
    "AWS::IAM::Role": _ROLE,
    "AWS::Lambda::EventInvokeConfig": _EVENT_INVOKE_CONFIG,
    "AWS::Lambda::EventSourceMapping": _SOURCE_MAPPING,
    "AWS::Lambda::Function": _FUNCTION,
    "AWS::Lambda::Permission": _PERMISSION,
    "AWS::Lambda::Url": _URL,
    "AWS::Logs::LogGroup": _LOG_GROUP,
    "AWS::SQS::Queue": _QUEUE,
    "AWS::Scheduler::Schedule": _SCHEDULE,
}
