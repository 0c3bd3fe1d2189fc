"""The hooks: all of them. They register; behaviour is in the interfaces.

A plugin is a module named by an entry point of group `turnout`; it implements some of these functions with
`@turnout.hookimpl`. A hook returns classes (or objects) keyed by the name that settings and definitions use. Import heavy
modules inside the implementation: `turnout --help` loads every plugin module, but calls only `turnout_commands`.
"""

# A specification is a signature: pluggy never calls it.
# mypy: disable-error-code="empty-body"

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    import click

    from turnout.interfaces.connector import Connector
    from turnout.interfaces.connector_source import ConnectorSource
    from turnout.interfaces.queue import Queue
    from turnout.interfaces.sandbox import Sandbox
    from turnout.interfaces.service import Service
    from turnout.interfaces.target import Target
    from turnout.model.events import Event

__all__ = ["PROJECT", "hookimpl"]

PROJECT = "turnout"
_hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@_hookspec
def turnout_connectors() -> Mapping[str, Connector]:
    """Connectors by name."""


@_hookspec
def turnout_connector_sources() -> Mapping[str, type[ConnectorSource]]:
    """What makes the connectors that a project declares in `[connectors.<name>]`, by the name that `source` says there."""


@_hookspec
def turnout_queues() -> Mapping[str, type[Queue]]:
    """Queue classes by name."""


@_hookspec
def turnout_sandboxes() -> Mapping[str, type[Sandbox]]:
    """Sandbox classes by name."""


@_hookspec
def turnout_stores() -> Mapping[str, type]:
    """Store classes by `kind:name`, the kind one of `alerts`, `catalog`, `journal`, `keys`, `logs`, `metrics`, `payloads`,
    `records`, `secrets`, `state`."""


@_hookspec
def turnout_targets() -> Mapping[str, type[Target]]:
    """Compute target classes by name."""


@_hookspec
def turnout_services() -> Mapping[str, type[Service]]:
    """Service classes by name, which is the `name` of the class, and none of Turnout's own: each is made by `connect`, placed by
    `[services.<name>]`, and served with the others."""


@_hookspec
def turnout_commands() -> Mapping[str, click.Command]:
    """Commands of the `turnout` command line by name."""


@_hookspec
def turnout_event(execution: str, event: Event) -> None:
    """An observer: called with each event of an execution in this process, after the fact. It must return quickly;
    what it raises is logged and harms nothing."""
