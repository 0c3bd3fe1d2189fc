"""Resources of ECS in Terraform's terms: see `types`, whose table has them."""

from __future__ import annotations

from typing import Final

from turnout.deploy.terraform.forms import (
    Block,
    Encoded,
    Hoisted,
    Item,
    Mapped,
    Pairs,
    Properties,
    ResourceType,
    Switch,
    Target,
)

__all__ = ["CLUSTER", "SCALABLE_TARGET", "SCALING_POLICY", "SERVICE", "TASK_DEFINITION"]

_TAGS: Final = Pairs("tags", "Key")


def _small(*names: str) -> Properties:
    """As the API of ECS has them, in which a container's definition is written."""
    return {name: f"{name[0].lower()}{name[1:]}" for name in names}


CLUSTER: Final = ResourceType(
    type="aws_ecs_cluster",
    ref="{name}",
    attributes={"Arn": "{arn}"},
    named="ClusterName",
    properties={
        "ClusterName": "name",
        "ClusterSettings": Block("setting", {"Name": "name", "Value": "value"}),
        "Tags": _TAGS,
    },
)

_CONTAINER: Final[Properties] = {
    **_small(
        "Command",
        "Cpu",
        "EntryPoint",
        "Essential",
        "Image",
        "Memory",
        "MemoryReservation",
        "Name",
        "Privileged",
        "ReadonlyRootFilesystem",
        "StartTimeout",
        "StopTimeout",
        "User",
        "WorkingDirectory",
    ),
    "DependsOn": Item("dependsOn", _small("Condition", "ContainerName")),
    "DockerLabels": Mapped("dockerLabels"),
    "Environment": Item("environment", _small("Name", "Value")),
    "FirelensConfiguration": Item("firelensConfiguration", {**_small("Type"), "Options": Mapped("options")}),
    "HealthCheck": Item("healthCheck", _small("Command", "Interval", "Retries", "StartPeriod", "Timeout")),
    "LinuxParameters": Item(
        "linuxParameters",
        {**_small("InitProcessEnabled"), "Capabilities": Item("capabilities", _small("Add", "Drop"))},
    ),
    "LogConfiguration": Item(
        "logConfiguration",
        {
            **_small("LogDriver"),
            "Options": Mapped("options"),
            "SecretOptions": Item("secretOptions", _small("Name", "ValueFrom")),
        },
    ),
    "MountPoints": Item("mountPoints", _small("ContainerPath", "ReadOnly", "SourceVolume")),
    "PortMappings": Item("portMappings", _small("AppProtocol", "ContainerPort", "HostPort", "Name", "Protocol")),
    "RestartPolicy": Item("restartPolicy", _small("Enabled", "IgnoredExitCodes", "RestartAttemptPeriod")),
    "Secrets": Item("secrets", _small("Name", "ValueFrom")),
    "Ulimits": Item("ulimits", _small("HardLimit", "Name", "SoftLimit")),
}

TASK_DEFINITION: Final = ResourceType(
    type="aws_ecs_task_definition",
    ref="{arn}",
    attributes={"TaskDefinitionArn": "{arn}"},
    named="Family",
    properties={
        "ContainerDefinitions": Encoded("container_definitions", _CONTAINER),
        "Cpu": "cpu",
        "EphemeralStorage": Block("ephemeral_storage", {"SizeInGiB": "size_in_gib"}),
        "ExecutionRoleArn": "execution_role_arn",
        "Family": "family",
        "IpcMode": "ipc_mode",
        "Memory": "memory",
        "NetworkMode": "network_mode",
        "PidMode": "pid_mode",
        "RequiresCompatibilities": "requires_compatibilities",
        "RuntimePlatform": Block(
            "runtime_platform",
            {"CpuArchitecture": "cpu_architecture", "OperatingSystemFamily": "operating_system_family"},
        ),
        "Tags": _TAGS,
        "TaskRoleArn": "task_role_arn",
        "Volumes": Block("volume", {"Name": "name"}),
    },
)

