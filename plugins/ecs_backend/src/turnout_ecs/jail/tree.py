"""The jail's tree: one directory for all sandboxes of a machine, root's and read-only, with nothing of any tenant in it.

In the directory that a project names there is, for each version of Turnout and Node that built one, the tree
`jail-<recipe>`, into which sandboxes are locked, and its manifest `jail-<recipe>.json` beside it. A worker looks for the one
that its own version would build: two versions on one machine do not disturb each other. `building.py` makes them.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from turnout.errors import BackendError

from turnout_ecs.jail.checking import faults, outdated
from turnout_ecs.jail.contents import recipe
from turnout_ecs.jail.manifest import Manifest
from turnout_ecs.jail.places import private

__all__ = ["DEFAULT_LANGUAGES", "SETTING", "Hold", "Jail", "find", "manifest_of", "remedy", "verify"]

SETTING: Final = "backends.chroot.jail"
"""Where a project says in which directory its jail is."""
DEFAULT_LANGUAGES: Final = ("javascript", "python")
_MOST_FAULTS: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Jail:
    """A jail as it was checked. `root` is what sandboxes are locked into."""

    root: Path
    manifest: Manifest

    @property
    def outdated(self) -> Sequence[str]:
        """Libraries inside that are older than the machine's own: the jail works, and lacks what was mended in them."""
        return tuple(outdated(self.manifest))

    def hold(self) -> Hold:
        """Keep it from being pruned for as long as this process lives, or until that is closed. `BackendError` where it has
        been pruned since it was found."""
        return Hold(manifest_of(self.root))


class Hold:
    """A shared lock on a jail's manifest, which the kernel takes back from a process that dies."""

    def __init__(self, manifest: Path) -> None:
        try:
            self._fd = os.open(manifest, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise BackendError(_removed(manifest)) from None
        fcntl.flock(self._fd, fcntl.LOCK_SH)
        if not os.fstat(self._fd).st_nlink:
            self.close()
            raise BackendError(_removed(manifest))

    def close(self) -> None:
        """Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _removed(manifest: Path) -> str:
    return f"the jail of {manifest} was removed or built again at this moment: start again"


def find(directory: Path, *, languages: Sequence[str] = DEFAULT_LANGUAGES) -> Jail:
    """The jail in `directory` that this version works with, looked at without reading its files: what a worker does at its
    start, in a few milliseconds. `BackendError` says what is wrong and what to do."""
    return _checked(directory, languages, contents=False)


def verify(directory: Path, *, languages: Sequence[str] = DEFAULT_LANGUAGES) -> Jail:
    """Like `find`, with every file read and compared with its SHA-256."""
    return _checked(directory, languages, contents=True)


def manifest_of(root: Path) -> Path:
    """The file that says what must be in the tree at `root`."""
    return root.parent / f"{root.name}.json"


def remedy(directory: Path) -> str:
    """What to tell somebody whose jail is not as it must be."""
    return f"build it with `turnout jail build --to {directory}`, as root"


def _checked(directory: Path, languages: Sequence[str], *, contents: bool) -> Jail:
    if not directory.is_dir():
        raise BackendError(_absent(directory))
    directory = private(directory, setting=SETTING, make=False)
    name = recipe(languages)
    root = directory / f"jail-{name}"
    try:
        manifest = Manifest.read(manifest_of(root))
    except FileNotFoundError:
        raise BackendError(_absent(directory)) from None
    except OSError as error:
        raise BackendError(f"the jail's manifest cannot be read: {error}: {remedy(directory)}") from error
    if manifest.recipe != name:
        raise BackendError(f"{manifest_of(root)} is the manifest of another jail: {remedy(directory)}")
    found = list(islice(faults(root, manifest, contents=contents), _MOST_FAULTS + 1))
    if len(found) > _MOST_FAULTS:
        found[_MOST_FAULTS:] = ["and more"]
    if found:
        raise BackendError("\n".join([f"the jail at {root} is not as it was built: {remedy(directory)}", *found]))
    return Jail(root=root, manifest=manifest)


def _absent(directory: Path) -> str:
    others = any(directory.glob("jail-*.json"))
    which = f"the jails in {directory} were built by other versions of Turnout or Node" if others else ""
    return f"{which or f'there is no jail in {directory}'}: {remedy(directory)}"
