"""What is kept of an instance: which version a customer has, with what, and what is under way with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from turnout.interfaces.catalog import CatalogStore
from turnout.services.documents import Documents

__all__ = ["Deployed", "InstanceState", "Lifecycle", "Release", "deployed_of"]


class InstanceState(StrEnum):
    """`paused` takes nothing in, what runs goes on. `deleting` waits for what runs and for its `on_delete`."""

    ACTIVE = "active"
    PAUSED = "paused"
    DELETING = "deleting"


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A version as an instance has it: the hash of its bundle, the digest of its settings, which config variables were given
    (the others have the version's defaults), and by slot the names of the customer's connections."""

    version: str
    bundle: str
    settings: str
    given: tuple[str, ...] = ()
    connections: Mapping[str, str] = field(default_factory=dict)
    since: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifecycle:
    """A lifecycle flow that is to run, or runs: `event` is `deploy`, `upgrade`, `rollback` or `delete`, `id` makes it one
    execution however often it is started. `execution` is empty until it was; `trouble` says why it did not end well."""

    event: str
    id: str
    version_before: str = ""
    execution: str = ""
    trouble: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """The document `instance`: tenant is the customer, the name unique for it. `previous` is what `rollback` goes back to."""

    integration: str
    state: InstanceState = InstanceState.ACTIVE
    current: Release
    previous: Release | None = None
    lifecycle: Lifecycle | None = None
    created_at: float = 0.0
    changed_at: float = 0.0


def deployed_of(catalog: CatalogStore) -> Documents[Deployed]:
    """The instances of all customers."""
    return Documents(catalog, "instance", Deployed)
