"""The entry point: what this distribution provides. It loads none of it until it is asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from turnout.hookspecs import hookimpl

if TYPE_CHECKING:
    import click
    from turnout.interfaces.queue import Queue
    from turnout.interfaces.sandbox import Sandbox
    from turnout.interfaces.target import Target

__all__: list[str] = []


@hookimpl
def turnout_queues() -> Mapping[str, type[Queue]]:
    from turnout_ecs.queue.queue import RedisQueue

    return {"redis": RedisQueue}


@hookimpl
def turnout_sandboxes() -> Mapping[str, type[Sandbox]]:
    from turnout_ecs.jail.bubblewrap import BubblewrapSandbox
    from turnout_ecs.jail.sandbox import ChrootSandbox

    return {"bubblewrap": BubblewrapSandbox, "chroot": ChrootSandbox}


@hookimpl
def turnout_stores() -> Mapping[str, type]:
    from turnout_ecs.journal.journal import RedisJournal
    from turnout_ecs.state.state import RedisState

    return {"journal:redis": RedisJournal, "state:redis": RedisState}


@hookimpl
def turnout_targets() -> Mapping[str, type[Target]]:
    from turnout_ecs.fargate.target import EcsTarget

    return {"ecs": EcsTarget}


@hookimpl
def turnout_commands() -> Mapping[str, click.Command]:
    from turnout_ecs.image.command import image
    from turnout_ecs.jail.command_group import command

    return {"image": image, "jail": command}
