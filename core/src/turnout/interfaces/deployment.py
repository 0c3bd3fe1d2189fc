"""What is deployed: the services that settings place on a target, and what the target says it takes to run them there.

A target describes, in values; Turnout renders these as a template, plans what would change, and applies it. Nothing here
talks to a cloud.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel

from turnout.interfaces.opening import read_options
from turnout.interfaces.permission import Permission
from turnout.interfaces.service import Needs

__all__ = [
    "ConsumerShape",
    "Deployment",
    "Description",
    "ImageContext",
    "Parameter",
    "Placed",
    "Resource",
    "RouteShape",
    "ServiceShape",
    "TimerShape",
]

M = TypeVar("M", bound=BaseModel)

_TABLE: Final = "targets"


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteShape:
    method: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerShape:
    name: str
    every_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerShape:
    name: str
    events: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceShape:
    """A service without its parts: its name, what calls it, what it needs."""

    name: str
    routes: tuple[RouteShape, ...] = ()
    timers: tuple[TimerShape, ...] = ()
    consumers: tuple[ConsumerShape, ...] = ()
    needs: Needs = field(default_factory=Needs)

    @property
    def triggers(self) -> tuple[str, ...]:
        """What calls it, for people: `POST /hooks/…`, `every 60 s: retention`, `events ended, logged`."""
        return (
            *(f"{route.method} {route.path}" for route in self.routes),
            *(f"every {timer.every_s:g} s: {timer.name}" for timer in self.timers),
            *(f"events {', '.join(consumer.events)}" for consumer in self.consumers),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A service on a target, with what the settings give it there; None: what the target gives without being asked."""

    shape: ServiceShape
    memory_bytes: int | None = None
    processes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """What one target is to run in one environment of a project. `root` is the project's directory.

    `variables` names the environment variables that settings refer to (`env:REDIS_URL`): each is a secret that the target
    hands to the services by reference. `permissions` are what the chosen backends do in the cloud. `options` is the
    target's own table `[targets.<name>]`, as written; `read` checks it. `metrics` is where how the queue stands is published
    (`metrics.kind`), empty for nowhere. `queue` is the chosen queue's name, `queue_options` its table, as written.
    """

    project: str
    environment: str
    root: Path
    target: str
    services: tuple[Placed, ...]
    variables: tuple[str, ...] = ()
    permissions: tuple[Permission, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    metrics: str = ""
    queue: str = ""
    queue_options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What its resources are named after: the project and the environment."""
        return f"{self.project}-{self.environment}" if self.environment else self.project

    def read(self, model: type[M]) -> M:
        """The options as a pydantic model of the target's. `SettingsError` names each that is wrong, missing or unknown."""
        return read_options(self.options, model, _TABLE, self.target)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """What is asked for when it is deployed. Without a `default` it must be given. The value of a secret is never one: its
    address in the cloud's store of secrets is. `type` is CloudFormation's."""

    name: str
    description: str
    type: str = "String"
    default: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A resource in CloudFormation's terms: other resources are referred to by `{"Ref": id}` and `{"Fn::GetAtt": [id, …]}`.
    One to `keep` holds data: it stays where the template loses it."""

    id: str
    type: str
    properties: Mapping[str, Any]
    depends_on: tuple[str, ...] = ()
    keep: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageContext:
    """What a container's image is built from: a directory with its Dockerfile, relative to the one that the target was given.
    `platform` is what it is built for, `linux/amd64`."""

    path: Path
    platform: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What a target takes to run the services: resources with their parameters and outputs (name to value). `artefacts` are
    the files that were made, relative to the directory that it was given, by the parameter that says where they were
    uploaded to, and `images` what images are built from, by the parameter that takes the address. `notes` are what people should know, a sentence each."""

    resources: tuple[Resource, ...]
    parameters: tuple[Parameter, ...] = ()
    outputs: Mapping[str, Any] = field(default_factory=dict)
    artefacts: Mapping[str, Path] = field(default_factory=dict)
    images: Mapping[str, ImageContext] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
