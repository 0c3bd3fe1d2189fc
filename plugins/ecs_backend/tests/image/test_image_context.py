"""What a project's image is built from. That it can be built, and what then runs in it, is tested in `tests/images`."""

from __future__ import annotations

import hashlib
import json
import re
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from turnout.deploy.contents import digest_of_directory
from turnout.deploy.distributions import Distributions
from turnout.errors import BackendError, UserError
from turnout_ecs.image import context as context_module
from turnout_ecs.image.command import image
from turnout_ecs.image.context import BASE, write_context
from turnout_ecs.image.wheels import gather, requirements

from plugins.ecs_backend.tests.jail.fargate import ENVIRONMENTS

ROOT = Path(__file__).resolve().parents[4]
DOCKERFILE = (ROOT / "plugins/ecs_backend/src/turnout_ecs/image/Dockerfile").read_text()
Write = Callable[..., Path]


def wheel(directory: Path, name: str, version: str, content: str = "") -> Path:
    made = directory / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr(zipfile.ZipInfo(f"{name}.py"), content)
    return made


@pytest.fixture
def project(tmp_path: Path) -> Path:
    directory = tmp_path / "project"
    (directory / "lib").mkdir(parents=True)
    (directory / "turnout.toml").write_text('[project]\nname = "shop"\n')
    (directory / "lib" / "parse.js").write_text("export default () => 1")
    (directory / "run.sh").write_text("#!/bin/sh\n")
    (directory / "run.sh").chmod(0o700)
    return directory


@pytest.fixture
def write(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """The context of `project`, with two wheels in place of all that is installed: those take their minute in `tests/images`."""

    def two(found: Distributions, directory: Path, *, architecture: str, tell: Any) -> None:
        assert architecture == "arm64"
        wheel(directory, "one", "1.0")
        wheel(directory, "turnout", "0.1.0")

    monkeypatch.setattr(context_module, "gather", two)

    def written(name: str = "image", base: str = "") -> Path:
        directory = tmp_path / name
        directory.mkdir()
        write_context(project, directory, architecture="arm64", base=base, tell=lambda text: None)
        return directory

    return written


def files(directory: Path) -> list[str]:
    return sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file())


def test_it_has_the_project_the_wheels_and_their_digests(write: Write) -> None:
    made = write()

    assert files(made) == [
        *("Dockerfile", "project/lib/parse.js", "project/run.sh", "project/turnout.toml", "requirements.txt"),
        *("wheels/one-1.0-py3-none-any.whl", "wheels/turnout-0.1.0-py3-none-any.whl"),
    ]
    digests = {
        path.name.split("-")[0]: hashlib.sha256(path.read_bytes()).hexdigest() for path in (made / "wheels").iterdir()
    }
    assert (made / "requirements.txt").read_text() == (
        f"one==1.0 --hash=sha256:{digests['one']}\nturnout==0.1.0 --hash=sha256:{digests['turnout']}\n"
    )


