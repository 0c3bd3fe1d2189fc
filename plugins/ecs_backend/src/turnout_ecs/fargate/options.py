"""`[targets.ecs]`."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Datadog", "EcsOptions", "Scaling"]

Retention = Literal[
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653
]


class Scaling(BaseModel):
    """How many tasks of a service there are: from `services.<name>.processes` to `most`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    most: int = Field(ge=1, le=5000, description="Tasks at most.")
    cpu: int = Field(default=60, ge=10, le=90, description="Percent of their processors that tasks are held at.")
    backlog: float | None = Field(
        default=None,
        gt=0,
        le=10_000,
        description="The runner's, with `[metrics]`: executions a task, due and running, that it is held at; 2 without it.",
    )


class Datadog(BaseModel):
    """What tasks print goes there, through FireLens."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    site: Literal[
        "ap1.datadoghq.com",
        "ap2.datadoghq.com",
        "datadoghq.com",
        "datadoghq.eu",
        "ddog-gov.com",
        "us3.datadoghq.com",
        "us5.datadoghq.com",
    ] = Field(default="datadoghq.com", description="Your site of Datadog.")
    router: str = Field(
        default="public.ecr.aws/aws-observability/aws-for-fluent-bit:stable",
        min_length=1,
        max_length=500,
        pattern=r"^\S+$",
        description="The router's image, Fluent Bit as AWS makes it.",
    )


class EcsOptions(BaseModel):
    """What a deployment on ECS may choose."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image: str = Field(
        default="",
        max_length=500,
        description="An image that was built elsewhere; empty: what it is built from is packaged, and `turnout deploy` builds it.",
    )
    base: str = Field(
        default="",
        pattern=r"^\S*$",
        max_length=500,
        description="What the image is built on: Debian with this version of Python; empty: Docker's own, `python:<version>-slim-bookworm`.",
    )
    registry: Literal["ecr", "public"] = Field(
        default="ecr", description="Whether tasks may pull from a repository of ECR, or need no permission for it."
    )
    architecture: Literal["x86_64", "arm64"] = Field(
        default="x86_64", description="The processors that tasks run on: those that the image was built for."
    )
    memory: int = Field(
        default=1024, ge=512, le=122_880, description="MB of a task of a service whose settings say nothing."
    )
    cpu: dict[str, Literal[256, 512, 1024, 2048, 4096, 8192, 16384]] = Field(
        default_factory=dict, description="By services' names: processor units at least, 1024 a processor."
    )
    disk: int | None = Field(default=None, ge=21, le=200, description="GB of a task's disk; without it 20.")
    storage: str = Field(
        default="/project/.turnout",
        pattern=r"^/[^:]+$",
        description="The one directory of the image that is written to: the project's `.turnout`.",
    )
    public_ip: bool = Field(
        default=False, description="Whether tasks have public addresses: in subnets that have no NAT."
    )
    target_groups: dict[str, str] = Field(
        default_factory=dict,
        description="By services' names: the ARN of a load balancer's target group (of the type `ip`) for its routes.",
    )
    scaling: dict[str, Scaling] = Field(
        default_factory=dict, description="By services' names: how many tasks there may be."
    )
    datadog: Datadog | None = Field(
        default=None, description="Send what tasks print to Datadog; without it to CloudWatch."
    )
    alarm_topic: str = Field(
        default="", description="The ARN of an SNS topic that alarms go to; empty: there are none, but what scales."
    )
    alarm_age: int = Field(
        default=300, ge=10, le=86_400, description="Seconds that an execution may be due before there is an alarm."
    )
    log_days: Retention = Field(default=30, description="How long CloudWatch keeps what tasks print.")
    tags: dict[str, str] = Field(default_factory=dict, description="Tags of everything, beside Turnout's own.")
