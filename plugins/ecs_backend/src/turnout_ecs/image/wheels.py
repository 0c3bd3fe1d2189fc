"""The wheels of an image: for its Python and its processors, whatever this machine's are."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from turnout.deploy.distributions import Distributions, normalized
from turnout.errors import BackendError

__all__ = ["EXTRAS", "gather", "requirements"]

EXTRAS: Final = {"turnout": ("otlp",), "turnout-connectors": ("openapi",)}
"""What a service takes besides, where it is installed here."""
_OLDEST_GLIBC, _NEWEST_GLIBC = 17, 36
"""Minor versions: that of Debian's bookworm, and of the oldest for which wheels are made."""
_LAST_LINES: Final = 15


def gather(found: Distributions, directory: Path, *, architecture: str, tell: Callable[[str], None]) -> None:
    """Put the wheel of each into `directory`, which is empty: those with pins from the package index that pip is set to, for
    Linux on `architecture` (`x86_64`, `arm64`) and this interpreter's version of Python; the others built from where they
    were installed from. `BackendError` has pip's last words, or names what has no wheel."""
    if find_spec("pip") is None:
        raise BackendError("wheels are fetched by pip: install `turnout-ecs[package]`")
    if found.sources:
        tell(f"ecs: building the wheels of {', '.join(found.sources)}")
        _pip("a wheel cannot be built", "wheel", "--no-deps", "--wheel-dir", str(directory), *found.sources.values())
    if found.pins:
        tell(f"ecs: fetching {len(found.pins)} wheels for {architecture}")
        with TemporaryDirectory(prefix="turnout-") as name:
            pins = Path(name) / "pins.txt"
            pins.write_text("".join(f"{pin}\n" for pin in found.pins), encoding="utf-8")
            wanted = ("--no-deps", "--only-binary", ":all:", "--requirement", str(pins), "--dest", str(directory))
            _pip("a wheel cannot be fetched", "download", *wanted, *_platform(architecture))
    wanted_names = {*(pin.partition("==")[0] for pin in found.pins), *found.sources}
    if missing := sorted(wanted_names - {_name(wheel) for wheel in directory.glob("*.whl")}):
        raise BackendError(f"not among the image's wheels: {', '.join(missing)}")


def requirements(directory: Path) -> str:
    """A line for each wheel in `directory`, with its version and its digest, as pip reads it."""
    lines = []
    for wheel in directory.glob("*.whl"):
        with wheel.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        lines.append(f"{_name(wheel)}=={wheel.name.split('-')[1]} --hash=sha256:{digest}\n")
    return "".join(sorted(lines))


def _name(wheel: Path) -> str:
    return normalized(wheel.name.split("-")[0])


def _platform(architecture: str) -> Sequence[str]:
    machine = "aarch64" if architecture == "arm64" else "x86_64"
    tags = [f"manylinux_2_{minor}_{machine}" for minor in range(_NEWEST_GLIBC, _OLDEST_GLIBC - 1, -1)]
    platforms = [*tags, f"manylinux2014_{machine}", f"linux_{machine}"]
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return [
        *("--implementation", "cp", "--python-version", version),
        *(part for platform in platforms for part in ("--platform", platform)),
    ]


def _pip(what: str, *arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments]
    done = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        lines = (done.stdout + done.stderr).strip().splitlines()[-_LAST_LINES:]
        raise BackendError("\n".join([f"{what}:", *lines]))
