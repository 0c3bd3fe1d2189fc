"""Images and containers by buildah, podman and runc: what takes the part of Docker and of Fargate's agent here."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Self

from plugins.ecs_backend.tests.jail.fargate import DOCKERS_CAPABILITIES, OPEN_FILES

__all__ = [
    "CAPABILITIES",
    "Container",
    "Ended",
    "Given",
    "build",
    "do",
    "forget",
    "has_image",
    "podman_run",
    "run",
]

_PODMAN: Final = ("podman", "--runtime", "runc", "--cgroup-manager", "cgroupfs")
_PATIENCE_S: Final = 90.0
_NAMES: Final = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
]
"""Of capabilities, by number."""
CAPABILITIES: Final = frozenset(name for bit, name in enumerate(_NAMES) if DOCKERS_CAPABILITIES >> bit & 1)
"""What Docker, and Fargate, give a container that asks for nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What a container is given. Values of `environment` stand in no command's arguments."""

    profile: Path
    capabilities: frozenset[str] = CAPABILITIES
    read_only: bool = True
    init: bool = True
    network: bool = False
    """Whether it is in this machine's network, where the test's servers are, or in none."""
    user: str = ""
    environment: Mapping[str, str] | None = None
    writable: Sequence[str] = ()
    mounts: Sequence[str] = ()
    directory: str = ""
    memory_bytes: int = 0
    scratch: str = ""
    """A directory in memory that may be written to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    status: int
    output: str


def do(*command: str, environment: Mapping[str, str] | None = None, timeout_s: float | None = None) -> str:
    """What it prints, errors with it. `AssertionError` has all of that where it fails."""
    done = subprocess.run(
        command,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **(environment or {})},
        timeout=timeout_s,
    )
    assert done.returncode == 0, f"{' '.join(command)}: {done.returncode}\n{done.stdout}"
    return done.stdout


def build(context: Path, name: str, *, arguments: Mapping[str, str] | None = None) -> str:
    """The image of a context, by its name."""
    given = [part for key, value in (arguments or {}).items() for part in ("--build-arg", f"{key}={value}")]
    do(
        *("buildah", "build", "--format", "docker", "--isolation", "chroot", "--layers", "--pull-never", "--quiet"),
        *(*given, "--tag", name, str(context)),
    )
    return name


def has_image(name: str) -> bool:
    return subprocess.call([*_PODMAN, "image", "exists", name]) == 0


def forget(repository: str, *, but: str = "") -> None:
    """Remove its names of images, of which one may stay; with its last name goes an image, and what only it was built from."""
    listed = do(*_PODMAN, "images", "--format", "{{.Repository}}:{{.Tag}}").split()
    for one in listed:
        if one.startswith(f"{repository}:") and one != but:
            do(*_PODMAN, "rmi", one)


def run(image: str, given: Given, *command: str, entry: str | None = None) -> Ended:
    """In a container, to its end."""
    done = subprocess.run(
        [*_PODMAN, "run", "--rm", *_options(given, entry), image, *command],
        env={**os.environ, **(given.environment or {})},
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return Ended(status=done.returncode, output=done.stdout)


def podman_run(image: str, given: Given, *command: str, entry: str, name: str, log: IO[str]) -> subprocess.Popen[bytes]:
    """In a container of that name, which goes when its process does; what it prints goes into `log`."""
    return subprocess.Popen(
        [*_PODMAN, "run", "--rm", "--name", name, *_options(given, entry), image, *command],
        env={**os.environ, **(given.environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
    )


class Container:
    """One that runs in the background, from `with` to its end."""

    def __init__(self, image: str, given: Given, *command: str) -> None:
        self._image, self._given, self._command = image, given, command

    def __enter__(self) -> Self:
        options = _options(self._given, None)
        environment = self._given.environment
        told = do(*_PODMAN, "run", "--detach", *options, self._image, *self._command, environment=environment)
        self.id = told.split()[-1]
        return self

    def __exit__(self, *_: object) -> None:
        do(*_PODMAN, "rm", "--force", "--volumes", "--time", "0", self.id)

    @property
    def running(self) -> bool:
        return bool(self._state()["Running"])

    def log(self) -> str:
        return do(*_PODMAN, "logs", self.id)

    def events(self, name: str) -> list[dict[str, Any]]:
        """What it said of that name, a JSON object a line."""
        lines = [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("event") == name]

    def execute(self, *command: str) -> Ended:
        """As a health check is: in the container, beside what runs in it."""
        done = subprocess.run(
            [*_PODMAN, "exec", self.id, *command],
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return Ended(status=done.returncode, output=done.stdout)

    def signal(self, name: str) -> None:
        do(*_PODMAN, "kill", "--signal", name, self.id)

    def ended(self) -> int:
        """Its exit status, once it has ended."""
        self.until(lambda: not self.running)
        return int(self._state()["ExitCode"])

    def until(self, holds: Callable[[], bool], *, seconds: float = _PATIENCE_S) -> None:
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.1)

    def _state(self) -> Any:
        return json.loads(do(*_PODMAN, "inspect", "--format", "{{json .State}}", self.id))


def _options(given: Given, entry: str | None) -> list[str]:
    options = [
        *("--no-healthcheck", "--pull", "never", "--network", "host" if given.network else "none"),
        *("--ulimit", f"nofile={OPEN_FILES}:{OPEN_FILES}", "--ulimit", "nproc=1024:1024"),
        *("--security-opt", f"seccomp={given.profile}", "--cap-drop", "ALL"),
    ]
    options += [part for name in sorted(given.capabilities) for part in ("--cap-add", name)]
    options += [part for name in given.environment or () for part in ("--env", name)]
    options += [part for place in given.writable for part in ("--mount", f"type=volume,destination={place}")]
    options += [part for mount in given.mounts for part in ("--volume", mount)]
    options += ["--init"] if given.init else []
    options += ["--read-only", "--read-only-tmpfs=false"] if given.read_only else []
    options += ["--user", given.user] if given.user else []
    options += ["--workdir", given.directory] if given.directory else []
    options += ["--memory", f"{given.memory_bytes}b"] if given.memory_bytes else []
    options += ["--mount", f"type=tmpfs,destination={given.scratch}"] if given.scratch else []
    options += ["--entrypoint", entry] if entry is not None else []
    return options
