"""A task definition of a packaged template, as ECS's agent on Fargate would start it here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.images.engine import CAPABILITIES, Container, Given

__all__ = ["Task", "task_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """The one container of a task."""

    definition: Mapping[str, Any]
    memory_bytes: int
    image: str
    profile: Path

    def given(self, secrets: Mapping[str, str], extra: Mapping[str, str]) -> Given:
        """`secrets` are what Secrets Manager has, by the variable; `extra` is the machine's."""
        linux = self.definition["LinuxParameters"]
        dropped = set(linux["Capabilities"]["Drop"])
        environment = {one["Name"]: one["Value"] for one in self.definition["Environment"]}
        environment |= {one["Name"]: secrets[one["Name"]] for one in self.definition["Secrets"]}
        return Given(
            profile=self.profile,
            capabilities=frozenset() if "ALL" in dropped else CAPABILITIES - dropped,
            read_only=self.definition["ReadonlyRootFilesystem"],
            init=linux["InitProcessEnabled"],
            network=True,
            user=self.definition.get("User", ""),
            environment={**environment, **extra},
            memory_bytes=self.memory_bytes,
            writable=tuple(one["ContainerPath"] for one in self.definition["MountPoints"]),
        )

    def start(self, given: Given, *arguments: str) -> Container:
        return Container(self.image, given, *self.definition["Command"], *arguments)

    def healthy(self, container: Container) -> bool:
        """What its check of health says."""
        kind, *command = self.definition["HealthCheck"]["Command"]
        assert kind == "CMD"
        return container.execute(*command).status == 0


def task_of(package: Path, service: str, image: str, profile: Path) -> Task:
    template = json.loads((package / "template.json").read_text())
    task = template["Resources"][f"{service.capitalize()}Task"]["Properties"]
    [definition] = task["ContainerDefinitions"]
    return Task(definition=definition, memory_bytes=int(task["Memory"]) * 1024**2, image=image, profile=profile)
