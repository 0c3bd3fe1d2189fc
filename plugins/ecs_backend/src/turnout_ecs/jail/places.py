"""Whether a directory is root's alone, from `/` down: what a jail is built in, and what a supervisor keeps locks in."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from turnout.errors import BackendError, SettingsError

__all__ = ["must_be_root", "private"]

_MOST_LINKS: Final = 40


def must_be_root(what: str) -> None:
    """`BackendError` for anybody else: `what` is the command to run."""
    if os.geteuid() != 0:
        raise BackendError(f"only root can do that: run `sudo {what}`, or run it while the image is built")


def private(directory: Path, *, setting: str, make: bool) -> Path:
    """The directory without symbolic links; with `make`, it and its parents are made where they are not there.

    `SettingsError` names the part of its path that somebody other than root could replace, or that is no directory.
    """
    todo = list(reversed(Path(os.path.abspath(directory)).parts[1:]))  # noqa: PTH100 - resolve() would follow the links
    here, links = Path("/"), 0
    _must_be_private(here, setting)
    while todo:
        path = here / todo.pop()
        if make:
            _make(path, setting)
        if path.is_symlink():
            links += 1
            _must_belong(path, path.lstat(), setting)
            target = path.readlink()
            if links > _MOST_LINKS:
                raise SettingsError(f"{setting}: {directory} is behind too many symbolic links", setting=setting)
            todo.extend(reversed([part for part in target.parts if part != "/"]))
            here = Path("/") if target.is_absolute() else here
            continue
        _must_be_private(path, setting)
        here = path.resolve()  # of `..`, which only a link can have brought
    _must_be_private(here, setting, last=True)
    return here


def _make(path: Path, setting: str) -> None:
    try:
        path.mkdir(mode=0o755)
    except FileExistsError:
        return
    except OSError as error:
        raise SettingsError(f"{setting}: {path} cannot be made: {error.strerror}", setting=setting) from error


def _must_be_private(path: Path, setting: str, *, last: bool = False) -> None:
    """A sticky directory (/tmp) may be on the way, for what is root's stays there; not at its end, where others would add."""
    try:
        status = path.lstat()
    except OSError as error:
        raise SettingsError(f"{setting}: {path} is not there: {error.strerror}", setting=setting) from error
    if not stat.S_ISDIR(status.st_mode):
        raise SettingsError(f"{setting}: {path} is no directory", setting=setting)
    _must_belong(path, status, setting)
    others = status.st_mode & stat.S_IWOTH or (status.st_mode & stat.S_IWGRP and status.st_gid != 0)
    sticky = status.st_mode & stat.S_ISVTX
    if others and (last or not sticky):
        what = "choose a directory in it" if sticky else f"take that away (`chmod go-w {path}`), or choose another one"
        raise SettingsError(
            f"{setting}: others than root may write to {path}, and put something else in the place of what is in it: {what}",
            setting=setting,
        )


def _must_belong(path: Path, status: os.stat_result, setting: str) -> None:
    if status.st_uid != 0:
        raise SettingsError(
            f"{setting}: {path} belongs to the user {status.st_uid}, who could replace what is in it: it must be root's",
            setting=setting,
        )
