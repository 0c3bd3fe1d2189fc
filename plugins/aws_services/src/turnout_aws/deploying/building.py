"""The one place that runs docker, podman or buildah: a context built, its image pushed."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from turnout.errors import BackendError, UserError

__all__ = ["TOOLS", "Builder", "Login", "find_builder"]

TOOLS: Final = ("docker", "podman", "buildah")
"""In the order in which they are tried."""
_ASKED: Final[Mapping[str, Sequence[str]]] = {
    # A client without an engine is no builder.
    "docker": ("version", "--format", "{{.Server.Version}}"),
    "podman": ("info", "--format", "{{.Version.Version}}"),
    "buildah": ("version",),
}
_BUILD: Final[Mapping[str, Sequence[str]]] = {
    "docker": ("build",),
    "podman": ("build", "--format", "docker"),
    "buildah": ("build", "--format", "docker", "--layers"),
}
_ASKED_S: Final = 20
_LAST_LINES: Final = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """For a registry, `host[:port]`. `secret` is what the protocol calls basic credentials: `user:password`, in base64."""

    host: str
    secret: str

    def __repr__(self) -> str:
        return f"Login(host={self.host!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Builder:
    """`tool` is one of `TOOLS`, at `path`. `tell` is told each line that it prints."""

    tool: str
    path: str
    tell: Callable[[str], None]

    async def build(self, context: Path, tag: str, *, platform: str) -> None:
        """Build the image of a context for a platform (`linux/amd64`), by that tag. `BackendError` has its last words."""
        await self._run("build", *_BUILD[self.tool], "--platform", platform, "--tag", tag, str(context))

    async def push(self, tag: str, login: Login) -> None:
        """Push it to the registry that the tag names. The credentials stand in a file that nobody else may read, for as long as
        it takes: in no argument, and not among the user's own."""
        with TemporaryDirectory(prefix="turnout-") as name:
            file = Path(name) / "config.json"
            file.touch(mode=0o600)
            file.write_text(json.dumps({"auths": {login.host: {"auth": login.secret}}}), encoding="utf-8")
            environment = {"REGISTRY_AUTH_FILE": str(file)}
            if self.tool == "docker":
                environment = {"DOCKER_CONFIG": name, **self._engine()}
            await self._run("push", "push", tag, environment=environment)

    def _engine(self) -> Mapping[str, str]:
        """Where the engine is, which the user's own configuration says, in place of which the credentials stand."""
        if "DOCKER_HOST" in os.environ:
            return {}
        asked = _asked(self.path, "context", "inspect", "--format", "{{.Endpoints.docker.Host}}")
        return {"DOCKER_HOST": asked} if asked else {}

    async def _run(self, what: str, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
        process = await asyncio.create_subprocess_exec(
            self.path,
            *arguments,
            env={**os.environ, **(environment or {})},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        assert process.stdout is not None
        last: deque[str] = deque(maxlen=_LAST_LINES)
        try:
            while chunk := await process.stdout.readline():
                line = chunk.decode(errors="replace").rstrip()
                last.append(line)
                self.tell(f"{self.tool}: {line}")
            status = await process.wait()
        except BaseException:
            with suppress(ProcessLookupError):
                process.terminate()
            await process.wait()
            raise
        if status:
            raise BackendError("\n".join([f"{self.tool} {what} ended with {status}:", *last]))


def find_builder(tell: Callable[[str], None]) -> Builder:
    """The first tool that is there and works. `UserError` says what each one lacks."""
    lacking = []
    for tool in TOOLS:
        path = shutil.which(tool)
        if path is None:
            lacking.append(f"{tool} is not there")
        elif not _asked(path, *_ASKED[tool]):
            lacking.append(f"{tool} does not answer")
        else:
            return Builder(tool=tool, path=path, tell=tell)
    raise UserError(
        f"the project's image has to be built, and nothing here can: {', '.join(lacking)}: install one of them, or build it "
        "elsewhere and give it by `--parameter Image=...`"
    )


def _asked(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_ASKED_S)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
