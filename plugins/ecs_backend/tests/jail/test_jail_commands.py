"""`turnout jail`, as people and scripts run it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from turnout.cli import main

Run = Callable[..., tuple[int, str, str]]

pytestmark = pytest.mark.usefixtures("needs_root")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command in a project whose settings name a directory."""
    (tmp_path / "turnout.toml").write_text('[backends.chroot]\njail = "/opt/none"\n')
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        status = main(["jail", *arguments])
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run


def test_a_jail_is_built_once_verified_and_pruned(run: Run, tmp_path: Path) -> None:
    to = ("--to", str(tmp_path / "jail"))
    built, again, verified, pruned = run("build", *to), run("build", *to), run("verify", *to), run("prune", *to)

    (root,) = (path for path in (tmp_path / "jail").glob("jail-*") if path.is_dir())
    assert built[0] == again[0] == verified[0] == 0
    assert built[1].splitlines()[0] == f"built: {root}"
    assert again[1].splitlines()[0] == f"nothing to do: {root}"
    assert verified[1].splitlines()[0] == f"as it was built: {root}"
    assert verified[1].splitlines()[1].startswith("Node 24.")
    assert pruned == (0, "nothing to remove\n", "")


def test_programs_are_told_in_json(run: Run, tmp_path: Path) -> None:
    to = ("--to", "jail", "--json")
    built, verified, pruned = (json.loads(run(command, *to)[1]) for command in ("build", "verify", "prune"))

    assert built.pop("fresh") is True
    assert built == verified
    assert built["root"].startswith(str(tmp_path / "jail" / "jail-"))
    assert built["outdated"] == []
    assert built["files"] > 10
    assert built["data_base_bytes"] > 2**28
    assert pruned == {"removed": []}


def test_the_directory_is_that_of_the_settings_unless_one_is_given(run: Run, tmp_path: Path) -> None:
    (tmp_path / "turnout.toml").write_text(
        f'[backends.chroot]\njail = "{tmp_path}/usual"\n[environments.other.backends.chroot]\njail = "{tmp_path}/other"\n'
    )

    usual, other = run("verify"), run("verify", "--env", "other")

    assert (usual[0], other[0]) == (3, 3)
    assert usual[2] == (
        f"turnout: there is no jail in {tmp_path}/usual: build it with `turnout jail build --to {tmp_path}/usual`, as root\n"
    )
    assert f"there is no jail in {tmp_path}/other" in other[2]


def test_no_project_is_needed_for_a_directory_that_is_given(run: Run, tmp_path: Path) -> None:
    (tmp_path / "turnout.toml").write_text("nonsense")

    assert run("verify")[0] == 2
    assert run("verify", "--to", "nowhere")[2].startswith(f"turnout: there is no jail in {tmp_path}/nowhere")


def test_faults_are_told_line_by_line_with_what_to_do(run: Run, tmp_path: Path) -> None:
    to = ("--to", str(tmp_path / "jail"))
    run("build", *to)
    (root,) = (path for path in (tmp_path / "jail").glob("jail-*") if path.is_dir())
    (root / "seal.node").chmod(0o666)
    (root / "extra\x1b[31m").touch()

    status, out, err = run("verify", *to)
    as_json = run("verify", *to, "--json")

    assert (status, out) == (3, "")
    assert err.splitlines()[0] == (
        f"turnout: the jail at {root} is not as it was built: build it with `turnout jail build --to {tmp_path}/jail`, as root"
    )
    assert "/seal.node has the mode 0666, not 0444" in err.splitlines()
    assert "/extra\\x1b[31m does not belong there" in err.splitlines()
    assert json.loads(as_json[2])["exit_status"] == 3


def test_a_place_that_is_not_roots_is_a_fault_of_the_settings(run: Run, tmp_path: Path) -> None:
    (tmp_path / "jail").mkdir()
    os.chown(tmp_path / "jail", 70000, 0)

    status, _, err = run("build", "--to", "jail")

    assert status == 2
    assert err.startswith(f"turnout: backends.chroot.jail: {tmp_path}/jail belongs to the user 70000")


def test_help_names_the_commands(run: Run) -> None:
    status, out, _ = run("--help")

    assert status == 0
    assert [line.split()[0] for line in out.partition("Commands:\n")[2].splitlines()] == ["build", "prune", "verify"]
