"""Code bundles: an integration version as an immutable directory named by its content.

    <directory>/bundles/<hash>/definition.json      the definition, canonical
    <directory>/bundles/<hash>/code/                sources, and inline code as modules beside them
    <directory>/bundles/<hash>/code/.bundle.json    where inline code stands in the definition
    <directory>/bundles/<hash>/code/.modules.map    what the entry modules import, for a quick start; may be missing
    <directory>/bundles/<hash>/code/node_modules -> <directory>/npm/<layer>/node_modules
    <directory>/bundles/<hash>/code/site-packages -> <directory>/python/<layer>/site-packages

Executions name the bundle that they run by its hash, so that a resumed one finds the code it began with. The hash
covers the definition, every source and the layers; the path of the machine is not in it.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from turnout.definition.codec import dump, parse
from turnout.errors import BackendError, DefinitionError, NotFound, Problem
from turnout.interfaces.sandbox import CodeBundle
from turnout.local.building import building
from turnout.local.npm import Lockfile, install, read_lockfile
from turnout.local.shared_bundles import SharedBundles
from turnout.local.sources import gather, inside
from turnout.local.wheels import LAYER, Requirements, install_wheels, native_packages, read_pinned
from turnout.model.definition import CodeStep, Integration, Position, language_of, walk
from turnout.sandbox.module_map import MAP_FILE, survey

__all__ = ["Bundle", "BundleStore"]

_FORMAT: Final = b"turnout-bundle-1\0"
_INLINE_FILE: Final = ".bundle.json"
_NODE_LAYER: Final = "node_modules"
_BUNDLES: Final = "bundles"
_PLAIN: Final = re.compile(r"^[A-Za-z0-9_-]{1,80}$")
_HASH: Final = re.compile(r"^[0-9a-f]{64}$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """One integration version, ready to run."""

    hash: str
    integration: Integration
    code: CodeBundle

    def module_of(self, flow: str, step: CodeStep) -> str:
        """The module that a code step runs, relative to `code.directory`."""
        return _module_of(flow, step)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """What a bundle is made of: every file by its path, and what its layers are installed from."""

    contents: Mapping[str, bytes]
    lock: Lockfile | None = None
    requirements: Requirements | None = None

    @property
    def digest(self) -> str:
        digest = hashlib.sha256(_FORMAT + (self.lock.layer.encode() if self.lock else b""))
        if self.requirements:
            digest.update(f"python\0{self.requirements.layer}".encode())
        for name, content in sorted(self.contents.items()):
            digest.update(f"\0{name}\0{len(content)}\0".encode())
            digest.update(content)
        return digest.hexdigest()


class BundleStore:
    """Builds and finds bundles below `directory`. Several processes may use one directory; those of other machines give
    and take them by what is `shared`."""

    def __init__(self, directory: Path, shared: SharedBundles | None = None) -> None:
        self._shared = shared
        self._bundles = directory / _BUNDLES
        self._layers = directory / "npm"
        self._python_layers = directory / "python"
        self._installing = asyncio.Lock()

    async def build(self, integration: Integration) -> Bundle:
        """The integration's bundle, made if it is not there yet; cheap if it is.

        `DefinitionError` if a source, the lockfile or the requirements cannot be taken in; `BackendError` if npm, pip or the
        disk fails.
        """
        parts = await asyncio.to_thread(_assemble, integration)
        target = self._bundles / parts.digest
        wanted = [self._layers / parts.lock.layer] if parts.lock else []
        wanted += [self._python_layers / parts.requirements.layer] if parts.requirements else []
        if not target.is_dir() or not all(layer.is_dir() for layer in wanted):
            layers = await self._install(parts)
            await asyncio.to_thread(self._write, target, parts.contents, _modules(integration), layers)
        if self._shared is not None:
            await self._shared.give(f"{_BUNDLES}/{parts.digest}")
        return _bundle(integration, target)

    async def _install(self, parts: _Parts) -> Mapping[str, Path]:
        """The directories of packages that the bundle links to, by their names in it."""
        layers = {}
        async with self._installing:
            if parts.lock:
                layers[_NODE_LAYER] = await install(parts.lock, self._layers) / _NODE_LAYER
            if parts.requirements:
                layers[LAYER] = await install_wheels(parts.requirements, self._python_layers) / LAYER
        return layers

    async def load(self, digest: str) -> Bundle:
        """The bundle of that hash, taken from where it is shared if it was built elsewhere. `NotFound` if it is nowhere."""
        target = self._bundles / digest
        try:
            if not _HASH.match(digest):
                raise FileNotFoundError(digest)
            if self._shared is not None and not target.is_dir():
                await self._shared.take(f"{_BUNDLES}/{digest}")
            definition = (target / "definition.json").read_bytes()
        except FileNotFoundError as error:
            raise NotFound("bundle", digest, hint="it was built elsewhere or removed") from error
        except OSError as error:
            raise BackendError(f"the bundle {digest} cannot be read: {error.strerror}") from error
        return _bundle(parse(definition, directory=str(target / "code")), target)

    async def references(self) -> set[tuple[str, str]]:
        """Content of the payload store that bundles are kept in, by tenant and hash."""
        return set() if self._shared is None else await self._shared.references()

    def _write(
        self, target: Path, contents: Mapping[str, bytes], modules: Sequence[str], layers: Mapping[str, Path]
    ) -> None:
        """Write beside and rename, so that a bundle is there as a whole or not at all."""
        if target.is_dir():
            return
        with building(target, f"the bundle cannot be written to {self._bundles}") as work:
            for name, content in contents.items():
                _write_file(work / name, content)
            (work / "code").mkdir(exist_ok=True)
            for name, packages in layers.items():
                (work / "code" / name).symlink_to(os.path.relpath(packages, target / "code"))
            modules = [module for module in modules if not module.endswith(".py")]
            if modules and (found := survey(work / "code", modules)):
                _write_file(work / "code" / MAP_FILE, found)


def _assemble(integration: Integration) -> _Parts:
    contents = {"definition.json": dump(integration)}
    steps = list(_code_steps(integration))
    if not steps:
        return _Parts(contents=contents)
    sources = gather(Path(integration.directory), [step for _, step in steps]) if integration.directory else {}
    if not sources and any(step.file for _, step in steps):
        raise DefinitionError([Problem(message="an integration without a directory cannot have code steps with files")])
    sources["package.json"] = _manifest(sources.get("package.json"))
    inline: dict[str, dict[str, Any]] = {}
    relative = parse(contents["definition.json"])
    for flow, step in _code_steps(relative):
        if not step.file:
            module = _module_of(flow, step)
            sources[module] = step.source.encode()
            inline[module] = _place(step.source_position or step.position)
    contents |= {f"code/{name}": content for name, content in sources.items()}
    contents[f"code/{_INLINE_FILE}"] = msgspec.json.encode({"inline": inline}, order="sorted")
    in_python = any(language_of(step) == "python" for _, step in steps)
    requirements = _requirements(integration) if in_python else None
    return _Parts(contents=contents, lock=_lockfile(integration), requirements=requirements)


def _lockfile(integration: Integration) -> Lockfile | None:
    name = integration.code.dependencies
    if not name:
        return None
    root = Path(integration.directory).resolve()
    try:
        return read_lockfile(root / inside(root, name), name)
    except ValueError as error:
        raise DefinitionError([Problem(message=f"code.dependencies: {error}")]) from error


def _requirements(integration: Integration) -> Requirements | None:
    name = integration.code.python.requirements
    if not name:
        return None
    root = Path(integration.directory).resolve()
    try:
        return read_pinned(root / inside(root, name), name)
    except ValueError as error:
        raise DefinitionError([Problem(message=f"code.python.requirements: {error}")]) from error


def _manifest(given: bytes | None) -> bytes:
    """A package.json that says what `.js` files are: ES modules, unless the author's own says otherwise."""
    manifest: dict[str, Any] = {}
    if given is not None:
        try:
            manifest = msgspec.json.decode(given, type=dict[str, Any])
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise DefinitionError([Problem(message=f"not a JSON object: {error}", file="package.json")]) from error
    manifest.setdefault("type", "module")
    return msgspec.json.encode(manifest, order="sorted")


