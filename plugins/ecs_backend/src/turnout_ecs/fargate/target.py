"""ECS on Fargate as a compute target."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from turnout.interfaces.deployment import Deployment, Description
from turnout.interfaces.sandbox import Privilege
from turnout.interfaces.target import Target, TargetLimits

__all__ = ["EcsTarget"]


class EcsTarget(Target):
    """An ECS service of Fargate tasks for each service; the runner's are workers.

    A task is a process that lives on, with a disk that goes with it. It gets 120 GB at most, and Docker's capabilities, but
    no namespaces of users (https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html).
    """

    name: ClassVar[str] = "ecs"
    limits: ClassVar[TargetLimits] = TargetLimits(
        memory_bytes=120 * 1024**3,
        keeps_files=False,
        privileges=frozenset({Privilege.CHROOT}),
    )

    @classmethod
    def describe(cls, deployment: Deployment, directory: Path, tell: Callable[[str], None]) -> Description:
        from turnout_ecs.fargate.description import describe
        from turnout_ecs.fargate.options import EcsOptions
        from turnout_ecs.image.context import write_context

        description = describe(deployment)
        options = deployment.read(EcsOptions)
        for image in description.images.values():
            place = directory / image.path
            place.mkdir()
            write_context(deployment.root, place, architecture=options.architecture, base=options.base, tell=tell)
        return description