SERVICE: Final = ResourceType(
    type="aws_ecs_service",
    ref="{arn}",
    attributes={"Name": "{name}", "ServiceArn": "{arn}"},
    named="ServiceName",
    initial={"DesiredCount": 1},
    # A stack is not done before its tasks are up.
    always={"wait_for_steady_state": True},
    properties={
        "CapacityProviderStrategy": Block(
            "capacity_provider_strategy",
            {"Base": "base", "CapacityProvider": "capacity_provider", "Weight": "weight"},
        ),
        "Cluster": "cluster",
        "DeploymentConfiguration": Hoisted(
            {
                "DeploymentCircuitBreaker": Block(
                    "deployment_circuit_breaker", {"Enable": "enable", "Rollback": "rollback"}
                ),
                "MaximumPercent": "deployment_maximum_percent",
                "MinimumHealthyPercent": "deployment_minimum_healthy_percent",
            }
        ),
        "DesiredCount": "desired_count",
        "EnableECSManagedTags": "enable_ecs_managed_tags",
        "EnableExecuteCommand": "enable_execute_command",
        "HealthCheckGracePeriodSeconds": "health_check_grace_period_seconds",
        "LaunchType": "launch_type",
        "LoadBalancers": Block(
            "load_balancer",
            {
                "ContainerName": "container_name",
                "ContainerPort": "container_port",
                "TargetGroupArn": "target_group_arn",
            },
        ),
        "NetworkConfiguration": Block(
            "network_configuration",
            {
                "AwsvpcConfiguration": Hoisted(
                    {
                        "AssignPublicIp": Switch("assign_public_ip"),
                        "SecurityGroups": "security_groups",
                        "Subnets": "subnets",
                    }
                )
            },
        ),
        "PlatformVersion": "platform_version",
        "PropagateTags": "propagate_tags",
        "SchedulingStrategy": "scheduling_strategy",
        "ServiceName": "name",
        "Tags": _TAGS,
        "TaskDefinition": "task_definition",
    },
)

_SCALED: Final = {
    "ResourceId": "resource_id",
    "ScalableDimension": "scalable_dimension",
    "ServiceNamespace": "service_namespace",
}

SCALABLE_TARGET: Final = ResourceType(
    type="aws_appautoscaling_target",
    ref="{resource_id}|{scalable_dimension}|{service_namespace}",
    properties={**_SCALED, "MaxCapacity": "max_capacity", "MinCapacity": "min_capacity", "RoleARN": "role_arn"},
)

SCALING_POLICY: Final = ResourceType(
    type="aws_appautoscaling_policy",
    ref="{arn}",
    properties={
        **_SCALED,
        "PolicyName": "name",
        "PolicyType": "policy_type",
        "ScalingTargetId": Target(tuple(_SCALED.values())),
        "StepScalingPolicyConfiguration": Block(
            "step_scaling_policy_configuration",
            {
                "AdjustmentType": "adjustment_type",
                "Cooldown": "cooldown",
                "MetricAggregationType": "metric_aggregation_type",
                "MinAdjustmentMagnitude": "min_adjustment_magnitude",
                "StepAdjustments": Block(
                    "step_adjustment",
                    {
                        "MetricIntervalLowerBound": "metric_interval_lower_bound",
                        "MetricIntervalUpperBound": "metric_interval_upper_bound",
                        "ScalingAdjustment": "scaling_adjustment",
                    },
                ),
            },
        ),
        "TargetTrackingScalingPolicyConfiguration": Block(
            "target_tracking_scaling_policy_configuration",
            {
                "CustomizedMetricSpecification": Block(
                    "customized_metric_specification",
                    {
                        "Dimensions": Block("dimensions", {"Name": "name", "Value": "value"}),
                        "MetricName": "metric_name",
                        "Namespace": "namespace",
                        "Statistic": "statistic",
                        "Unit": "unit",
                    },
                ),
                "DisableScaleIn": "disable_scale_in",
                "PredefinedMetricSpecification": Block(
                    "predefined_metric_specification",
                    {"PredefinedMetricType": "predefined_metric_type", "ResourceLabel": "resource_label"},
                ),
                "ScaleInCooldown": "scale_in_cooldown",
                "ScaleOutCooldown": "scale_out_cooldown",
                "TargetValue": "target_value",
            },
        ),
    },
)
