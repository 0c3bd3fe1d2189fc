"""What is committed is what people wrote: nothing generated, nothing of the machine it was written on."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GENERATED = re.compile(
    r"(^|/)(__pycache__|node_modules|\.venv|\.turnout|\.tools|dist|build|[^/]*\.egg-info|\.[a-z_]+_cache)/|\.(pyc|db|whl|log)$"
)
HOSTS_OF_THE_LOCK = {"https://pypi.org", "https://files.pythonhosted.org"}


@pytest.fixture(scope="module")
def committed() -> dict[str, bytes]:
    """Every file that git tracks, with its content here."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("this is no checkout of git")
    names = [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]
    return {name: (ROOT / name).read_bytes() for name in names}


pytestmark = pytest.mark.may_skip("a copy without its history has no list of what is committed")


def test_nothing_generated_is_committed(committed: dict[str, bytes]) -> None:
    assert "uv.lock" in committed
    assert [name for name in committed if GENERATED.search(name)] == []


def test_no_file_names_the_folder_it_was_written_in(committed: dict[str, bytes]) -> None:
    homes = [re.escape(str(place)) for place in (ROOT, Path.home()) if len(place.parts) > 1]
    here = re.compile(rf"({'|'.join(homes)})(/|\b)".encode())

    assert [name for name, content in committed.items() if here.search(content)] == []


def test_the_lock_names_the_public_index_alone(committed: dict[str, bytes]) -> None:
    hosts = set(re.findall(r"https?://[^/\"]+", committed["uv.lock"].decode()))

    assert hosts == HOSTS_OF_THE_LOCK


def test_lockfiles_of_npm_name_no_registry_and_pin_by_content(committed: dict[str, bytes]) -> None:
    locks = {name: content for name, content in committed.items() if name.endswith("package-lock.json")}

    assert locks
    for name, content in locks.items():
        packages = {path: package for path, package in json.loads(content)["packages"].items() if path}
        assert [path for path, package in packages.items() if "resolved" in package] == [], name
        assert [path for path, package in packages.items() if "integrity" not in package] == [], name


def test_nothing_is_left_to_be_done_later(committed: dict[str, bytes]) -> None:
    later = re.compile(rb"\b(TO" + rb"DO|FIX" + rb"ME|XX" + rb"X)\b")

    assert [name for name, content in committed.items() if later.search(content)] == []
