"""Build a project's image and test it in containers: what `make test-images` runs.

    python -m tools.images [pytest arguments …]
    python -m tools.images --passed     ends with 0 where what is tested here passed as it is, with 3 where it did not

Needs root, and Debian's buildah, podman, runc, catatonit and debootstrap, which it installs. No engine runs, and no registry
is asked: the base image is made of Debian's packages.

What passed is written into `tests/images/passed.json`: the digest of all that decides how the image is made and how code is
locked up in it (`INPUTS`), when, and with which tools. Commit it with the change.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from plugins.ecs_backend.tests.jail.fargate import dockers_profile

ROOT: Final = Path(__file__).resolve().parent.parent
PASSED: Final = ROOT / "tests" / "images" / "passed.json"
INPUTS: Final = (
    "plugins/ecs_backend/hatch_build.py",
    "plugins/ecs_backend/native",
    "plugins/ecs_backend/pyproject.toml",
    "plugins/ecs_backend/src/turnout_ecs/egress",
    "plugins/ecs_backend/src/turnout_ecs/fargate/tasks.py",
    "plugins/ecs_backend/src/turnout_ecs/image",
    "plugins/ecs_backend/src/turnout_ecs/jail",
    "plugins/ecs_backend/tests/attacks",
    "plugins/ecs_backend/tests/egress",
    "plugins/ecs_backend/tests/jail",
    "plugins/aws_services/src/turnout_aws/deploying/building.py",
    "plugins/aws_services/src/turnout_aws/deploying/images.py",
    "tests/images",
    "tools/images.py",
    "uv.lock",
)
"""Of what is tested here and nowhere else. The rest of what is in the image, the platform's own modules, is tested by `make test`
in every change; in the image it is the same."""
COMMANDS: Final = {
    "buildah": "buildah",
    "catatonit": "catatonit",
    "debootstrap": "debootstrap",
    "podman": "podman",
    "runc": "runc",
}
"""And the packages of Debian that have them."""
_CHANGED: Final = 3


def main() -> int:
    arguments = sys.argv[1:]
    if arguments == ["--passed"]:
        return _compare()
    if os.geteuid() != 0:
        sys.exit("Containers are root's to build and to start here: run `sudo make test-images`.")
    _install()
    before = digest()
    environment = {**os.environ, "CI": os.environ.get("CI", "true")}
    command = [sys.executable, "-m", "pytest", "-p", "no:xdist", "tests/images", *arguments]
    status = subprocess.call(command, cwd=ROOT, env=environment)
    if status == 0 and not arguments:
        if digest() != before:
            sys.exit("It passed, and was changed meanwhile: run it again.")
        _write(before)
    return status


def digest() -> str:
    """Of the inputs' paths and contents."""
    whole = hashlib.sha256()
    for path in sorted(_files()):
        whole.update(f"{path.relative_to(ROOT)}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\0".encode())
    return whole.hexdigest()


def _files() -> Iterator[Path]:
    for name in INPUTS:
        place = ROOT / name
        if not place.exists():
            sys.exit(f"{name}: an input that is not there: correct INPUTS in tools/images.py")
        for path in [place] if place.is_file() else place.rglob("*"):
            made = "__pycache__" in path.parts or path.parent.name == "bin"
            if path.is_file() and path != PASSED and not made:
                yield path


def _compare() -> int:
    told = json.loads(PASSED.read_text(encoding="utf-8")) if PASSED.exists() else {}
    if told.get("digest") == digest():
        sys.stdout.write(f"What `make test-images` tests passed as it is, on {told['date']}.\n")
        return 0
    sys.stdout.write("What `make test-images` tests has changed since it passed.\n")
    return _CHANGED


def _write(passed: str) -> None:
    told = {
        "digest": passed,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": f"Linux {platform.release()}, {platform.machine()}",
        "seccomp": "Docker's default profile" if dockers_profile() else "what Docker refuses, by name",
        **{name: _version(name) for name in ("buildah", "podman", "runc")},
    }
    PASSED.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(f"Commit {PASSED.relative_to(ROOT)}.\n")


def _version(command: str) -> str:
    done = subprocess.run([command, "--version"], check=True, capture_output=True, text=True)
    return done.stdout.splitlines()[0].removeprefix(f"{command} ").removeprefix("version ").strip()


def _install() -> None:
    missing = sorted(package for command, package in COMMANDS.items() if not _there(command))
    if not missing:
        return
    if shutil.which("apt-get") is None:
        sys.exit(f"Install {', '.join(missing)} first: there is no apt-get here that could.")
    sys.stdout.write(f"Installing {', '.join(missing)}\n")
    sys.stdout.flush()
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "-y", "--no-install-recommends", *missing]):
        done = subprocess.run(["apt-get", "-qq", *command], env=quiet, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{done.stdout}{done.stderr}\nDebian's packages cannot be installed, see above.")


def _there(command: str) -> bool:
    return shutil.which(command) is not None or Path("/usr/libexec/podman", command).exists()


if __name__ == "__main__":
    sys.exit(main())
