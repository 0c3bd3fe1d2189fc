"""What a part of the platform may do in its cloud."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Permission"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """Actions of a cloud's service (`sqs:SendMessage`) on resources, each an ARN, in which `${AWS::Region}` and the like stand
    for what is known where it is deployed, or a reference to a resource of the same template. `condition` narrows what no ARN can, in IAM's terms."""

    actions: tuple[str, ...]
    resources: tuple[Any, ...]
    condition: Mapping[str, Any] = field(default_factory=dict)
