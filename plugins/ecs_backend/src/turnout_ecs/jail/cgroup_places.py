"""Where a supervisor may make cgroups: below its own, in a part of the hierarchy that it was given. Nowhere else, so that what
bounds the supervisor bounds its jails too."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, Literal

__all__ = ["Bound", "CgroupFiles", "Hierarchy", "hierarchies"]

_SUPERVISORS: Final = "turnout-supervisors"
"""Where supervisors are themselves under cgroup v2, in which a cgroup with processes has no divided ones below it."""
_PROCESSES: Final = "cgroup.procs"
_CONTROL: Final = "cgroup.subtree_control"
_WANTED: Final = frozenset({"memory", "pids"})
_ROUNDS: Final = 10


@dataclass(frozen=True, slots=True)
class Bound:
    """A file that bounds a cgroup, and by what; one that is not `needed` may be missing: some kernels do not count swap."""

    file: str
    by: Literal["memory", "pids", "nothing"]
    needed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Hierarchy:
    """Below `base` cgroups are made. `hand_down` is what each level has to give the one below it, `deaths` the file that
    counts processes killed for want of memory: with how often the cgroup's own bound was met, or else `peak` is another file
    with the most that it held."""

    base: Path
    bounds: tuple[Bound, ...]
    hand_down: str = ""
    deaths: str = ""
    peak: str = ""


class CgroupFiles:
    """What is done with the kernel's files; each raises `OSError`."""

    def make(self, cgroup: Path) -> None:
        cgroup.mkdir(mode=0o755)

    def remove(self, cgroup: Path) -> None:
        """`OSError` while a process is in it. The kernel's files in it are no hindrance."""
        cgroup.rmdir()

    def write(self, file: Path, value: str) -> None:
        fd = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, value.encode())
        finally:
            os.close(fd)

    def delegated(self, cgroup: Path) -> bool:
        """Whether systemd says that it is ours to divide (`Delegate=` of a unit)."""
        for name in ("trusted.delegate", "user.delegate"):
            with contextlib.suppress(OSError):
                return os.getxattr(cgroup, name) == b"1"
        return False


def hierarchies(files: CgroupFiles, process: Path = Path("/proc/self")) -> tuple[Hierarchy, ...]:
    """What bounds memory and the number of processes here: the one of cgroup v2, or two of v1; none where that is not to be
    had. Under v2 the supervisor may be moved, into a cgroup of its own beside its jails'."""
    try:
        own = dict(_own(process))
        mounts = list(_mounts(process))
    except (OSError, ValueError):
        return ()
    unified = [
        found
        for mount in mounts
        if mount.type == "cgroup2" and "" in own and (found := _divided(files, mount, own[""])) is not None
    ]
    if unified:
        return (_v2(unified[0]),)
    memory, pids = (_v1_base(mounts, own, controller) for controller in ("memory", "pids"))
    return () if memory is None or pids is None else (_v1_memory(memory), _v1_pids(pids))


def _v2(base: Path) -> Hierarchy:
    bounds = Bound("memory.max", "memory"), Bound("memory.swap.max", "nothing", needed=False), Bound("pids.max", "pids")
    return Hierarchy(base=base, bounds=bounds, hand_down="+memory +pids", deaths="memory.events")


def _v1_memory(base: Path) -> Hierarchy:
    """The second bound is of memory and swap together, and must not be below the first."""
    bounds = (
        Bound("memory.limit_in_bytes", "memory"),
        Bound("memory.memsw.limit_in_bytes", "memory", needed=False),
    )
    return Hierarchy(base=base, bounds=bounds, deaths="memory.oom_control", peak="memory.max_usage_in_bytes")


def _v1_pids(base: Path) -> Hierarchy:
    return Hierarchy(base=base, bounds=(Bound("pids.max", "pids"),))


@dataclass(frozen=True, slots=True)
class _Mount:
    type: str
    controllers: frozenset[str]
    root: str
    at: Path


def _own(process: Path) -> Iterator[tuple[str, str]]:
    """Each controller with the supervisor's own cgroup; under "" that of v2."""
    for line in (process / "cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        yield from ((controller, path) for controller in controllers.split(","))


def _mounts(process: Path) -> Iterator[_Mount]:
    for line in (process / "mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        if kind in ("cgroup", "cgroup2"):
            root, at = (field.encode().decode("unicode_escape") for field in before.split(" ")[3:5])
            yield _Mount(kind, frozenset(options.split(",")), root, Path(at))


def _seen(mount: _Mount, own: str) -> Path | None:
    """Where our own cgroup is in the file system; None if that mount does not show it."""
    path = PurePosixPath(own)
    if ".." in path.parts or not path.is_relative_to(mount.root):
        return None
    at = mount.at / path.relative_to(mount.root)
    return at if os.access(at, os.W_OK | os.X_OK) else None


def _v1_base(mounts: list[_Mount], own: dict[str, str], controller: str) -> Path | None:
    for mount in mounts:
        if mount.type == "cgroup" and controller in mount.controllers and controller in own:
            return _seen(mount, own[controller])
    return None


def _divided(files: CgroupFiles, mount: _Mount, own: str) -> Path | None:
    """The cgroup of v2 below which there is memory and pids to bound, made so if it is ours to make."""
    seen = _seen(mount, own)
    if seen is None:
        return None
    base = seen.parent if seen.name == _SUPERVISORS else seen
    try:
        if not _words(base / "cgroup.controllers") >= _WANTED:
            return None
        if _words(base / _CONTROL) >= _WANTED or _hands_down(files, base):
            return base
        container = own == "/" and (base / "cgroup.events").exists()  # the machine's own root has no such file
        if container or files.delegated(base):
            _step_aside(files, base)
            return base if _hands_down(files, base) else None
    except OSError:
        pass
    return None


def _hands_down(files: CgroupFiles, base: Path) -> bool:
    try:
        files.write(base / _CONTROL, "+memory +pids")
    except OSError as error:
        if error.errno == errno.EBUSY:
            return False
        raise
    return True


def _step_aside(files: CgroupFiles, base: Path) -> None:
    """Move what is in `base`, a container's or a service's own processes, into a cgroup below it."""
    aside = base / _SUPERVISORS
    with contextlib.suppress(FileExistsError):
        files.make(aside)
    for _ in range(_ROUNDS):  # what starts another process meanwhile is met again
        inside = (base / _PROCESSES).read_text().split()
        if not inside:
            return
        for pid in inside:
            with contextlib.suppress(ProcessLookupError):
                files.write(aside / _PROCESSES, pid)


def _words(file: Path) -> frozenset[str]:
    return frozenset(file.read_text().split())
