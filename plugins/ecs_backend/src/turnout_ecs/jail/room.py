"""Whether there is room for as many jails as may run at once: descriptors and memory."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from turnout.sandbox.pool import PoolSizes

__all__ = ["DESCRIPTORS", "make_room"]

DESCRIPTORS: Final = 8
"""That a jail takes of its supervisor's: its channel, two pipes, its way out, one that tells its end, one for its cgroup, one that
holds the process which bubblewrap starts, and a connection that its broker makes."""
_BESIDE: Final = 128
"""What a worker has open beside: queue and stores, its server, files of payloads, the start of a jail."""
_RESIDENT_BYTES: Final = 25 * 1024 * 1024
"""Of a jail that has loaded its code and holds nothing."""
_LIMITS: Final = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def make_room(sandbox: str, sizes: PoolSizes, languages: int) -> Sequence[str]:
    """Raise the soft limit on descriptors to the hard one if the jails of so many languages, each with a pool of these sizes,
    need it. What is not enough all the same is said, in a line each, with what to do about it."""
    return [*_descriptors(sandbox, sizes, languages), *_memory(sandbox, sizes)]


def _descriptors(sandbox: str, sizes: PoolSizes, languages: int) -> Iterator[str]:
    beside = sizes.ceiling + sizes.makers
    needed = languages * (sizes.running + beside) * DESCRIPTORS + _BESIDE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if _is_enough(soft, needed):
        return
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    if not _is_enough(soft, needed):
        fitting = (soft - _BESIDE) // DESCRIPTORS // languages - beside
        yield (
            f"this process may open {soft} files, and {sizes.running} jails for each language take up to {needed}: start it "
            f"with a higher limit (`ulimit -n {needed}`, `--ulimit nofile={needed}` of a container)"
            + _or_fewer(sandbox, fitting)
        )


def _memory(sandbox: str, sizes: PoolSizes) -> Iterator[str]:
    """Of one language: more than one need not be in use."""
    memory = _memory_bytes()
    needed = (sizes.running + sizes.ceiling) * _RESIDENT_BYTES
    if needed > memory:
        yield (
            f"there are {memory >> 20} MB of memory, and {sizes.running} jails take {needed >> 20} MB before their code holds "
            f"anything: give it more{_or_fewer(sandbox, memory // _RESIDENT_BYTES - sizes.ceiling)}"
        )


def _or_fewer(sandbox: str, fitting: int) -> str:
    return f", or set max_processes of [backends.{sandbox}] to {fitting} at most" if fitting > 0 else ""


def _is_enough(limit: int, needed: int) -> bool:
    return limit == resource.RLIM_INFINITY or limit >= needed


def _memory_bytes() -> int:
    """The machine's, or what this container may have of it."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for limit in _LIMITS:
        with contextlib.suppress(OSError, ValueError):
            memory = min(memory, int(limit.read_text()))
    return memory
