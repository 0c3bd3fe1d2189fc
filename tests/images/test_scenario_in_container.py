"""The scenario of the platform with the runner in the image, as a task, and the other services on this machine."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.images.project import STORES, beside
from tests.images.tasks import task_of
from tests.scenario.scenario import DEFINITION, HOOK_SECRET, SETTINGS, Place, World, deploy, play, served
from tests.worker.processes import Serve


@pytest.mark.timeout(300)
def test_the_scenario_with_the_runner_in_a_container(package: Path, image: str, profile: Path, tmp_path: Path) -> None:
    outside = World()
    project = tmp_path / "project"
    project.mkdir()
    (project / "shop.yaml").write_text(DEFINITION)
    with ExitStack() as stack:
        url = stack.enter_context(served(outside))
        (project / "turnout.toml").write_text(SETTINGS % {"url": url} + STORES)
        servers = stack.enter_context(beside(project, tmp_path))
        env = {**servers.environment, "HOOK_SECRET": HOOK_SECRET}
        deploy(project, env, url)
        task = task_of(package, "runner", image, profile)
        worker = stack.enter_context(task.start(task.given(servers.secrets, servers.machine)))
        serve = stack.enter_context(Serve(project, name="serve", env=env))

        play(Place(project, env, serve, serve), outside)

        assert worker.running, worker.log()
