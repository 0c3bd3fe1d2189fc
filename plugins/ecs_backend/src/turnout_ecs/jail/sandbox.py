"""The sandboxes that lock customers' code into a jail: what they share, and `chroot`, which needs nothing that Fargate
withholds: no namespaces, mounts or cgroups."""

from __future__ import annotations

import asyncio
import os
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import ClassVar, Final, Self

from turnout.errors import BackendError
from turnout.interfaces.clock import Clock, SystemClock
from turnout.interfaces.opening import Opening
from turnout.interfaces.sandbox import CodeBundle, Isolation, Job, Privilege
from turnout.sandbox.bundle_files import OverChannel
from turnout.sandbox.handle import Guard
from turnout.sandbox.pooled import PooledSandbox
from turnout.sandbox.process import NodeProcess

from turnout_ecs.egress.limits import EgressLimits
from turnout_ecs.egress.upstream import verifying_context
from turnout_ecs.jail.capabilities import must_have
from turnout_ecs.jail.cgroup import Cgroups
from turnout_ecs.jail.launch import OUTSIDE_HEAP_BYTES, JailLaunch, Setting
from turnout_ecs.jail.launcher import ALL_LAYERS, Layers
from turnout_ecs.jail.options import ChrootOptions, JailOptions
from turnout_ecs.jail.room import make_room
from turnout_ecs.jail.selftest import self_test
from turnout_ecs.jail.tree import Hold, Jail, find
from turnout_ecs.jail.uids import UidRange
from turnout_ecs.jail.watch import MemoryWatch
from turnout_ecs.jail.way import Doors, Way

__all__ = ["ChrootSandbox", "JailSandbox"]

_NOT_STARTED: Final = "the sandbox has not been started"


class _Around(Guard):
    """Around each job: its way out is open. From the first code on, the process's memory is watched."""

    def __init__(self, clock: Clock) -> None:
        self._watch = MemoryWatch(clock, slack_bytes=OUTSIDE_HEAP_BYTES)

    def enter(self, process: NodeProcess, job: Job) -> None:
        _way_of(process).enter(job.egress)
        self.watch(process)

    def watch(self, process: NodeProcess) -> None:
        """It is about to be given code."""
        self._watch.add(process)

    def leave(self, process: NodeProcess) -> Sequence[str]:
        return _way_of(process).leave()

    async def close(self) -> None:
        await self._watch.close()


def _way_of(process: NodeProcess) -> Way:
    assert isinstance(process.launch, JailLaunch)
    return process.launch.way


class JailSandbox(PooledSandbox):
    """One-shot jails, warm before they are asked for. `layers` and `sealed` are less only in tests' controls, which must not
    be served from: the self-test finds them out.

    A subclass gives `name` and `needs`, and starts processes. A supervisor that is root gives each a user of its own.
    """

    isolates: ClassVar[frozenset[Isolation]] = frozenset(Isolation)
    privileges: ClassVar[frozenset[Privilege]] = frozenset({Privilege.CHROOT})
    languages: ClassVar[frozenset[str]] = frozenset({"javascript", "python"})
    brokers: ClassVar[bool] = True
    loads_native: ClassVar[bool] = False
    needs: ClassVar[tuple[str, ...]]
    """The capabilities without which root cannot start it."""

    def __init__(
        self, options: JailOptions, *, clock: Clock | None = None, layers: Layers = ALL_LAYERS, sealed: bool = True
    ) -> None:
        clock = clock or SystemClock()
        self._around = _Around(clock)
        super().__init__(options.sizes(), clock=clock, source=OverChannel(), guard=self._around, uses=options.most_uses)
        self._options = options
        self._layers, self._sealed = layers, sealed
        self._setting: Setting | None = None
        self._hold: Hold | None = None
        self._cgroups: Cgroups | None = None
        self._uids: UidRange | None = None

    async def start(self) -> Sequence[str]:
        if self._uids is None and os.geteuid() == 0:
            must_have(self.name, *self.needs)
            self._uids = UidRange.parse(self._options.uids)
        lacking = make_room(self.name, self._options.sizes(), len(self.languages))
        jail = await asyncio.to_thread(find, self._options.jail)
        self._hold = jail.hold()
        if self._options.cgroup == "auto" and self._cgroups is None:
            self._cgroups = await asyncio.to_thread(Cgroups.find)
        self._setting = self.setting(jail)
        await self_test(self.jailed, self._setting)
        await self.warm_up()
        outdated = [f"the jail lacks what was mended in {library}: build it again" for library in jail.outdated]
        return [*outdated, *lacking]

    def launch(self, language: str = "javascript") -> JailLaunch:
        if self._setting is None:
            raise BackendError(_NOT_STARTED)
        return self.jailed(replace(self._setting, language=language))

    async def close(self) -> None:
        await super().close()
        await self._around.close()
        if self._cgroups is not None:
            await asyncio.to_thread(self._cgroups.close)
            self._cgroups = None
        if self._hold is not None:
            self._hold.close()
            self._hold = None
        if self._uids is not None:
            self._uids.close()
            self._uids = None

    async def _prepare(self, process: NodeProcess, bundle: CodeBundle) -> None:
        self._around.watch(process)
        await super()._prepare(process, bundle)

    def setting(self, jail: Jail) -> Setting:
        """What its processes have in common."""
        options = self._options
        doors = Doors(EgressLimits(openable=options.openable), verifying_context(options.extra_ca))
        return Setting(
            jail=jail,
            cpu_s=options.cpu_s,
            doors=doors,
            layers=self._layers,
            sealed=self._sealed,
            cgroups=self._cgroups,
        )

    @abstractmethod
    def jailed(self, setting: Setting) -> JailLaunch:
        """The next process, as that setting says."""

    def user(self, *, certain: bool) -> tuple[int, Callable[[int], None]]:
        """Whose the next process is, and what is to be called with the user once nothing has it: `certain` if nothing else can
        have got it. Without root's rights all are this process's own."""
        if self._uids is not None:
            return self._uids.take(), partial(self._uids.give_back, certain=certain)
        if os.geteuid() == 0:
            raise BackendError(_NOT_STARTED)
        return os.geteuid(), _keep


def _keep(_: int) -> None:
    """Not a user that is given back."""


class ChrootSandbox(JailSandbox):
    """Jails made of chroot, users, rlimits and seccomp alone. The supervisor is root, with SYS_CHROOT, SETUID, SETGID and
    KILL: what a container has unless that is taken away."""

    name = "chroot"
    needs = ("SYS_CHROOT", "SETUID", "SETGID", "KILL")

    def __init__(
        self,
        options: ChrootOptions | None = None,
        *,
        clock: Clock | None = None,
        layers: Layers = ALL_LAYERS,
        sealed: bool = True,
    ) -> None:
        super().__init__(options or ChrootOptions(), clock=clock, layers=layers, sealed=sealed)

    @classmethod
    async def connect(cls, opening: Opening) -> Self:
        """Its options are those of `ChrootOptions`; what they name is looked at when it starts."""
        return cls(opening.read(ChrootOptions), clock=opening.clock)

    async def start(self) -> Sequence[str]:
        if os.geteuid() != 0:
            raise BackendError(
                "the chroot sandbox is root's to start, with the capabilities SYS_CHROOT, SETUID, SETGID and KILL: run the "
                "worker as root (code runs as users of its own), or choose another sandbox (`sandbox` of [runner])"
            )
        return await super().start()

    def jailed(self, setting: Setting) -> JailLaunch:
        return JailLaunch(setting, *self.user(certain=setting.layers.uid and setting.layers.seccomp))
