"""What `turnout new` makes runs and passes its own tests, without a network."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

TURNOUT = str(Path(sys.executable).with_name("turnout"))


def run(*command: str, cwd: Path, path: Path | None = None) -> str:
    """What the command printed; it must succeed. `path` holds installed distributions beside this environment's."""
    # A stranger's machine: their pytest has none of our settings, and CI is not ours to pass on.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST") and name != "CI"}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    ran = subprocess.run(
        command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout
    return ran.stdout


def pytest_in(directory: Path, *, path: Path | None = None) -> str:
    return run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=directory, path=path)


@pytest.mark.parametrize("name", ["acme", "acme-crm-2"])
def test_a_connector_builds_installs_and_passes_its_own_tests(tmp_path: Path, name: str) -> None:
    run(TURNOUT, "new", "connector", name, cwd=tmp_path)
    source = tmp_path / f"turnout-{name}"
    (module,) = source.glob("src/*/connector.py")
    assert len(module.read_text().splitlines()) < 60

    site = install(source, tmp_path / "site")

    assert " passed" in pytest_in(source, path=site)
    connector = name.replace("-", "_")
    listed = " ".join(run(TURNOUT, "plugins", cwd=tmp_path, path=site).split())
    assert f"{name} turnout-{name} 0.1.0 connectors: {connector}" in listed
    assert "effect: effect" in run(TURNOUT, "connectors", "show", f"{connector}.create_item", cwd=tmp_path, path=site)


def install(source: Path, site: Path) -> Path:
    """Build the wheel and unpack it, which is all that installing one of plain Python is."""
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(site), cwd=source)
    (wheel,) = site.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(site)
    return site


def test_a_project_is_valid(tmp_path: Path) -> None:
    run(TURNOUT, "new", "project", "shop", cwd=tmp_path)

    assert "hello 0.1.0 is valid (main)" in run(TURNOUT, "validate", "--strict", cwd=tmp_path / "shop")


def test_a_project_and_an_integration_in_it_pass_their_own_tests(tmp_path: Path) -> None:
    run(TURNOUT, "new", "project", "shop", cwd=tmp_path)
    project = tmp_path / "shop"
    run(TURNOUT, "new", "integration", "order-sync", cwd=project / "tests")

    assert (project / "integrations" / "order-sync" / "integration.yaml").is_file()
    assert "5 passed" in pytest_in(project)


def test_templates_are_in_the_wheel_that_people_install(tmp_path: Path) -> None:
    core = Path(__file__).parents[2] / "core"
    templates = {path.relative_to(core / "src").as_posix() for path in core.glob("src/turnout/cli/templates/**/*.j2")}

    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path), cwd=core)

    (wheel,) = tmp_path.glob("*.whl")
    assert templates
    assert templates <= set(zipfile.ZipFile(wheel).namelist())
