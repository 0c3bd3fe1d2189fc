"""npm packages of code steps: pinned by a lockfile, checked, installed once into a layer named by its content.

Nothing that a package brings is run at installation. Only packages of the configured registry with an integrity hash are
accepted: git, file and remote tarball dependencies have no place in something that must be built the same way twice.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from turnout.errors import BackendError, DefinitionError, Problem
from turnout.local.building import building
from turnout.sandbox.node import npm_cli, run_node

__all__ = ["Lockfile", "install", "read_lockfile"]

_FORMAT: Final = "turnout-npm-1"
_LARGEST_BYTES: Final = 16 * 1024 * 1024
_NPM_S: Final = 600
_NOT_REGISTRY: Final = re.compile(r"^(git|file:|link:|https?:|ssh:|github:|gitlab:|bitbucket:|[\w.-]+/[\w.-]+(#|$))")
_VERSION: Final = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+[0-9A-Za-z.+-]*\Z")
_UNREACHABLE: Final = ("ENOTFOUND", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "EAI_AGAIN", "ENETUNREACH")
_DEPENDENCIES: Final = ("dependencies", "optionalDependencies", "peerDependencies", "devDependencies")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lockfile:
    """A checked lockfile. `layer` is the hash of what it installs on this kind of machine; `content` is what npm is given."""

    file: str
    layer: str
    root: Mapping[str, Any]
    content: bytes


def read_lockfile(path: Path, name: str) -> Lockfile:
    """Read and check the lockfile; `name` is how the definition calls it. `DefinitionError` lists all that is wrong."""
    try:
        text = path.read_bytes() if path.stat().st_size <= _LARGEST_BYTES else b""
    except OSError as error:
        raise _wrong(name, f"the lockfile cannot be read: {error.strerror}", "run `npm install` to make it") from error
    try:
        lock = msgspec.json.decode(text, type=dict[str, Any])
        packages = msgspec.convert(lock.get("packages"), dict[str, dict[str, Any]])
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise _wrong(name, f"this is not a package-lock.json of version 2 or 3: {error}", "") from error
    if lock.get("lockfileVersion") not in (2, 3):
        found = lock.get("lockfileVersion")
        raise _wrong(name, f"lockfile version {found!r} is not supported", "npm 7 and later write version 2 or 3")
    root = packages.get("", {})
    problems = [Problem(file=name, message=fault) for fault in (*_faults(root, packages), *_drift(path.parent, root))]
    if problems:
        raise DefinitionError(problems)
    kept = {key: {k: v for k, v in package.items() if k != "resolved"} for key, package in packages.items()}
    content = msgspec.json.encode({"lockfileVersion": 3, "requires": True, "packages": kept}, order="sorted")
    machine = f"{_FORMAT}\0{platform.system()}\0{platform.machine()}\0".encode()
    layer = hashlib.sha256(machine + content).hexdigest()
    return Lockfile(file=name, layer=layer, root=root, content=content)


def _faults(root: Mapping[str, Any], packages: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for group in _DEPENDENCIES[:3]:
        for name, wanted in _mapping(root.get(group)).items():
            if _NOT_REGISTRY.match(str(wanted)):
                yield f"{name} comes from {wanted!r}: only the npm registry's packages can be pinned; copy its source instead"
    for key, package in packages.items():
        if (
            key
            and not package.get("dev")
            and (fault := _fault(package, is_link=bool(package.get("link")) or not _is_inside(key)))
        ):
            yield f"{key} {fault}"


def _is_inside(key: str) -> bool:
    return key.startswith("node_modules/") and ".." not in key.split("/")


def _fault(package: Mapping[str, Any], *, is_link: bool) -> str:
    resolved = str(package.get("resolved") or "")
    if is_link:
        return "is a link to a folder: only packages of the npm registry can be pinned; copy its source instead"
    if not _VERSION.match(str(package.get("version"))):
        return f"has the version {package.get('version')!r}: only versions of the npm registry can be pinned"
    if package.get("inBundle"):
        return ""
    if resolved and not (resolved.startswith(("https://", "http://")) and "/-/" in resolved):
        return f"comes from {resolved.partition('?')[0]!r}, not from the npm registry"
    if not package.get("integrity"):
        return "has no integrity hash: delete the lockfile and run `npm install` to write it anew"
    return ""


def _drift(directory: Path, root: Mapping[str, Any]) -> Iterator[str]:
    """What package.json, where there is one, asks for and the lockfile does not pin."""
    try:
        manifest = msgspec.json.decode((directory / "package.json").read_bytes(), type=dict[str, Any])
    except FileNotFoundError:
        return
    except (OSError, msgspec.DecodeError, msgspec.ValidationError) as error:
        yield f"package.json beside it cannot be read: {error}"
        return
    wanted, locked = _mapping(manifest.get("dependencies")), _mapping(root.get("dependencies"))
    for package in sorted({*wanted, *locked}):
        if wanted.get(package) != locked.get(package):
            yield (
                f"package.json asks for {package} {wanted.get(package, '(not at all)')}, the lockfile has "
                f"{locked.get(package, 'none')}: run `npm install` to bring them together"
            )


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


async def install(lock: Lockfile, layers: Path) -> Path:
    """The layer's directory, in which `node_modules` is; made if it is not there. Safe beside other builders.

    `DefinitionError` if the lockfile cannot be satisfied, `BackendError` if npm cannot work (no network, full disk).
    """
    layer = layers / lock.layer
    if layer.is_dir():
        return layer
    with building(layer, f"npm packages cannot be stored in {layers}") as work:
        manifest = {key: lock.root[key] for key in ("name", "version", *_DEPENDENCIES) if key in lock.root}
        (work / "package.json").write_bytes(msgspec.json.encode(manifest))
        (work / "package-lock.json").write_bytes(lock.content)
        await _npm_ci(work, lock.file)
        (work / "node_modules").mkdir(exist_ok=True)
    return layer


async def _npm_ci(work: Path, file: str) -> None:
    quiet = ("--omit=dev", "--no-audit", "--no-fund", "--prefer-offline", "--loglevel=error", "--no-update-notifier")
    env = {**os.environ, "NO_COLOR": "1"}
    try:
        status, said = await run_node(npm_cli(), "ci", "--ignore-scripts", *quiet, cwd=work, env=env, within_s=_NPM_S)
    except TimeoutError as error:
        raise BackendError(f"npm did not install the packages of {file} within {_NPM_S} s: see the network") from error
    if status:
        raise _explained(said, file)


def _explained(said: str, file: str) -> DefinitionError | BackendError:
    """npm's complaint in the words of whoever wrote the definition."""
    lines = [line.removeprefix("npm error").strip() for line in said.splitlines() if line.startswith("npm error")]
    code = next((line.removeprefix("code").strip() for line in lines if line.startswith("code ")), "")
    told = [line for line in lines if line and not line.startswith(("code ", "A complete log", "errno", "syscall"))]
    what = told[0] if told else said.strip()[-500:] or "no reason given"
    if code in _UNREACHABLE:
        return BackendError(f"the npm registry cannot be reached for the packages of {file}: {what}")
    if code == "E404":
        return _wrong(file, f"a package is not in the npm registry: {what}", "check its name and version")
    if code == "EINTEGRITY":
        return _wrong(file, f"a package is not what the lockfile says: {what}", "do not use it before you know why")
    if code == "EUSAGE":
        return _wrong(file, f"the lockfile does not hold together: {what}", "run `npm install` to write it anew")
    return BackendError(f"npm could not install the packages of {file}: {code} {what}".replace("  ", " "))


def _wrong(file: str, message: str, hint: str) -> DefinitionError:
    return DefinitionError([Problem(file=file, message=message, hint=hint)])
