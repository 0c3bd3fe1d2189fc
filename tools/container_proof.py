"""Run tests inside the runner's image, in a container that allows what one on Fargate does.

    python -m tools.container_proof [--capabilities docker-default|four-capabilities] [pytest arguments …]

The image is built from the work tree as it is (`plugins/ecs_backend/image`), with the tests' own tools on top; the code
under test is what is installed in it, the tests are read from here. The container has Docker's default capabilities or the
four that the jail needs, Docker's default seccomp profile, a root that is read-only, no network, 1,024 files, and one
directory to write to.

Needs root, `apt-get install buildah podman runc catatonit debootstrap`, and Docker's default profile: moby's
`profiles/seccomp/default.json`, in TURNOUT_DOCKER_SECCOMP. No engine runs, nothing is pulled: without `--base` the base
image is made by debootstrap, once.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from plugins.ecs_backend.tests.jail.fargate import ENVIRONMENTS, OPEN_FILES, VARIABLE, dockers_profile
from tools.setup import UV, find_uv

ROOT: Final = Path(__file__).resolve().parent.parent
IMAGE_FILES: Final = ROOT / "plugins" / "ecs_backend" / "image"
PROOF_FILES: Final = ROOT / "tools" / "container"
BASE: Final = "localhost/turnout-base:bookworm"
RUNNER: Final = "localhost/turnout-runner:proof"
PROOF: Final = "localhost/turnout-proof:latest"
PACKAGES: Final = ("python3", "python3-venv", "ca-certificates")
WRITABLE: Final = "/project/.turnout"
NAMES: Final = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE "
    "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN "
    "SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP"
)
"""Of capabilities, by number."""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tools.container_proof", description=(__doc__ or "").split("\n", 1)[0]
    )
    parser.add_argument("--capabilities", choices=sorted(ENVIRONMENTS), help="both, one after the other, without it")
    parser.add_argument("--base", help="an image with Debian and Python to build on, in place of one by debootstrap")
    parser.add_argument("--keep", action="store_true", help="run in the image built before")
    parser.add_argument("--command", action="store_true", help="the arguments are a command, not pytest's")
    given, arguments = parser.parse_known_args()
    profile = dockers_profile()
    if profile is None:
        sys.exit("Docker's default seccomp profile is not here: name its file in TURNOUT_DOCKER_SECCOMP.")
    if not given.keep:
        build(given.base or base())
    command = arguments if given.command else [*_PYTEST, *arguments]
    environments = [given.capabilities] if given.capabilities else list(ENVIRONMENTS)
    statuses = [run(environment, profile, command) for environment in environments]
    return next((status for status in statuses if status), 0)


_PODMAN: Final = ("podman", "--runtime", "runc", "--cgroup-manager", "cgroupfs")
_PYTEST: Final = ("python", "-m", "pytest", "-rs", f"--basetemp={WRITABLE}/pytest")


def base() -> str:
    """The base image, made of Debian's packages if it is not there."""
    if _succeeds(["buildah", "inspect", "--type", "image", BASE]):
        return BASE
    with tempfile.TemporaryDirectory(prefix="turnout-base-") as directory:
        tree = Path(directory) / "tree"
        _do(["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", "bookworm", str(tree)])
        archive = Path(directory) / "tree.tar"
        unneeded = [
            f"--exclude=./{name}" for name in ("dev/*", "proc/*", "sys/*", "var/cache/apt/*", "var/lib/apt/lists/*")
        ]
        _do(["tar", "-C", str(tree), *unneeded, "-cf", str(archive), "."])
        _do(["podman", "import", "--quiet", str(archive), BASE])
    return BASE


def build(base_image: str) -> None:
    """The runner's image, and the one with the tests' tools on top of it."""
    _build(ROOT, IMAGE_FILES / "Dockerfile", RUNNER, {"BASE": base_image}, IMAGE_FILES / "Dockerfile.dockerignore")
    with tempfile.TemporaryDirectory(prefix="turnout-proof-") as directory:
        export = [
            "export",
            "--frozen",
            "--all-packages",
            "--all-groups",
            "--no-hashes",
            "--no-emit-workspace",
            "--quiet",
        ]
        constraints = Path(directory) / "constraints.txt"
        _do([find_uv(sys.executable), *export, "--output-file", str(constraints)])
        _build(Path(directory), PROOF_FILES / "Dockerfile", PROOF, {"IMAGE": RUNNER})


def _build(context: Path, file: Path, name: str, arguments: dict[str, str], ignore: Path | None = None) -> None:
    command = ["buildah", "build", "--format", "docker", "--isolation", "chroot", "--layers", "--quiet"]
    command += ["--file", str(file), "--tag", name]
    for key, value in {**arguments, "UV": UV}.items():
        command += ["--build-arg", f"{key}={value}"]
    # Where this machine trusts certificates of its own, so does the build; none of them stay in the image.
    if certificates := os.environ.get("SSL_CERT_FILE"):
        inside = "/run/certificates.pem"
        command += ["--volume", f"{certificates}:{inside}:ro"]
        command += [part for key in ("SSL_CERT_FILE", "PIP_CERT") for part in ("--build-arg", f"{key}={inside}")]
    if ignore:
        command += ["--ignorefile", str(ignore)]
    _do([*command, str(context)])


def run(environment: str, profile: Path, command: Sequence[str]) -> int:
    """The command's exit status, in a container with the capabilities of that environment."""
    names = capabilities(ENVIRONMENTS[environment])
    sys.stdout.write(f"== {environment}: {', '.join(names)}\n")
    sys.stdout.flush()
    with tempfile.TemporaryDirectory(prefix="turnout-proof-") as directory:
        volume = Path(directory) / "volume"
        volume.mkdir(mode=0o755)
        options = [
            *("--rm", "--init", "--no-healthcheck"),
            *("--network", "none", "--read-only", "--read-only-tmpfs=false"),
            *("--ulimit", f"nofile={OPEN_FILES}:{OPEN_FILES}", "--ulimit", "nproc=1024:1024"),
            *("--cap-drop", "ALL", *(part for name in names for part in ("--cap-add", name))),
            *("--security-opt", f"seccomp={profile}"),
            *("--volume", f"{ROOT}:/src:ro", "--volume", f"{volume}:{WRITABLE}", "--workdir", "/src"),
            *("--env", f"{VARIABLE}={environment}", "--env", f"HYPOTHESIS_STORAGE_DIRECTORY={WRITABLE}/hypothesis"),
            *("--env", "npm_config_fetch_retries=0"),  # there is no network: what needs the registry is skipped at once
        ]
        return subprocess.call([*_PODMAN, "run", *options, PROOF, *command])


def capabilities(mask: int) -> list[str]:
    """Their names, without the `CAP_` that podman adds."""
    return [name for number, name in enumerate(NAMES.split()) if mask >> number & 1]


def _do(command: Sequence[str]) -> None:
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT)
    if done.returncode != 0:
        sys.exit(f"{done.stdout}\n{' '.join(command)}: failed with {done.returncode}")


def _succeeds(command: Sequence[str]) -> bool:
    return subprocess.call(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0


if __name__ == "__main__":
    sys.exit(main())
