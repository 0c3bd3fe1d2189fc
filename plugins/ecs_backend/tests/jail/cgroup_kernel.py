"""A directory that behaves like a hierarchy of cgroup v2, for machines where the kernel's own is somebody else's."""

from __future__ import annotations

import contextlib
import errno
import shutil
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from turnout_ecs.jail.cgroup_places import CgroupFiles

__all__ = ["FakeKernel"]

_HUNG_S: Final = 10
_OF_CONTROLLERS: Final = {
    "memory": {"memory.max": "max", "memory.swap.max": "max", "memory.events": "oom 0\noom_kill 0\n"},
    "pids": {"pids.max": "max"},
}


class FakeKernel(CgroupFiles):
    """What cgroup_v2.rst says of hierarchies, as far as supervisors meet it: `/` is the machine's own root, which alone may
    have processes and divided cgroups below it. `counts_swap` and `delegates` say what it is otherwise like."""

    def __init__(self, at: Path, *, controllers: str = "cpu memory pids", counts_swap: bool = True) -> None:
        self.at = at
        self.counts_swap = counts_swap
        self.delegates: set[Path] = set()
        self.gone: set[str] = set()
        self._moves = threading.Event()
        self._moves.set()
        at.mkdir()
        self._fill(at, controllers)
        (at / "cgroup.events").unlink()

    def process(self, own: str, *, seen_from: str = "/", mounted: Path | None = None) -> Path:
        """The directory of /proc of a process in the cgroup `own`, to whom `seen_from` is mounted. In a container with a
        cgroup namespace both are `/`, and what is `mounted` is the container's own."""
        directory = self.at.parent / f"proc{own.replace('/', '-')}"
        directory.mkdir()
        (directory / "cgroup").write_text(f"1:name=systemd:/elsewhere\n0::{own}\n")
        (directory / "mountinfo").write_text(
            "22 1 0:21 / /proc rw - proc proc rw\n"
            f"31 22 0:27 {seen_from} {_escaped(mounted or self.at / seen_from[1:])} rw,nosuid - cgroup2 cgroup rw\n"
        )
        return directory

    def below(self, path: str, *pids: str) -> Path:
        """A cgroup that others have made, to which all above hand down everything, with those processes."""
        here = self.at
        for part in Path(path).parts:
            self._control(here).write_text((here / "cgroup.controllers").read_text())
            here = here / part
            if not here.exists():
                self.make(here)
        (here / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in pids))
        return here

    def inside(self, cgroup: Path) -> Sequence[str]:
        return (cgroup / "cgroup.procs").read_text().split()

    def bury(self, pid: str) -> None:
        """That process is no more."""
        self.gone.add(pid)
        for file in self.at.rglob("cgroup.procs"):
            file.write_text("".join(f"{one}\n" for one in file.read_text().split() if one != pid))

    def make(self, cgroup: Path) -> None:
        super().make(cgroup)
        self._fill(cgroup, self._control(cgroup.parent).read_text())

    def remove(self, cgroup: Path) -> None:
        if self.inside(cgroup) or any(entry.is_dir() for entry in cgroup.iterdir()):
            raise OSError(errno.EBUSY, "busy", str(cgroup))
        shutil.rmtree(cgroup)

    @contextlib.contextmanager
    def held_up(self) -> Iterator[None]:
        """The kernel takes its time: whoever moves a process meanwhile waits."""
        self._moves.clear()
        try:
            yield
        finally:
            self._moves.set()

    def write(self, file: Path, value: str) -> None:
        if not file.exists():
            raise FileNotFoundError(errno.ENOENT, "no such file", str(file))
        if file.name == "cgroup.procs":
            self._move(value, file.parent)
        elif file.name == "cgroup.subtree_control":
            self._hand_down(file.parent, value.replace("+", "").split())
        else:
            file.write_text(value)

    def delegated(self, cgroup: Path) -> bool:
        return cgroup in self.delegates

    def _control(self, cgroup: Path) -> Path:
        return cgroup / "cgroup.subtree_control"

    def _fill(self, cgroup: Path, controllers: str) -> None:
        files = {
            "cgroup.controllers": controllers,
            "cgroup.subtree_control": "",
            "cgroup.procs": "",
            "cgroup.events": "",
        }
        for controller in controllers.split():
            files |= _OF_CONTROLLERS.get(controller, {})
        if not self.counts_swap:
            files.pop("memory.swap.max", None)
        for name, content in files.items():
            (cgroup / name).write_text(content)

    def _hand_down(self, cgroup: Path, controllers: Sequence[str]) -> None:
        if not set(controllers) <= set((cgroup / "cgroup.controllers").read_text().split()):
            raise FileNotFoundError(errno.ENOENT, "no such controller", str(cgroup))
        if self.inside(cgroup) and cgroup != self.at:
            raise OSError(errno.EBUSY, "it has processes", str(cgroup))
        self._control(cgroup).write_text(" ".join(controllers))

    def _move(self, pid: str, to: Path) -> None:
        self._moves.wait(_HUNG_S)
        if pid in self.gone:
            raise ProcessLookupError(errno.ESRCH, "no such process", pid)
        if self._control(to).read_text() and to != self.at:
            raise OSError(errno.EBUSY, "it is divided", str(to))
        for file in self.at.rglob("cgroup.procs"):
            file.write_text("".join(f"{one}\n" for one in file.read_text().split() if one != pid))
        with (to / "cgroup.procs").open("a") as procs:
            procs.write(f"{pid}\n")


def _escaped(path: Path) -> str:
    """As mountinfo writes it: a space is \\040."""
    return str(path).replace(" ", "\\040")
