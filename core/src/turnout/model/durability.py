"""Named durability classes: what a write survives once it was acknowledged."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Durability"]


class Durability(StrEnum):
    """`memory` survives nothing, `process` SIGKILL of every process of ours, `host` loss of power as well."""

    MEMORY = "memory"
    PROCESS = "process"
    HOST = "host"
