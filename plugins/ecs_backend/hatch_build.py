"""Compiles the jail's native part (`native/`) into `src/turnout_ecs/jail/bin/` when the wheel, or an editable install, is built.

For every architecture at once, with the compiler that the `ziglang` package brings: no system compiler is needed, the wheel fits
all machines, and the same sources give the same bytes anywhere.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, NamedTuple

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

HEADERS: Final = {"x86_64": "x86-linux-any", "aarch64": "aarch64-linux-any"}
"""The kernel's headers for each architecture, as zig names them. There are no others: the programs have no libc."""
# fmt: off
FLAGS: Final = (
    "-std=c17", "-Os", "-g0", "-s", "-Wall", "-Wextra", "-Werror", "-nostdlib", "-ffreestanding", "-fno-builtin",
    "-fno-stack-protector", "-fno-sanitize=all", "-fno-unwind-tables", "-fno-asynchronous-unwind-tables",
    "-fvisibility=hidden", "-Wl,--build-id=none",
)
# fmt: on
SHARED: Final = ("-shared", "-fPIC")


class Program(NamedTuple):
    name: str
    source: str
    flags: tuple[str, ...]


def programs(architecture: str) -> Iterator[Program]:
    yield Program(f"launch-{architecture}", "launch.c", ("-static",))
    yield Program(f"seal-{architecture}.node", "seal.c", (*SHARED, "-DSEALED_FILTER=NODE_SEALED_FILTER"))
    yield Program(f"seal-python-{architecture}.so", "seal.c", (*SHARED, "-DSEALED_FILTER=PYTHON_SEALED_FILTER"))


def compile_all(native: Path, into: Path) -> None:
    """Replace what is in `into` by what the sources in `native` give; a program that runs meanwhile is not disturbed."""
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="turnout-build-") as scratch:
        for architecture, headers in HEADERS.items():
            for program in programs(architecture):
                made = Path(scratch, program.name)
                _compile(
                    native / program.source, made, architecture, (*program.flags, *_headers(headers)), Path(scratch)
                )
                aside = into / f".{program.name}.{os.getpid()}"
                aside.write_bytes(made.read_bytes())
                aside.chmod(0o755)
                aside.replace(into / program.name)


def _headers(directory: str) -> tuple[str, ...]:
    package = find_spec("ziglang")
    if package is None or package.origin is None:
        raise RuntimeError("ziglang is missing, which [build-system] in pyproject.toml asks for: build with isolation")
    headers = Path(package.origin).parent / "lib" / "libc" / "include"
    return ("-isystem", str(headers / directory), "-isystem", str(headers / "any-linux-any"))


def _compile(source: Path, made: Path, architecture: str, flags: tuple[str, ...], scratch: Path) -> None:
    target = ("-target", f"{architecture}-linux-musl")
    caches = {"ZIG_GLOBAL_CACHE_DIR": str(scratch / "global"), "ZIG_LOCAL_CACHE_DIR": str(scratch / "local")}
    done = subprocess.run(  # noqa: S603 - the compiler, on the sources beside this file
        [sys.executable, "-m", "ziglang", "cc", *target, *FLAGS, *flags, "-o", str(made), str(source)],
        env={**os.environ, **caches},
        cwd=source.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{source} could not be compiled for {architecture}:\n{done.stderr}")


class NativeBuildHook(BuildHookInterface[Any]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        root = Path(self.root)
        compile_all(root / "native", root / "src" / "turnout_ecs" / "jail" / "bin")
        build_data["artifacts"].append("src/turnout_ecs/jail/bin/*")
