"""The sizes that a Fargate task can have
(https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-cpu-memory-error.html)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

__all__ = ["SIZES", "size_of"]

_GB: Final = 1024

SIZES: Final[Mapping[int, Sequence[int]]] = {
    256: (512, _GB, 2 * _GB),
    512: range(_GB, 4 * _GB + 1, _GB),
    1024: range(2 * _GB, 8 * _GB + 1, _GB),
    2048: range(4 * _GB, 16 * _GB + 1, _GB),
    4096: range(8 * _GB, 30 * _GB + 1, _GB),
    8192: range(16 * _GB, 60 * _GB + 1, 4 * _GB),
    16384: range(32 * _GB, 120 * _GB + 1, 8 * _GB),
}
"""MB of memory by units of processors, 1024 a processor: both rise."""


def size_of(memory_mb: int, cpu: int = 256) -> tuple[int, int]:
    """The smallest size with that much memory, and processors: `(cpu, memory_mb)`. `ValueError` if there is none."""
    for units, memories in SIZES.items():
        if units < cpu:
            continue
        for memory in memories:
            if memory >= memory_mb:
                return units, memory
    raise ValueError(f"no Fargate task has {memory_mb} MB")
