"""Users for sandboxes: each running sandbox of this machine has one that no other process has.

A user who is shared can be killed, traced and starved by the one he shares with. Supervisors on one machine divide a range
among themselves in blocks: who holds the lock of a block hands out its numbers. The kernel gives the lock back when a
supervisor dies, however it does; its sandboxes may live for a moment longer, so who takes a block looks for them first.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, Self

from turnout.errors import BackendError, Overloaded, SettingsError

from turnout_ecs.jail.places import private

__all__ = ["BLOCK", "UidRange", "users_alive"]

BLOCK: Final = 1024
"""Numbers a lock. Blocks begin at its multiples, whatever the range: two ranges that overlap are divided too."""
_SETTING: Final = "backends.chroot.uids"
_LOWEST: Final = 1000
_HIGHEST: Final = 2**31 - 1
_OVERFLOW: Final = 65534
"""What the kernel shows for users that it cannot show: nobody's."""
_LOCKS: Final = (Path("/run/turnout/uids"), Path("/dev/shm/turnout-uids"))  # noqa: S108 - `private` checks it
"""Where locks lie: the second where the root file system is read-only, as a container's may be."""


class UidRange:
    """The users `first` to `last`. For one thread of one process; `close` it.

    `take` gives the one that has been unused for longest.
    """

    def __init__(self, first: int, last: int, *, locks: Path | None = None, etc: Path = Path("/etc")) -> None:
        """`SettingsError` where some of the range is somebody's: a user's, a group's, a subordinate range, our own, or
        not ours to give away in this container. `BackendError` where no lock can be taken."""
        _check(first, last, etc)
        self._first, self._last = first, last
        self._directory = _lock_directory(locks)
        self._held: dict[int, int] = {}
        self._free: deque[int] = deque()
        self._doubtful: set[int] = set()
        self._taken: set[int] = set()
        self._lease()

    @classmethod
    def parse(cls, text: str) -> Self:
        """From a setting, as `70000-89999`."""
        first, dash, last = text.partition("-")
        if not (dash and first.strip().isdecimal() and last.strip().isdecimal()):
            raise SettingsError(f"{_SETTING}: {text!r} is no range of users: 70000-89999 is one", setting=_SETTING)
        return cls(int(first), int(last))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def take(self) -> int:
        """A user whom no process has. `Overloaded` where all are in use, here or by other supervisors."""
        if not self._free:
            self._find_more()
        uid = self._free.popleft()
        self._taken.add(uid)
        return uid

    def give_back(self, uid: int, *, certain: bool = True) -> None:
        """Its process has been reaped. Not `certain`: another process may have got the same user (some layer was off), so
        it is given to nobody before /proc shows none. What was not taken is left alone."""
        if uid not in self._taken:
            return
        self._taken.discard(uid)
        if certain:
            self._free.append(uid)
        else:
            self._doubtful.add(uid)

    def close(self) -> None:
        """Let other supervisors have them all: to be called once the sandboxes that had them have ended. Idempotent."""
        for fd in self._held.values():
            os.close(fd)
        self._held.clear()
        self._free.clear()
        self._doubtful.clear()

    def _find_more(self) -> None:
        if self._doubtful:
            alive = users_alive(self._doubtful)
            self._free.extend(sorted(self._doubtful - alive))
            self._doubtful &= alive
        if not self._free:
            self._lease()

    def _lease(self) -> None:
        """Lock the next block that nobody holds and that has a user to give."""
        for block in range(self._first // BLOCK, self._last // BLOCK + 1):
            if block in self._held or (fd := self._lock(block)) is None:
                continue
            self._held[block] = fd
            uids = set(range(max(self._first, block * BLOCK), min(self._last, block * BLOCK + BLOCK - 1) + 1))
            alive = users_alive(uids)
            self._doubtful |= alive
            self._free.extend(sorted(uids - alive))
            if self._free:
                return
        raise Overloaded(
            f"{_SETTING}: every user from {self._first} to {self._last} is in use by a sandbox of this machine, or held by "
            f"another supervisor, each of which takes {BLOCK}: make the range longer"
        )

    def _lock(self, block: int) -> int | None:
        path = self._directory / str(block)
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise BackendError(
                f"{path}, by which supervisors divide users, cannot be opened: {error.strerror}"
            ) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        return fd


def users_alive(uids: Iterable[int]) -> set[int]:
    """Those of `uids` that some process of this machine has: as its real, effective, saved or file-system user.

    About 15 µs a process of the machine.
    """
    wanted = frozenset(uids)
    return {uid for pid in _pids() for uid in _users(pid) if uid in wanted}


def _pids() -> Iterator[str]:
    with os.scandir("/proc") as entries:
        yield from (entry.name for entry in entries if entry.name.isdigit())


def _users(pid: str) -> set[int]:
    """Of a process; none if it is gone. A zombie has users still: it counts against their limits until it is reaped."""
    try:
        status = Path(f"/proc/{pid}/status").read_bytes()
    except OSError:
        return set()
    return set(map(int, status.partition(b"\nUid:")[2].partition(b"\n")[0].split()))


def _lock_directory(chosen: Path | None) -> Path:
    if chosen is not None:
        return private(chosen, setting=_SETTING, make=True)
    refused = []
    for directory in _LOCKS:
        try:
            made = private(directory, setting=_SETTING, make=True)
        except SettingsError as error:
            refused.append(str(error))
            continue
        if os.access(made, os.W_OK):
            return made
        refused.append(f"{made} is read-only")
    raise BackendError(
        "supervisors of one machine divide their users by locks, for which no directory can be had:\n"
        + "\n".join(refused)
    )


def _check(first: int, last: int, etc: Path) -> None:
    def refuse(why: str) -> SettingsError:
        return SettingsError(f"{_SETTING}: {first}-{last} cannot be used: {why}: choose others", setting=_SETTING)

    if not _LOWEST <= first <= last <= _HIGHEST:
        raise refuse(f"it must go upwards, from {_LOWEST} at least, to {_HIGHEST} at most")
    if first <= _OVERFLOW <= last:
        raise refuse(f"{_OVERFLOW} is nobody's, and stands for users that a container cannot name")
    if first <= os.getuid() <= last:
        raise refuse(f"{os.getuid()} is this process's own user")
    for kind in ("uid", "gid"):
        if not _is_mapped(Path(f"/proc/self/{kind}_map"), first, last):
            raise refuse(f"this container may not use all of it (/proc/self/{kind}_map says which)")
    for file, start, end, name in _assigned(etc):
        if first <= end and start <= last:
            raise refuse(f"{etc / file} gives {start if start == end else f'{start}-{end}'} to {name}")


def _is_mapped(file: Path, first: int, last: int) -> bool:
    """Whether the numbers exist in this user namespace."""
    try:
        lines = [list(map(int, line.split())) for line in file.read_text().splitlines()]
    except OSError:
        return True  # a kernel without user namespaces
    missing = first
    for start, _, count in sorted(lines):
        if start <= missing < start + count:
            missing = start + count
    return missing > last


def _assigned(etc: Path) -> Iterator[tuple[str, int, int, str]]:
    """Who has which numbers: file, first, last, name."""
    for file, at, counted in (("passwd", 2, False), ("group", 2, False), ("subuid", 1, True), ("subgid", 1, True)):
        with contextlib.suppress(OSError):
            for line in (etc / file).read_text(errors="replace").splitlines():
                fields = line.split(":")
                with contextlib.suppress(ValueError, IndexError):
                    start = int(fields[at])
                    yield file, start, start + (int(fields[2]) - 1 if counted else 0), fields[0]