def test_what_is_private_made_or_of_this_machine_is_left_out(write: Write, project: Path) -> None:
    before = files(write("before"))
    for name in (".env", ".git/config", ".turnout/db", "node_modules/x/i.js", "lib/__pycache__/x.pyc"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text("x")
    for name, files_of in {"env": ["pyvenv.cfg"], "out/ecs": ["manifest.json", "template.json"]}.items():
        (project / name).mkdir(parents=True)
        for one in files_of:
            (project / name / one).write_text("{}")

    assert files(write("after")) == before


def test_the_same_project_gives_the_same_bytes(write: Write, project: Path) -> None:
    first = write("first")
    for path in project.rglob("*"):
        path.touch()
    second = write("second")

    assert digest_of_directory(first) == digest_of_directory(second)
    stats = [
        [(path.stat().st_mode, path.stat().st_mtime) for path in sorted(one.rglob("*"))] for one in (first, second)
    ]
    assert stats[0] == stats[1]
    assert {oct(mode & 0o777) for mode, _ in stats[0]} == {"0o644", "0o755"}


@pytest.mark.parametrize("change", ["content", "name", "mode"])
def test_whatever_changes_changes_the_digest(write: Write, project: Path, change: str) -> None:
    before = digest_of_directory(write("before"))
    if change == "content":
        (project / "lib/parse.js").write_text("export default () => 2")
    elif change == "name":
        (project / "lib/parse.js").rename(project / "lib/other.js")
    else:
        (project / "lib/parse.js").chmod(0o755)

    assert digest_of_directory(write("after")) != before


def test_a_link_out_of_the_project_is_refused(write: Write, project: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("hush")
    (project / "link.txt").symlink_to(tmp_path / "secret.txt")

    with pytest.raises(BackendError, match=r"link\.txt: it leads out of the project"):
        write()


def test_a_link_to_a_directory_is_refused(write: Write, project: Path) -> None:
    (project / "again").symlink_to(project / "lib")

    with pytest.raises(BackendError, match="again: a link to a directory is not copied"):
        write()


def test_a_link_within_the_project_is_a_file_in_the_image(write: Write, project: Path) -> None:
    (project / "also.js").symlink_to(project / "lib" / "parse.js")

    made = write() / "project" / "also.js"

    assert not made.is_symlink()
    assert made.read_text() == "export default () => 1"


def test_the_base_is_what_was_chosen(write: Write) -> None:
    own, chosen = write("own"), write("chosen", "registry.example/debian:12")

    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert f"ARG BASE=python:{python}-slim-bookworm\n" in (own / "Dockerfile").read_text()
    assert f"ARG PYTHON={python}\n" in (own / "Dockerfile").read_text()
    assert "ARG BASE=registry.example/debian:12\n" in (chosen / "Dockerfile").read_text()
    assert BASE in (own / "Dockerfile").read_text()


def test_wheels_are_built_of_what_no_index_has(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "pyproject.toml").write_text(
        '[project]\nname = "turnout-own"\nversion = "3"\n[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    (source / "backend.py").write_text(
        "import zipfile\n"
        "def build_wheel(directory, config_settings=None, metadata_directory=None):\n"
        "    name = 'turnout_own-3-py3-none-any.whl'\n"
        "    with zipfile.ZipFile(f'{directory}/{name}', 'w') as archive:\n"
        "        archive.writestr('turnout_own-3.dist-info/METADATA', 'Metadata-Version: 2.1\\nName: turnout-own\\nVersion: 3\\n')\n"
        "        archive.writestr('turnout_own-3.dist-info/WHEEL', 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')\n"
        "        archive.writestr('turnout_own-3.dist-info/RECORD', '')\n"
        "    return name\n"
    )
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    told: list[str] = []

    found = Distributions(pins=(), sources={"turnout-own": source.as_uri()})
    gather(found, wheels, architecture="x86_64", tell=told.append)

    assert re.fullmatch(r"turnout-own==3 --hash=sha256:[0-9a-f]{64}\n", requirements(wheels))
    assert told == ["ecs: building the wheels of turnout-own"]


def test_what_cannot_be_built_says_why(tmp_path: Path) -> None:
    found = Distributions(pins=(), sources={"gone": (tmp_path / "gone").as_uri()})

    with pytest.raises(BackendError, match="a wheel cannot be built:"):
        gather(found, tmp_path, architecture="x86_64", tell=lambda text: None)


def test_the_command_writes_it_and_says_its_digest(
    write: Write, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    given = [str(tmp_path / "made"), "--architecture", "arm64", "--json"]

    done = CliRunner().invoke(image, given)
    again = CliRunner().invoke(image, given)

    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["sha256"] == digest_of_directory(tmp_path / "made")
    assert isinstance(again.exception, UserError)
    assert "it is not empty" in str(again.exception)


def test_it_names_no_registry_and_no_user() -> None:
    """A worker is root: it gives each sandbox a user of its own. What it is built on, Docker knows where to find."""
    assert not re.search(r"^USER", DOCKERFILE, re.MULTILINE)
    assert "://" not in DOCKERFILE
    assert BASE.count("/") == 0


def test_it_says_which_four_capabilities_are_enough() -> None:
    numbers = {"KILL": 5, "SETGID": 6, "SETUID": 7, "SYS_CHROOT": 18}
    named = sorted(re.findall(r"--cap-add (\w+)", DOCKERFILE))

    assert named == sorted(numbers)
    assert sum(1 << numbers[name] for name in named) == ENVIRONMENTS["four-capabilities"]
