"""A cgroup for each jail, where the supervisor may make them: the kernel bounds there what it holds of memory of every kind.

The kernel may take 10 ms to move a process, in which it waits for its other processors: a thread does all that writes.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import itertools
import logging
import os
import secrets
import time
from collections import defaultdict, deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from turnout_ecs.jail.cgroup_places import CgroupFiles, Hierarchy, hierarchies

__all__ = ["Allowed", "Cgroup", "Cgroups"]

_PREFIX: Final = "turnout-jails-"
_TRIES: Final = 5
_EMPTY_WITHIN_S: Final = 1.0
_LOOK_S: Final = 0.005
_LARGEST: Final = 4096
_MOST_KEPT: Final = 32
_TROUBLE: Final = ("oom", "oom_kill")
_AT_ONCE_BYTES: Final = 4 * 1024 * 1024
"""More than the kernel asks for at once: what it refused is not in a peak."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """What all processes in a cgroup may have together. Threads count as processes."""

    memory_bytes: int
    processes: int


@dataclass(frozen=True, slots=True)
class _Made:
    """A cgroup, and the opened file that counts deaths in it."""

    name: str
    allowed: Allowed
    deaths: int


class Cgroups:
    """Those of one sandbox, in a directory of its own in each hierarchy, which is locked for as long as the sandbox lives.

    One whose jail has been buried serves another jail with the same bounds, which costs a third of making it anew and leaves
    the kernel none to clear away; one in which memory ran out does not.
    """

    def __init__(self, places: Sequence[Hierarchy], files: CgroupFiles | None = None) -> None:
        """`OSError` where none can be made after all. What dead supervisors left is removed."""
        self._files = files or CgroupFiles()
        self._numbers = itertools.count(1)
        self._places: list[_Place] = []
        self._free: defaultdict[Allowed, deque[_Made]] = defaultdict(deque)
        self._left: set[str] = set()
        self._warned = False
        try:
            for hierarchy in places:
                _sweep(hierarchy.base, self._files)
                self._places.append(_Place.settled(hierarchy, self._files))
            self._unmake(self._make(Allowed(memory_bytes=2**30, processes=1)))
        except OSError:
            self._remove_places()
            raise
        self._thread = ThreadPoolExecutor(1, "turnout-cgroups")

    @classmethod
    def find(cls) -> Cgroups | None:
        """None where this supervisor may make none: that is no fault."""
        files = CgroupFiles()
        places = hierarchies(files)
        try:
            return cls(places, files) if places else None
        except OSError as error:
            _log.debug("there are no cgroups for jails: %s", error)
            return None

    def enter(self, pid: int, allowed: Allowed) -> Cgroup:
        """Begin to put a process that runs nobody's code yet into one of its own."""
        return Cgroup(self, self._thread.submit(self._enter, pid, allowed))

    def close(self) -> None:
        """Remove them all: to be called once their jails have been buried. Waits a moment for those of which a process is not
        quite dead. Idempotent."""
        self._thread.shutdown()
        for made in itertools.chain(*self._free.values()):
            self._unmake(made)
        self._free.clear()
        until = time.monotonic() + _EMPTY_WITHIN_S
        while self._left and time.monotonic() < until:
            time.sleep(_LOOK_S)
            self._remove_left()
        self._remove_places()

    def leave(self, made: _Made) -> bool:
        """The process of that one has been reaped. Says whether it was killed because it had all that it may have."""
        try:
            counted = _counts(os.pread(made.deaths, _LARGEST, 0))
        except (OSError, ValueError):
            counted = dict.fromkeys(_TROUBLE, 0)
        kept = self._free[made.allowed]  # the thread has added the key
        if not any(counted.get(name) for name in _TROUBLE) and len(kept) < _MOST_KEPT:
            kept.append(made)
            return False
        killed = bool(counted.get("oom_kill")) and self._had_all(made, counted)
        self._thread.submit(self._unmake, made)
        return killed

    def leave_unknown(self, entering: Future[_Made | None]) -> None:
        """A process was reaped before it was known to have entered."""
        self._thread.submit(self._leave_unknown, entering)

    def _leave_unknown(self, entering: Future[_Made | None]) -> None:
        if (made := entering.result()) is not None:
            self._unmake(made)

    def _had_all(self, made: _Made, counted: dict[str, int]) -> bool:
        """Whether its own bound was met, and not the machine's."""
        place = self._places[0]
        if not place.hierarchy.peak:
            return bool(counted.get("oom"))
        try:
            peak = int((place.directory / made.name / place.hierarchy.peak).read_text())
        except (OSError, ValueError):
            return False
        return peak > made.allowed.memory_bytes - _AT_ONCE_BYTES

    def _enter(self, pid: int, allowed: Allowed) -> _Made | None:
        made = None
        try:
            free = self._free[allowed]
            made = free.pop() if free else self._make(allowed)
            for place in self._places:
                self._files.write(place.directory / made.name / "cgroup.procs", str(pid))
        except ProcessLookupError:
            pass  # it has ended; whoever started it finds out
        except OSError as error:
            if not self._warned:
                self._warned = True
                _log.warning("jails are without a cgroup: %s", error)
        else:
            return made
        if made is not None:
            self._unmake(made)
        return None

    def _make(self, allowed: Allowed) -> _Made:
        """One with its bounds. `OSError` where that fails, and nothing is left of it."""
        name = str(next(self._numbers))
        values = {"memory": str(allowed.memory_bytes), "pids": str(allowed.processes), "nothing": "0"}
        try:
            for place in self._places:
                directory = place.directory / name
                self._files.make(directory)
                for bound in place.hierarchy.bounds:
                    with contextlib.suppress(*() if bound.needed else (FileNotFoundError,)):
                        self._files.write(directory / bound.file, values[bound.by])
            first = self._places[0]
            deaths = os.open(first.directory / name / first.hierarchy.deaths, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._removed(name)
            raise
        return _Made(name, allowed, deaths)

    def _unmake(self, made: _Made) -> None:
        os.close(made.deaths)
        self._left.add(made.name)
        self._remove_left()

    def _remove_left(self) -> None:
        self._left = {name for name in self._left if not self._removed(name)}

    def _removed(self, name: str) -> bool:
        """Whether it is gone everywhere: the kernel keeps one in which a process is not quite dead."""
        gone = [_is_removed(place.directory / name, self._files) for place in self._places]
        return all(gone)

    def _remove_places(self) -> None:
        places, self._places = self._places, []
        for place in places:
            place.remove(self._files)


class Cgroup:
    """One jail's."""

    def __init__(self, cgroups: Cgroups, entering: Future[_Made | None]) -> None:
        self._cgroups = cgroups
        self._entering = entering

    async def entered(self) -> bool:
        """Whether the process is in it. False where the kernel refused, or the process has ended."""
        return await asyncio.shield(asyncio.wrap_future(self._entering)) is not None

    def leave(self) -> bool:
        """Its process has been reaped. Says whether it was killed because it took more memory than allowed. To be called
        once."""
        if not self._entering.done():
            self._cgroups.leave_unknown(self._entering)
            return False
        made = self._entering.result()
        return made is not None and self._cgroups.leave(made)


@dataclass(frozen=True, slots=True)
class _Place:
    """A sandbox's own directory in a hierarchy. `lock` keeps other supervisors from taking it for a dead one's."""

    hierarchy: Hierarchy
    directory: Path
    lock: int

    @classmethod
    def settled(cls, hierarchy: Hierarchy, files: CgroupFiles) -> _Place:
        for _ in range(_TRIES):
            directory = hierarchy.base / f"{_PREFIX}{secrets.token_hex(6)}"
            files.make(directory)
            if (lock := _locked(directory)) is None:
                continue  # another, which swept at that very moment, has removed it
            place = cls(hierarchy, directory, lock)
            if hierarchy.hand_down:
                try:
                    files.write(directory / "cgroup.subtree_control", hierarchy.hand_down)
                except OSError:
                    place.remove(files)
                    raise
            return place
        raise OSError(errno.EBUSY, "what is made is removed by others", str(hierarchy.base))

    def remove(self, files: CgroupFiles) -> None:
        _remove_all(self.directory, files)
        os.close(self.lock)


def _locked(directory: Path) -> int | None:
    """A lock on it, which the kernel takes back when this process dies; None where another has it or it is gone."""
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if directory.exists():
            return fd
    except BlockingIOError:
        pass
    os.close(fd)
    return None


def _sweep(base: Path, files: CgroupFiles) -> None:
    """Remove what supervisors left that were killed. What has processes still, they being killed too, is left to the next."""
    for directory in base.glob(f"{_PREFIX}*"):
        if (lock := _locked(directory)) is not None:
            _remove_all(directory, files)
            os.close(lock)


def _remove_all(directory: Path, files: CgroupFiles) -> None:
    with contextlib.suppress(OSError):
        for cgroup in [entry for entry in directory.iterdir() if entry.is_dir()]:
            _is_removed(cgroup, files)
    _is_removed(directory, files)


def _is_removed(cgroup: Path, files: CgroupFiles) -> bool:
    try:
        files.remove(cgroup)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _counts(text: bytes) -> dict[str, int]:
    return {name: int(number) for name, number in (line.split() for line in text.decode().splitlines())}
