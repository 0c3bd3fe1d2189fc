"""What a container may do decides whether a worker serves: with what Fargate gives, with the four rights that are enough, and
without one of these."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from plugins.ecs_backend.tests.jail.fargate import ENVIRONMENTS, dockers_profile
from tests.images.engine import CAPABILITIES, Container, Given, run
from tests.images.project import beside
from tests.images.tasks import task_of

pytestmark = pytest.mark.timeout(300)

FOUR = frozenset({"KILL", "SETGID", "SETUID", "SYS_CHROOT"})
RIGHTS = {"docker-default": CAPABILITIES, "four-capabilities": FOUR}


def test_the_sets_of_rights_are_those_of_the_other_tests() -> None:
    assert RIGHTS.keys() == ENVIRONMENTS.keys()
    assert len(CAPABILITIES) == 14
    assert FOUR < CAPABILITIES


@pytest.mark.may_skip("the profile is Docker's, and not shipped")
def test_dockers_own_profile_is_what_containers_have() -> None:
    """Says what a run without it left out."""
    if dockers_profile() is None:
        pytest.skip(
            "Docker's seccomp profile is not here (TURNOUT_DOCKER_SECCOMP): what it refuses was refused by name, and calls "
            "that are not on its list were not"
        )


def test_a_task_of_the_runner_keeps_the_four_alone(package: Path, image: str, profile: Path) -> None:
    given = task_of(package, "runner", image, profile).given(dict.fromkeys(_VARIABLES, ""), {})

    assert (given.capabilities, given.read_only, given.init) == (FOUR, True, True)


_VARIABLES = ("DATABASE_URL", "REDIS_URL", "TURNOUT_SECRET_KEY")


@pytest.mark.parametrize("rights", RIGHTS)
def test_the_jail_holds_and_the_worker_serves(
    rights: str, project: Path, package: Path, image: str, profile: Path, tmp_path: Path
) -> None:
    """A worker that takes executions has tried to get out of its jails, once a layer, and did not."""
    task = task_of(package, "runner", image, profile)
    with beside(project, tmp_path) as servers:
        given = replace(task.given(servers.secrets, servers.machine), capabilities=RIGHTS[rights])
        with task.start(given, "--json") as container:
            container.until(lambda: not container.running or bool(container.events("ready")))

            assert container.running, container.log()
            [ready] = container.events("ready")
            assert not any("isolate" in note for note in ready["notes"])


@pytest.mark.parametrize("missing", sorted(FOUR))
def test_without_one_of_them_it_ends_at_once_and_says_which(
    missing: str, project: Path, package: Path, image: str, profile: Path, tmp_path: Path
) -> None:
    task = task_of(package, "runner", image, profile)
    with beside(project, tmp_path) as servers:
        given = replace(task.given(servers.secrets, servers.machine), capabilities=FOUR - {missing})
        with task.start(given) as container:
            status = container.ended()

            assert status != 0
            assert f"needs the capability {missing}, which root does not have here" in container.log()
            assert "takes executions" not in container.log()


def test_a_service_without_code_runs_as_nobody_in_particular(
    project: Path, package: Path, image: str, profile: Path, tmp_path: Path
) -> None:
    task = task_of(package, "oauth", image, profile)
    with beside(project, tmp_path) as servers:
        given = task.given(servers.secrets, servers.machine)
        assert (given.capabilities, given.user) == (frozenset(), "65534:65534")
        with task.start(given) as container:
            container.until(lambda: not container.running or task.healthy(container))

            assert container.running, container.log()
            assert container.execute("id", "-u").output.strip() == "65534"


def test_nothing_but_its_volume_can_be_written_to(image: str, profile: Path) -> None:
    looked = run(
        image,
        Given(profile=profile, writable=("/project/.turnout",)),
        "-c",
        "touch /project/.turnout/x && echo volume; for place in / /project /opt/turnout /tmp; do touch $place/x && echo $place; done; true",
        entry="/bin/sh",
    )

    assert [line for line in looked.output.splitlines() if "touch:" not in line] == ["volume"]


def test_its_jail_is_what_was_built_and_root_without_rights_sees_that(image: str, profile: Path) -> None:
    verified = run(image, Given(profile=profile, capabilities=FOUR), "jail", "verify", "--to", "/opt/turnout/jail")

    assert verified.status == 0, verified.output
    assert verified.output.startswith("as it was built: ")


def test_no_installer_and_no_tool_of_the_build_is_in_it(image: str, profile: Path) -> None:
    names = run(image, Given(profile=profile), "-c", "ls /opt/turnout/venv/bin", entry="/bin/sh").output.split()

    assert "turnout" in names
    assert not [name for name in names if name.startswith("pip") or name == "uv"]


def test_a_container_that_is_told_nothing_serves_as_a_worker(image: str, profile: Path) -> None:
    """Its entry point and command are those of a worker; alone, without its stores, it says what it lacks."""
    with Container(image, Given(profile=profile, writable=("/project/.turnout",))) as container:
        assert container.ended() != 0
        assert "REDIS_URL" in container.log()