def _place(position: Position | None) -> dict[str, Any]:
    if position is None:
        return {"file": "definition", "line": 1, "column": 1}
    return {"file": position.file, "line": position.line, "column": position.column}


def _module_of(flow: str, step: CodeStep) -> str:
    """Inline code stands beside the files of the definition's directory, so that its relative imports find them."""
    if step.file:
        return Path(os.path.normpath(step.file)).as_posix()
    suffix = "py" if language_of(step) == "python" else "mjs"
    return f"{_plain(flow)}.{_plain(step.id)}.inline.{suffix}"


def _plain(name: str) -> str:
    return name if _PLAIN.match(name) else f"{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def _code_steps(integration: Integration) -> Iterator[tuple[str, CodeStep]]:
    for flow in integration.flows.values():
        for step in walk(flow.steps):
            if isinstance(step, CodeStep):
                yield flow.name, step


def _bundle(integration: Integration, target: Path) -> Bundle:
    directory = (target / "code").absolute()
    code = CodeBundle(
        hash=target.name,
        directory=str(directory),
        modules=_modules(integration),
        native=native_packages(directory / LAYER),
    )
    return Bundle(hash=target.name, integration=integration, code=code)


def _modules(integration: Integration) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_module_of(flow, step) for flow, step in _code_steps(integration)))


def _write_file(path: Path, content: bytes) -> None:
    """On the disk before the bundle gets its name: after a power cut an execution must find what it resumes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
