"""The settings of the sandboxes that lock code into a jail: `[backends.chroot]` and `[backends.bubblewrap]`."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from pydantic import Field, field_validator
from turnout.sandbox.pooled import PoolOptions

from turnout_ecs.egress.limits import PRIVATE_NETWORKS

__all__ = ["DEFAULT_JAIL", "BubblewrapOptions", "ChrootOptions", "JailOptions"]

DEFAULT_JAIL: Final = Path("/opt/turnout/jail")
_RENEWED: Final = 1000


class JailOptions(PoolOptions):
    """`jail` is where `turnout jail build` put it, `uids` the range of users of which each jail has one of its own. With
    `reuse = "tenant"` a jail serves up to `uses` executions of one tenant and version, one after another, each with its
    modules evaluated anew; globals of the language stay. `cpu_s` bounds the processor time of a jail over its whole life.
    With `cgroup = "auto"` each jail has a cgroup where the worker may make them, which bounds its memory and its threads;
    elsewhere, and with `"off"`, it has none.

    Code reaches a private address where its integration lists it and it is in one of the networks of `openable`; `extra_ca` is a
    PEM file of certificate authorities beside the system's.
    """

    jail: Path = DEFAULT_JAIL
    uids: str = "70000-89999"
    cgroup: Literal["auto", "off"] = "auto"
    reuse: Literal["execution", "tenant"] = "execution"
    uses: int = Field(default=_RENEWED, ge=2, le=1_000_000)
    cpu_s: int = Field(default=3600, ge=1)
    openable: tuple[str, ...] = PRIVATE_NETWORKS
    extra_ca: str = ""

    @field_validator("jail")
    @classmethod
    def _absolute(cls, jail: Path) -> Path:
        if not jail.is_absolute():
            raise ValueError("the jail's directory must be an absolute path")
        return jail

    @property
    def most_uses(self) -> int:
        return self.uses if self.reuse == "tenant" else 1


class ChrootOptions(JailOptions):
    """The table `[backends.chroot]`."""


class BubblewrapOptions(JailOptions):
    """`program` is bubblewrap's, looked for on the PATH if it is no path."""

    program: str = "bwrap"
