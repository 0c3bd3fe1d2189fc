"""Python packages of code steps: pinned with hashes, checked, installed once into a layer named by its content.

Only wheels are taken, and nothing that one brings is run at installation: it is unpacked and its modules are compiled. pip does
it, with the index, the proxy and the certificates that are set up for it; where the environment has none, the one that the
interpreter itself brings for new environments.

    <directory>/python/<layer>/site-packages/    what the wheels hold, read-only
    <directory>/python/<layer>/native.json       the packages among them that have extension modules
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from turnout.definition.requirements import read_requirements
from turnout.errors import BackendError, DefinitionError, Problem
from turnout.local.building import building
from turnout.sandbox.programs import run_program

__all__ = ["LAYER", "Requirements", "install_wheels", "native_packages", "read_pinned"]

LAYER: Final = "site-packages"
_FORMAT: Final = "turnout-python-1"
_NATIVE_FILE: Final = "native.json"
_LARGEST_BYTES: Final = 4 * 1024 * 1024
_PIP_S: Final = 600
_SYSTEM_WHEELS: Final = "/usr/share/python-wheels"
"""Where Debian keeps what its ensurepip installs."""
_UNREACHABLE: Final = (
    "Failed to establish a new connection",
    "Max retries exceeded",
    "Temporary failure in name resolution",
    "Connection refused",
    "ProxyError",
    "timed out",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirements:
    """Checked requirements. `layer` is the hash of what they install for this Python here; `content` is what pip is given."""

    file: str
    layer: str
    content: str


def read_pinned(path: Path, name: str) -> Requirements:
    """Read and check the requirements; `name` is how the definition calls them. `DefinitionError` lists all that is wrong."""
    try:
        text = path.read_text(encoding="utf-8") if path.stat().st_size <= _LARGEST_BYTES else ""
    except (OSError, ValueError) as error:
        raise _wrong(name, f"the requirements cannot be read: {error}") from error
    pins, problems = read_requirements(text, name)
    if not pins and not problems:
        problems = (Problem(file=name, message="no package is pinned here"),)
    if problems:
        raise DefinitionError(list(problems))
    content = "".join(f"{pin.text}\n" for pin in pins)
    machine = f"{_FORMAT}\0{platform.system()}\0{platform.machine()}\0{sys.implementation.cache_tag}\0"
    return Requirements(file=name, layer=hashlib.sha256((machine + content).encode()).hexdigest(), content=content)


def native_packages(site_packages: Path) -> tuple[str, ...]:
    """The packages of a layer that have extension modules, by the names that they are imported by."""
    try:
        return msgspec.json.decode((site_packages.resolve().parent / _NATIVE_FILE).read_bytes(), type=tuple[str, ...])
    except (OSError, msgspec.MsgspecError):
        return ()


async def install_wheels(requirements: Requirements, layers: Path) -> Path:
    """The layer's directory, in which `site-packages` is; made if it is not there. Safe beside other builders.

    `DefinitionError` if the requirements cannot be met, `BackendError` if pip cannot work (no network, full disk).
    """
    layer = layers / requirements.layer
    if layer.is_dir():
        return layer
    with building(layer, f"Python packages cannot be stored in {layers}") as work:
        (work / "requirements.txt").write_text(requirements.content)
        await _pip_install(work, requirements.file)
        await asyncio.to_thread(_finish, work)
        compiling = ("-I", "-m", "compileall", "-q", "--invalidation-mode=unchecked-hash", LAYER)
        await run_program(sys.executable, *compiling, cwd=work, within_s=_PIP_S)
    return layer


def _finish(work: Path) -> None:
    """Without programs, which nobody can call; with the list of what is native; read-only."""
    packages = work / LAYER
    packages.mkdir(exist_ok=True)
    shutil.rmtree(packages / "bin", ignore_errors=True)
    native = {path.relative_to(packages).parts[0].partition(".")[0] for path in packages.rglob("*.so*")}
    (work / _NATIVE_FILE).write_bytes(msgspec.json.encode(sorted(native)))
    for path in packages.rglob("*"):
        if path.is_file():
            path.chmod(0o444)


async def _pip_install(work: Path, file: str) -> None:
    arguments = (
        *("install", "--target", LAYER, "--requirement", "requirements.txt"),
        *("--require-hashes", "--no-deps", "--only-binary=:all:", "--no-compile"),
        *("--no-input", "--disable-pip-version-check", "--quiet", "--no-color"),
    )
    env = {name: value for name, value in os.environ.items() if name not in ("PIP_USER", "PIP_TARGET", "PIP_PREFIX")}
    try:
        status, said = await run_program(*_pip(), *arguments, cwd=work, env=env, within_s=_PIP_S)
    except TimeoutError as error:
        raise BackendError(f"pip did not install the packages of {file} within {_PIP_S} s: see the network") from error
    if status:
        raise _explained(said, file)


def _pip() -> Sequence[str]:
    """How pip is run: the environment's, or the one that the interpreter brings for new environments."""
    if importlib.util.find_spec("pip") is not None:
        return (sys.executable, "-m", "pip")
    found = importlib.util.find_spec("ensurepip")
    bundled = Path(found.origin).parent / "_bundled" if found and found.origin else None
    for directory in (bundled, Path(_SYSTEM_WHEELS)):
        if directory and (wheels := sorted(directory.glob("pip-*.whl"))):
            return (sys.executable, f"{wheels[-1]}/pip")
    raise BackendError(
        "pip is missing, which installs the Python packages of code steps: add it to this environment (`uv pip install pip`)"
    )


def _explained(said: str, file: str) -> DefinitionError | BackendError:
    """pip's complaint in the words of whoever wrote the definition."""
    told = [line.removeprefix("ERROR:").strip() for line in said.splitlines() if line.startswith("ERROR:")]
    what = told[-1] if told else said.strip()[-500:] or "no reason given"
    if "DO NOT MATCH THE HASHES" in said:
        package = next((line.strip() for line in said.splitlines() if line.startswith("    ") and "==" in line), "")
        what = f"a package is not what the requirements say: {package.partition(' from ')[0]}".removesuffix(": ")
        return _wrong(file, what, "do not use it before you know why")
    if any(sign in said for sign in _UNREACHABLE):
        return BackendError(f"the package index cannot be reached for the packages of {file}: {what}")
    if "No matching distribution" in said or "Could not find a version" in said:
        missing = next((line for line in told if "No matching distribution" in line), what)
        hint = (
            f"check its name and version; only wheels for {sys.implementation.cache_tag} on {platform.machine()} count"
        )
        return _wrong(file, missing, hint)
    return BackendError(f"pip could not install the packages of {file}: {what}")


def _wrong(file: str, message: str, hint: str = "") -> DefinitionError:
    return DefinitionError([Problem(file=file, message=message, hint=hint)])
