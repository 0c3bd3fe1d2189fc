"""The module map: which ES modules a bundle's entry modules import, found once when the bundle is built.

A fresh process that imports a package of 73 files spends more time on finding and reading them than on compiling them. The
map answers both from one file, `.modules.map` in the bundle's directory:

    turnout-modules-1 <SHA-256 of all that follows the line, in hex>
    [[<place>, <bytes>, [[<specifier>, <number of the module it means>], …]], …]
    <the modules' sources, one after another>

A place is relative to the bundle, `node_modules/…` for what is in its npm layer, so that both may move. What the map lacks
(CommonJS, JSON, built-in modules, dynamic imports) Node finds as ever; without a map everything, only more slowly.
Made by `bootstrap/survey.mjs` without running any of it, used by `bootstrap/modules.cjs`, and by
`bootstrap/virtual.cjs` in a process that is sent the map because it can open no files.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import subprocess
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from turnout.errors import BackendError
from turnout.interfaces.sandbox import CodeBundle
from turnout.sandbox.node import environment, node_binary

__all__ = ["MAP_FILE", "SoundMaps", "survey"]

MAP_FILE: Final = ".modules.map"
_SURVEY: Final = Path(__file__).parent / "bootstrap" / "survey.mjs"
_FORMAT: Final = b"turnout-modules-1 "
_MOST_BYTES: Final = 8 * 1024 * 1024
_SURVEY_S: Final = 20
_MOST_KNOWN: Final = 1024
_log = logging.getLogger(__name__)

_Row = tuple[str, int, list[tuple[str, int]]]
_rows = msgspec.json.Decoder(list[_Row]).decode


def survey(directory: Path, modules: Sequence[str]) -> bytes | None:
    """The content of the map for a bundle that stands in `directory`, or None if it cannot be made."""
    try:
        done = subprocess.run(  # noqa: S603 - our own Node and script, no shell
            [
                node_binary(),
                *("--experimental-vm-modules", "--experimental-import-meta-resolve", "--no-warnings"),
                *(str(_SURVEY), str(directory), str(_MOST_BYTES), *modules),
            ],
            cwd=directory,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_SURVEY_S,
            check=True,
        )
    except (OSError, BackendError, subprocess.SubprocessError) as error:
        _log.debug("no module map for %s: %s", directory, error)
        return None
    if done.stdout.startswith(b"[]"):
        return None
    return _FORMAT + hashlib.sha256(done.stdout).hexdigest().encode() + b"\n" + done.stdout


class SoundMaps:
    """Says which bundles have a map that fits them, looking once at each: a map that does not is left alone."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, asyncio.Task[bool]] = OrderedDict()

    async def has(self, bundle: CodeBundle) -> bool:
        """Whether the bundle has a whole map whose sources are those of its files."""
        task = self._known.get(bundle.directory)
        if task is None:
            task = asyncio.ensure_future(asyncio.to_thread(_is_sound, Path(bundle.directory)))
            self._known[bundle.directory] = task
            if len(self._known) > _MOST_KNOWN:
                self._known.popitem(last=False)
        return task.result() if task.done() else await asyncio.shield(task)


def _is_sound(directory: Path) -> bool:
    try:
        content = (directory / MAP_FILE).read_bytes()
        heading, _, rest = content.partition(b"\n")
        if heading != _FORMAT + hashlib.sha256(rest).hexdigest().encode():
            raise ValueError("it is damaged or of another version")
        index, _, sources = rest.partition(b"\n")
        at = 0
        for place, length, _ in _rows(index):
            if (directory / place).read_bytes() != sources[at : at + length]:
                raise ValueError(f"{place} has changed since")
            at += length
    except FileNotFoundError as error:
        _log.debug("%s is not in use: %s is missing", directory / MAP_FILE, error.filename)
        return False
    except (OSError, ValueError) as error:
        _log.warning(
            "%s is not in use: %s. Modules are loaded without it, which takes longer", directory / MAP_FILE, error
        )
        return False
    return True
