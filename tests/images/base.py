"""What images are built on where no registry is: Debian with its Python, made once of the packages that apt is set to."""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.images.engine import do, has_image

__all__ = ["base"]

SUITES: Final = {(3, 11): "bookworm", (3, 13): "trixie"}
"""Of Debian, by its Python."""
_PACKAGES: Final = ("python3", "python3-venv", "ca-certificates")
_LEFT_OUT: Final = ("dev/*", "proc/*", "sys/*", "var/cache/apt/*", "var/lib/apt/lists/*")
_KEYS: Final = "/usr/share/keyrings/debian-archive-keyring.gpg"


def base() -> str:
    """Its name, which has the digest of all that it is made from; where it is there, nothing is made."""
    suite = SUITES.get(sys.version_info[:2])
    assert suite is not None, (
        f"no Debian has Python {sys.version_info[0]}.{sys.version_info[1]}: `make setup PYTHON=python3.11`"
    )
    inputs = json.dumps([suite, _PACKAGES, _LEFT_OUT])
    name = f"localhost/turnout-base:{suite}-{hashlib.sha256(inputs.encode()).hexdigest()[:12]}"
    if not has_image(name):
        with tempfile.TemporaryDirectory(prefix="turnout-base-") as directory:
            _make(Path(directory), suite, name)
    return name


def _make(directory: Path, suite: str, name: str) -> None:
    tree, archive = directory / "tree", directory / "tree.tar"
    do(
        *("debootstrap", "--variant=minbase", f"--include={','.join(_PACKAGES)}", f"--keyring={_KEYS}"),
        *(suite, str(tree), *_mirror(suite)),
    )
    do("tar", "-C", str(tree), *(f"--exclude=./{one}" for one in _LEFT_OUT), "-cf", str(archive), ".")
    do("podman", "import", "--quiet", str(archive), name)


def _mirror(suite: str) -> list[str]:
    """Where apt has that suite from; nothing, and debootstrap's own choice, where it has another."""
    told = do("apt-get", "indextargets", "--format", "$(REPO_URI)", f"Codename: {suite}", "Created-By: Packages")
    return told.split()[:1]
