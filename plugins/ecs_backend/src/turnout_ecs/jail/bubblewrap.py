"""The `bubblewrap` sandbox, for own servers and EC2: jails that are in user, network, PID, IPC and mount namespaces of their own
besides, with nothing in them but the jail's tree. It needs no privilege where the kernel gives users namespaces."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, Self

from turnout.errors import BackendError
from turnout.interfaces.clock import Clock
from turnout.interfaces.opening import Opening
from turnout.interfaces.sandbox import Limits, Privilege

from turnout_ecs.jail.launch import JailLaunch, Setting
from turnout_ecs.jail.launcher import ALL_LAYERS, LaunchOptions, Layers, launcher_binary
from turnout_ecs.jail.options import BubblewrapOptions
from turnout_ecs.jail.sandbox import JailSandbox

__all__ = ["BubblewrapLaunch", "BubblewrapSandbox"]

_NAMESPACES: Final = ("user", "mount", "pid", "net", "ipc", "uts")
_LAUNCHER: Final = "/launch"
_SIGNALLED: Final = 128
_BECOME: Final = Layers(chroot=False, uid=True, caps=True, rlimits=False, no_new_privs=True, seccomp=False)
_CHECK_S: Final = 10


class BubblewrapLaunch(JailLaunch):
    """bubblewrap makes the namespaces, in which the launcher does the rest. A supervisor that is root first becomes the user
    that the jail has to itself: so nothing in it is root's outside either."""

    spawns_worker = False

    def __init__(self, setting: Setting, uid: int, leave: Callable[[int], None], program: str) -> None:
        super().__init__(setting, uid, leave)
        self._program = program
        self._inner = 0
        self._held = -1
        self.layers = (*_NAMESPACES, *(name for name in setting.names if name != "chroot"))

    def command(self, order: LaunchOptions, limits: Limits) -> list[str]:
        inside = replace(order, root=None).argv(self.inside(limits, "/"), launcher=_LAUNCHER)
        bubble = [self._program, *_arguments(self._setting.jail.root, self.uid), "--", *inside]
        if os.geteuid() != 0:
            return bubble
        become = replace(order, root=None, data_bytes=None, cpu_s=None, processes=None, layers=_BECOME)
        return become.argv(bubble)

    def worker(self, pid: int) -> int:
        return self._inner or pid

    def exit_code(self, code: int) -> int:
        return _SIGNALLED - code if code > _SIGNALLED else code

    def booted(self, pid: int, limits: Limits) -> None:
        self._inner, self._held = _held_child(pid)
        super().booted(pid, limits)

    def kill(self, pid: int) -> None:
        """The one inside first: the other ends when it has buried that, so that nothing is left when it has ended. Never one
        that got the number of the one inside after it."""
        if self._held < 0:
            with contextlib.suppress(BackendError):
                self._inner, self._held = _held_child(pid)
        with contextlib.suppress(OSError):
            if self._held < 0:
                os.kill(pid, signal.SIGKILL)
            else:
                signal.pidfd_send_signal(self._held, signal.SIGKILL)

    def buried(self) -> None:
        if self._held >= 0:
            os.close(self._held)
            self._held = -1
        super().buried()


class BubblewrapSandbox(JailSandbox):
    """Jails in namespaces. A supervisor without privileges gives all of them its own user, which in a namespace of each one's
    own is nobody else's."""

    name = "bubblewrap"
    needs = ("SETUID", "SETGID", "KILL")
    privileges = frozenset({Privilege.NAMESPACES})

    def __init__(
        self,
        options: BubblewrapOptions | None = None,
        *,
        clock: Clock | None = None,
        layers: Layers = ALL_LAYERS,
        sealed: bool = True,
    ) -> None:
        options = options or BubblewrapOptions()
        super().__init__(options, clock=clock, layers=layers, sealed=sealed)
        self._program = options.program

    @classmethod
    async def connect(cls, opening: Opening) -> Self:
        """Its options are those of `BubblewrapOptions`; what they name is looked at when it starts."""
        return cls(opening.read(BubblewrapOptions), clock=opening.clock)

    async def start(self) -> Sequence[str]:
        self._program = _found(self._program)
        return await super().start()

    def jailed(self, setting: Setting) -> BubblewrapLaunch:
        return BubblewrapLaunch(setting, *self.user(certain=setting.layers.seccomp), self._program)


def _arguments(root: Path, uid: int) -> list[str]:
    """An empty root with what the jail has at its own root, and the launcher; nothing of it can be written to."""
    binds = [part for entry in sorted(root.iterdir()) for part in ("--ro-bind", str(entry), f"/{entry.name}")]
    return [
        *("--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"),
        *("--uid", str(uid), "--gid", str(uid), "--hostname", "jail"),
        *("--die-with-parent", "--as-pid-1", "--cap-drop", "ALL"),
        *("--tmpfs", "/", *binds, "--ro-bind", str(launcher_binary()), _LAUNCHER, "--remount-ro", "/", "--chdir", "/"),
    ]


def _found(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        raise BackendError(
            f"{program} is not here, which the bubblewrap sandbox starts its jails with: install the package bubblewrap, or "
            "name it in backends.bubblewrap.program"
        )
    try:
        subprocess.run(  # noqa: S603 - the program that the settings name
            [path, "--unshare-user", "--unshare-net", "--ro-bind", "/", "/", "true"],
            capture_output=True,
            timeout=_CHECK_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", b"") or str(error).encode()
        raise BackendError(
            f"bubblewrap cannot make namespaces here: {said.decode('utf-8', 'replace').strip()}. Containers and some kernels "
            "do not give them: the chroot sandbox does without"
        ) from error
    return path


def _held_child(pid: int) -> tuple[int, int]:
    """The child of a process that has not been reaped, and a descriptor that holds it, whatever becomes of its number.
    `BackendError` where there is none, or the kernel gives no such descriptor."""
    try:
        child = _child_of(pid)
        held = os.pidfd_open(child)
    except (OSError, ValueError) as error:
        raise BackendError(f"the process in the namespaces cannot be held: {error}") from error
    with contextlib.suppress(OSError, ValueError):
        if _child_of(pid) == child:
            return child, held
    os.close(held)
    raise BackendError("the process in the namespaces has ended")


def _child_of(pid: int) -> int:
    """`OSError`, or `ValueError` where it has none."""
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().partition(" ")[0])
