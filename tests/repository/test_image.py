"""The runner's image is built from all of the workspace, and its proof with the tools of the lock."""

from __future__ import annotations

import re

import pytest

from plugins.ecs_backend.tests.jail.fargate import ENVIRONMENTS
from tools import container_proof
from tools.setup import UV, distributions

IMAGE = (container_proof.IMAGE_FILES / "Dockerfile").read_text()
PROOF = (container_proof.PROOF_FILES / "Dockerfile").read_text()


def test_every_distribution_is_in_it() -> None:
    """Left out, uv would refuse the lock while the image is built, which no other test does."""
    copied = set(re.findall(r"^COPY (\S+)/pyproject\.toml \1/$", IMAGE, re.MULTILINE))
    installed = set(re.findall(r"--package (\S+?)[\s\"]", IMAGE))

    folders = [str(folder.relative_to(container_proof.ROOT)) for folder in distributions()]
    assert copied == set(folders)
    assert len(installed) == len(folders)


@pytest.mark.parametrize("text", [IMAGE, PROOF], ids=["image", "proof"])
def test_it_is_made_with_the_uv_that_makes_the_lock(text: str) -> None:
    assert re.findall(r"^ARG UV=(\S+)$", text, re.MULTILINE) == [UV]


def test_it_names_no_registry_and_no_user() -> None:
    """A worker is root: it gives each sandbox a user of its own."""
    assert "USER" not in IMAGE
    assert "://" not in IMAGE + PROOF


def test_it_says_which_four_capabilities_are_enough() -> None:
    names = container_proof.capabilities(ENVIRONMENTS["four-capabilities"])

    assert names == ["KILL", "SETGID", "SETUID", "SYS_CHROOT"]
    assert sorted(re.findall(r"--cap-add (\w+)", IMAGE)) == names


def test_dockers_default_is_fourteen_capabilities() -> None:
    fourteen = (
        "CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE NET_RAW SYS_CHROOT MKNOD AUDIT_WRITE "
        "SETFCAP"
    )
    assert " ".join(container_proof.capabilities(ENVIRONMENTS["docker-default"])) == fourteen
