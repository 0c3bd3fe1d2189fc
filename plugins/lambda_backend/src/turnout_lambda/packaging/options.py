"""`[targets.lambda]`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["LambdaOptions"]

Retention = Literal[
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653
]


_LayerArn = Annotated[str, Field(pattern=r"^arn:[a-z-]+:lambda:[a-z0-9-]+:\d{12}:layer:[A-Za-z0-9_-]+:\d+$")]


class LambdaOptions(BaseModel):
    """Functions run the Python that packages them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    memory: int = Field(
        default=512, ge=128, le=10_240, description="MB of a function of a service whose settings say nothing."
    )
    architecture: Literal["x86_64", "arm64"] = Field(
        default="x86_64", description="The processors that functions run on."
    )
    vpc: bool = Field(
        default=True,
        description="Whether functions are in the network of the stores: the template then asks for subnets and security groups.",
    )
    log_days: Retention = Field(default=30, description="How long CloudWatch keeps what functions print.")
    alarm_topic: str = Field(
        default="", description="The ARN of an SNS topic that alarms of functions go to; empty: nowhere."
    )
    layers: tuple[_LayerArn, ...] = Field(
        default=(), max_length=5, description="ARNs of layers for the runner's function, one with Node for Python 3.11."
    )
    tags: dict[str, str] = Field(default_factory=dict, description="Tags of everything, beside Turnout's own.")
