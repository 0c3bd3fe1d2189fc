"""The jail where Fargate would run it: tests marked `fargate` are run again with the capabilities and the seccomp filter of a
container there, Docker's own set and the four that are enough.

With the four all of them are run: every attack too. Docker's own set has less than this run's root, which tries every attack
with no filter around it, and more than the four, whose filter refuses all that Docker's does: between the two, what makes jails
and runs code in them is run again, and attacks and packages are not. `make test-images` runs all of them with both sets, in the
real image, in a container.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from turnout_ecs.jail.building import build

from plugins.ecs_backend.tests.jail.fargate import ENVIRONMENTS, OPEN_FILES, VARIABLE, dockers_profile

HERE = Path(__file__).parent
ROOT = HERE.parents[3]
CONFINED_AS = os.environ.get(VARIABLE)
SUITE_MINUTES = 30
BETWEEN = {"docker-default": ("attacks", "jail/test_bundles_in_jails.py")}
"""What more rights and fewer rights prove already, by environment."""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up capabilities and be locked in")


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_a_confined_process_may_do_what_a_container_on_fargate_may(environment: str) -> None:
    _is_as_in(environment, _allowances(sys.executable, str(HERE / "fargate.py"), environment))


@pytest.mark.fargate
def test_this_run_has_the_rights_that_it_says() -> None:
    """All of them, or those of the environment that it was started in: then the tests beside this one prove something."""
    seen = _allowances()

    if CONFINED_AS is None:
        _is_unconfined(seen)
    else:
        _is_as_in(CONFINED_AS, seen)


@pytest.mark.fargate
def test_a_jail_is_built_anew_there_and_nothing_is_left_of_the_old_one(tmp_path: Path) -> None:
    build(tmp_path)

    again = build(tmp_path, again=True)

    root = again.jail.root
    assert {entry.name for entry in tmp_path.iterdir()} == {".lock", root.name, f"{root.name}.json"}


@pytest.mark.timeout(SUITE_MINUTES * 60)
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_what_holds_for_root_holds_with_less(environment: str, tmp_path: Path) -> None:
    """Fails with what the run printed. A run without a test fails too: pytest ends with 5 then."""
    command = [sys.executable, str(HERE / "fargate.py"), environment, sys.executable, "-m", "pytest", "-q", "-rs"]
    left_out = [f"--ignore={HERE.parent / path}" for path in BETWEEN.get(environment, ())]
    arguments = ["-m", "fargate", f"--basetemp={tmp_path / 'run'}", *left_out, str(HERE.parent)]

    done = subprocess.run(command + arguments, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, f"as {environment}:\n{done.stdout}\n{done.stderr}"


@pytest.mark.may_skip("the profile is Docker's, and not shipped")
def test_dockers_own_profile_is_what_was_applied() -> None:
    """Says what a run without it left out."""
    if dockers_profile() is None:
        pytest.skip(
            "Docker's seccomp profile is not here (TURNOUT_DOCKER_SECCOMP): what it refuses was refused by name, and calls "
            "that are not on its list were not"
        )
    profile = json.loads((dockers_profile() or Path()).read_bytes())

    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"


def _allowances(*confiner: str) -> dict[str, Any]:
    command = [*confiner, sys.executable, str(HERE / "allowances.py")]
    seen = subprocess.run(command, capture_output=True, text=True, check=False)
    assert seen.returncode == 0, seen.stderr
    loaded: dict[str, Any] = json.loads(seen.stdout)
    return loaded


def _is_unconfined(seen: dict[str, Any]) -> None:
    """The control: what is refused in a container is refused by what Docker takes away, and not by this machine."""
    assert seen["filters"] == 0, f"this run is confined already: say as what in {VARIABLE}"
    assert "EPERM" not in seen["calls"].values()
    assert seen["calls"]["clone3"] != "ENOSYS"
    assert all("EPERM" not in tried for tried in seen["namespaces"].values())
    assert seen["give away"] == seen["drop from the bounding set"] == "done"


def _is_as_in(environment: str, seen: dict[str, Any]) -> None:
    """That it is as in a container on Fargate with these capabilities."""
    mask = ENVIRONMENTS[environment]
    assert (seen["capabilities"], seen["bounding"], seen["ambient"]) == (mask, mask, 0)
    assert seen["no_new_privs"] is False
    assert seen["filters"] == 1
    assert seen["files"] == OPEN_FILES
    assert seen["calls"] == dict.fromkeys(seen["calls"], "EPERM") | {"clone3": "ENOSYS"}
    assert seen["namespaces"] == {name: ["EPERM", "EPERM"] for name in seen["namespaces"]}
    assert seen["absent"] == "ENOSYS"
    assert seen["chroot"] == seen["become somebody"] == seen["kill somebody's"] == "done"
    assert seen["give away"] == ("done" if environment == "docker-default" else "EPERM")
    assert seen["drop from the bounding set"] == ("done" if environment == "docker-default" else "EPERM")
