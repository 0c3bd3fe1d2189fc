"""How a jailed process is started: the launcher by posix_spawn, with a user of its own and its end of the egress channel."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import ClassVar, Final

from turnout.errors import BackendError
from turnout.interfaces.sandbox import Limits
from turnout.sandbox.launch import EGRESS, Launch, posix_spawn
from turnout.sandbox.node import options
from turnout.sandbox.python import python_options

from turnout_ecs.jail.cgroup import Allowed, Cgroup, Cgroups
from turnout_ecs.jail.launcher import ALL_LAYERS, LaunchOptions, Layers
from turnout_ecs.jail.python_parts import BOOTSTRAP_AT, INTERPRETER_AT, PACK_AT, SEAL_AT
from turnout_ecs.jail.status import status_of
from turnout_ecs.jail.tree import Jail
from turnout_ecs.jail.way import Doors, Way

__all__ = ["OUTSIDE_HEAP_BYTES", "JailLaunch", "Setting"]

OUTSIDE_HEAP_BYTES: Final = 192 * 1024 * 1024
"""What V8 and libuv need beside the heap: semi-spaces, code, stacks of threads, buffers that are being sent."""
_BOOTED_BYTES: Final = 64 * 1024 * 1024
"""What is resident of a runtime that has booted. A cgroup counts it; RLIMIT_DATA, which refuses more kindly, shall come first."""
_THREADS: Final = 32
_ABOVE_TARGETS: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What all jailed processes of a sandbox have in common. `cgroups` are None where there are none to be had. `layers` and
    `sealed` are less only for tests' controls and the self-test."""

    jail: Jail
    cpu_s: int
    doors: Doors
    layers: Layers = ALL_LAYERS
    sealed: bool = True
    language: str = "javascript"
    cgroups: Cgroups | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.layers.names(), *(("seal",) if self.sealed else ()))


class JailLaunch(Launch):
    """`way` is the process's only way out. `leave` is called with the user once nothing has it."""

    spawns_worker: ClassVar[bool] = True
    """Whether what is spawned becomes the worker, and does not start it."""

    def __init__(self, setting: Setting, uid: int, leave: Callable[[int], None]) -> None:
        self._setting = setting
        self._leave = leave
        self._gone = False
        self._cgroup: Cgroup | None = None
        self._out_of_memory = False
        self.layers = setting.names
        self.program = "Python" if setting.language == "python" else "Node"
        self.uid = uid
        try:
            ours, self._theirs = socket.socketpair()
        except OSError:
            leave(uid)
            raise
        self.way = Way(ours, setting.doors)

    def spawn(self, limits: Limits, descriptors: Sequence[int]) -> int:
        order = LaunchOptions(
            root=self._setting.jail.root,
            uid=self.uid,
            data_bytes=self._data_bytes(limits),
            cpu_s=self._setting.cpu_s,
            processes=_THREADS,
            keep=EGRESS,
            filter="python" if self._setting.language == "python" else "node",
            layers=self._setting.layers,
        )
        with self._theirs:
            egress = fcntl.fcntl(self._theirs, fcntl.F_DUPFD_CLOEXEC, _ABOVE_TARGETS)
        try:
            pid = posix_spawn(self.command(order, limits), {}, (*descriptors, egress))
        finally:
            os.close(egress)
        if self.spawns_worker:  # while it boots, the kernel has the time that it takes to move it
            self._enter_cgroup(pid, limits)
        return pid

    def _enter_cgroup(self, pid: int, limits: Limits) -> None:
        if self._setting.cgroups is not None:
            memory_bytes = limits.memory_bytes + OUTSIDE_HEAP_BYTES + _BOOTED_BYTES
            self._cgroup = self._setting.cgroups.enter(pid, Allowed(memory_bytes=memory_bytes, processes=_THREADS))

    def _data_bytes(self, limits: Limits) -> int:
        """On top of what the runtime has when it has booted; what Python's code needs lies in the data segment, all of it."""
        manifest = self._setting.jail.manifest
        if self._setting.language == "python":
            return manifest.python_data_base_bytes + limits.memory_bytes
        return manifest.data_base_bytes + limits.memory_bytes + OUTSIDE_HEAP_BYTES

    def command(self, order: LaunchOptions, limits: Limits) -> list[str]:
        """What is started: the launcher, which becomes Node or Python."""
        return order.argv(self.inside(limits, "/" if order.layers.chroot else f"{order.root}/"))

    def inside(self, limits: Limits, root: str) -> list[str]:
        """The program and its arguments, where the jail's tree is seen at `root`."""
        if self._setting.language == "python":
            return self._python(root)
        seal = [f"{root}seal.node"] if self._setting.sealed else []
        return [f"{root}node", *options(limits.memory_bytes), f"{root}bootstrap/main.cjs", *seal]

    def _python(self, root: str) -> list[str]:
        seal = f"{root}{SEAL_AT[1:]}" if self._setting.sealed else "-"
        own = [f"{root}{place[1:]}" for place in (INTERPRETER_AT, BOOTSTRAP_AT, PACK_AT)]
        return [own[0], *python_options(), own[1], seal, own[2]]

    def booted(self, pid: int, limits: Limits) -> None:
        """Look from outside whether it is as it was told to be: nothing of it is taken on trust."""
        layers, status = self._setting.layers, status_of(self.worker(pid))
        wanted = {"Seccomp_filters": str(_filters_around() + layers.seccomp + self._setting.sealed)}
        if layers.no_new_privs:
            wanted["NoNewPrivs"] = "1"
        if layers.uid:
            wanted |= dict.fromkeys(("Uid", "Gid"), "\t".join([str(self.uid)] * 4))
            wanted["Groups"] = ""
        if layers.caps:
            wanted |= dict.fromkeys(("CapPrm", "CapEff", "CapInh", "CapAmb"), "0" * 16)
        if wrong := [name for name, value in wanted.items() if status.get(name, value).strip() != value]:
            found = ", ".join(f"{name} {status[name].strip()!r}" for name in wrong)
            raise BackendError(f"a jailed process is not as it was to be: {found}")

    async def bound(self, pid: int, limits: Limits) -> None:
        """`layers` have `cgroup` from here on if it is in one."""
        if not self.spawns_worker:
            self._enter_cgroup(self.worker(pid), limits)
        if self._cgroup is not None and await self._cgroup.entered():
            self.layers = (*self.layers, "cgroup")

    @property
    def out_of_memory(self) -> bool:
        return self._out_of_memory

    def kill(self, pid: int) -> None:
        """It can start no process: it is all there is to end."""
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)

    def buried(self) -> None:
        if not self._gone:
            self._gone = True
            if self._cgroup is not None:
                self._out_of_memory = self._cgroup.leave()
            self._theirs.close()
            self._leave(self.uid)
            self.way.close()


@cache
def _filters_around() -> int:
    """How many filters each process here has already: a container has one of its own."""
    return int(status_of("self").get("Seccomp_filters", "0"))
