"""The native programs of the jail, and the words that the launcher takes: the counterpart of `native/launch.c`.

They are compiled when the package is built (`hatch_build.py`), for Linux on x86-64 and aarch64.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final, Literal

from turnout.errors import BackendError

__all__ = [
    "ALL_LAYERS",
    "FAILED",
    "LAUNCHER_ENVIRONMENT",
    "Filter",
    "LaunchOptions",
    "Layers",
    "launcher_binary",
    "seal_binary",
]

FAILED: Final = 125
"""The status with which the launcher and the seals end when they could not do all that they were told to do."""
LAUNCHER_ENVIRONMENT: Final = {
    "PATH": "/",
    "HOME": "/",
    "TZ": "UTC",
    "LANG": "C.UTF-8",
    "UV_THREADPOOL_SIZE": "2",
}
"""What the launcher gives the program, whatever it was given itself."""

Filter = Literal["node", "python"]

_BINARIES: Final = Path(__file__).parent / "bin"
_MACHINES: Final = {"x86_64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}
_SEALS: Final[dict[Filter, str]] = {"node": "seal-{}.node", "python": "seal-python-{}.so"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Layers:
    """What the launcher puts around the program, in the order in which it does so. All of it, except in a test's control.

    `seccomp` without `no_new_privs` is refused by the kernel to anybody but root.
    """

    chroot: bool = True
    uid: bool = True
    caps: bool = True
    rlimits: bool = True
    no_new_privs: bool = True
    seccomp: bool = True

    def names(self) -> tuple[str, ...]:
        """The layers that are on."""
        return tuple(field.name for field in fields(self) if getattr(self, field.name))


ALL_LAYERS: Final = Layers()


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchOptions:
    """One process to start. The launcher checks all of it again, and refuses what it does not understand.

    `root` is absolute, or None where something else (bubblewrap) has changed the root. `uid` is the group's number too.
    `data_bytes`, `cpu_s` and `processes` (threads, counted by user) are the limits; None leaves what is inherited.
    Descriptors above `keep` are closed; the program cannot have a number above 63.
    """

    root: Path | None
    uid: int
    data_bytes: int | None
    cpu_s: int | None
    processes: int | None
    keep: int
    filter: Filter = "node"
    layers: Layers = ALL_LAYERS

    def argv(self, program: Sequence[str], *, launcher: str | None = None) -> list[str]:
        """The launcher's arguments for a program, whose path is one inside `root`. `BackendError` where there is no launcher.

        `launcher`: where it is found, if not in this package (bubblewrap shows it elsewhere).
        """
        chroots = self.root is not None and self.layers.chroot
        layers = [name for name in self.layers.names() if name != "chroot" or chroots]
        return [
            launcher or str(launcher_binary()),
            f"root={self.root if chroots else '-'}",
            f"uid={self.uid}",
            f"data={_optional(self.data_bytes)}",
            f"cpu={_optional(self.cpu_s)}",
            f"nproc={_optional(self.processes)}",
            f"keep={self.keep}",
            f"layers={','.join(layers) or '-'}",
            f"filter={self.filter if self.layers.seccomp else '-'}",
            "--",
            *program,
        ]


def launcher_binary() -> Path:
    """The launcher for this machine. `BackendError` says what to do where there is none."""
    return _binary("launch-{}")


def seal_binary(language: Filter) -> Path:
    """The shared object that applies the second filter to whoever opens it. `BackendError` as for the launcher."""
    return _binary(_SEALS[language])


def _binary(name: str) -> Path:
    machine = platform.machine()
    if sys.platform != "linux" or machine not in _MACHINES:
        raise BackendError(
            f"there is no jail on {sys.platform} on {machine}, only on Linux on x86-64 and aarch64: "
            "choose another sandbox (`sandbox` of [runner]), or run on such a machine"
        )
    path = _BINARIES / name.format(_MACHINES[machine])
    if not path.is_file():
        raise BackendError(
            f"{path} is missing: it is made when turnout-ecs is built; install the package again "
            "(`pip install --force-reinstall turnout-ecs`; in a clone, `make setup`)"
        )
    return path


def _optional(number: int | None) -> str:
    return "-" if number is None else str(number)
