"""The zip for Lambda where nothing can be written but /tmp, by a user who is nobody, with 256 MB: the scenario, as on Lambda."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import IO

import pytest

from tests.images.base import base
from tests.images.engine import Given, do, podman_run, run
from tests.scenario.functions import Host
from tests.scenario.test_functions import play_on_functions

TASK_ROOT, SITE = "/var/task", "/opt/site"
LAMBDAS_USER = "993:990"
MEMORY_BYTES = 256 * 1024 * 1024
_NUMBERS = count(1)


def lambdas(profile: Path) -> Given:
    return Given(
        profile=profile,
        capabilities=frozenset(),
        network=True,
        user=LAMBDAS_USER,
        memory_bytes=MEMORY_BYTES,
        scratch="/tmp",
    )


class ContainerHost(Host):
    """Each function in a container with Debian's Python, and nothing installed."""

    def __init__(self, image: str, profile: Path, directory: Path) -> None:
        self._image, self._profile, self._directory = image, profile, directory
        self._names: dict[int, str] = {}

    def seen(self, code: Path, site: Path, home: Path) -> tuple[str, str, str]:
        return TASK_ROOT, SITE, "/tmp"

    def start(
        self, program: str, code: Path, site: Path, environment: Mapping[str, str], log: IO[str]
    ) -> subprocess.Popen[bytes]:
        whole = self._directory / "site"
        if not whole.exists():
            shutil.copytree(site, whole)  # links of it lead out
        mounts = (f"{code}:{TASK_ROOT}:ro", f"{whole}:{SITE}:ro")
        given = replace(lambdas(self._profile), environment=environment, mounts=mounts, directory=TASK_ROOT)
        name = f"turnout-function-{self._directory.name}-{next(_NUMBERS)}"
        process = podman_run(self._image, given, "-S", "-c", program, entry="/usr/bin/python3", name=name, log=log)
        self._names[process.pid] = name
        return process

    def end(self, process: subprocess.Popen[bytes]) -> None:
        do("podman", "rm", "--force", "--time", "0", "--ignore", self._names[process.pid])
        process.wait()


def test_the_containers_are_what_is_said_of_them(profile: Path) -> None:
    """By the kernel's own words, and not by what podman was asked."""
    limit = "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null"
    looks = f"id -u; {limit}; for place in / /var /opt /tmp; do touch $place/x 2>/dev/null && echo $place; done; true"

    looked = run(base(), lambdas(profile), "-c", looks, entry="/bin/sh")

    assert looked.output.split() == [LAMBDAS_USER.partition(":")[0], str(MEMORY_BYTES), "/tmp"]


@pytest.mark.timeout(900)
def test_the_scenario_with_services_in_containers_as_small_as_lambdas(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, profile: Path
) -> None:
    play_on_functions(tmp_path, monkeypatch, ContainerHost(base(), profile, tmp_path_factory.mktemp("containers")))
