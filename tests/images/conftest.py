"""The image that `turnout package` makes of a project, built once for all tests here.

`make test` leaves this directory out: building takes minutes, root, and Debian's tools. `make test-images` runs it.
"""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from turnout.deploy.contents import digest_of_directory

from plugins.ecs_backend.tests.jail import fargate
from tests.dev.commands import TURNOUT, environment
from tests.images.base import base
from tests.images.engine import build, forget, has_image
from tests.images.project import SETTINGS

SHOP = "localhost/turnout-shop"
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Docker's default seccomp profile as runc reads it; where its file is not here, what is known of it by name."""
    found = fargate.dockers_profile()
    if found is not None:
        return found
    refused = {"names": fargate.REFUSED_BY_DOCKER.split(), "action": "SCMP_ACT_ERRNO", "errnoRet": errno.EPERM}
    file = tmp_path_factory.mktemp("seccomp") / "by-name.json"
    file.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [refused, *_namespaces()]}))
    return file


def _namespaces() -> Iterator[dict[str, object]]:
    """A process in a namespace of its own, one rule a bit; `clone3` hides its flags, and is said not to be there."""
    for bit in (1 << number for number in range(32)):
        if bit & fargate.NEW_NAMESPACES:
            masked = {"index": 0, "op": "SCMP_CMP_MASKED_EQ", "value": bit, "valueTwo": bit}
            yield {"names": ["clone"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno.EPERM, "args": [masked]}
    yield {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno.ENOSYS}


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The orders example as a project whose runner is placed on ECS."""
    directory = tmp_path_factory.mktemp("shop") / "project"
    shutil.copytree(ROOT / "examples" / "orders", directory, ignore=shutil.ignore_patterns(".turnout", "__pycache__"))
    (directory / "turnout.toml").write_text(SETTINGS % {"base": base()})
    return directory


@pytest.fixture(scope="session")
def package(project: Path) -> Path:
    """What `turnout package` makes of it."""
    done = subprocess.run(
        [TURNOUT, "package"], cwd=project, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return project / "dist" / "ecs"


@pytest.fixture(scope="session")
def image(package: Path) -> str:
    """Built from the package alone, once for the same content."""
    name = f"{SHOP}:{digest_of_directory(package / 'image')[:12]}"
    if not has_image(name):
        build(package / "image", name)
        forget(SHOP, but=name)
    return name
