"""Building a jail where one is in use, where somebody else builds it, and where a build was killed."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

import pytest
from turnout.errors import BackendError
from turnout_ecs.jail.building import build, prune
from turnout_ecs.jail.tree import Hold, find, manifest_of, verify

LANGUAGES: Final = ("javascript",)
BUILD: Final = (
    "import sys; from pathlib import Path; from turnout_ecs.jail.building import build\n"
    "print(build(Path(sys.argv[1]), languages=('javascript',)).fresh)"
)
LIVES: Final = (
    "fs.writeSync(1, 'in\\n'); fs.readSync(0, Buffer.alloc(1));"
    "fs.writeSync(1, fs.existsSync('/seal.node') + ' ' + fs.readdirSync('/bootstrap').length + '\\n')"
)

pytestmark = pytest.mark.usefixtures("needs_root")


@contextlib.contextmanager
def inhabited(root: Path) -> Iterator[subprocess.Popen[str]]:
    """A process in the jail, which says what it sees once it is asked to."""
    with subprocess.Popen(
        ["/usr/sbin/chroot", str(root), "/node", "-e", LIVES],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as process:
        try:
            assert out_of(process).readline() == "in\n"
            yield process
        finally:
            process.kill()


def out_of(process: subprocess.Popen[str]) -> IO[str]:
    assert process.stdout is not None
    return process.stdout


def build_of_another_version(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    with monkeypatch.context() as patch:
        patch.setattr("turnout_ecs.jail.contents._FORMAT", 99)
        return build(directory, languages=LANGUAGES).jail.root


def starting(directory: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", BUILD, str(directory)], stdout=subprocess.PIPE, text=True)


def test_what_runs_in_a_jail_that_is_replaced_goes_on_in_it_and_it_is_removed_afterwards(tmp_path: Path) -> None:
    root = build(tmp_path, languages=LANGUAGES).jail.root
    with inhabited(root) as process:
        replaced = build(tmp_path, languages=LANGUAGES, again=True)
        kept = [path.name for path in tmp_path.glob(".old-*")]
        print("look", file=process.stdin)
        seen = out_of(process).readline()
        process.wait()

    build(tmp_path, languages=LANGUAGES)

    assert replaced.fresh
    assert replaced.jail.root == root
    assert seen == f"true {len(list((root / 'bootstrap').iterdir()))}\n"
    assert len(kept) == 1
    assert list(tmp_path.glob(".old-*")) == []


def test_there_is_no_moment_without_a_jail_while_it_is_replaced(tmp_path: Path) -> None:
    root = build(tmp_path, languages=LANGUAGES).jail.root
    manifest = json.loads(manifest_of(root).read_text())
    manifest["node"] = "another"  # the tree is as it was: whole, for whoever looks meanwhile
    manifest_of(root).write_text(json.dumps(manifest))
    looked = 0
    with subprocess.Popen([sys.executable, "-c", BUILD.replace("',)", "',), again=True"), str(tmp_path)]) as builder:
        while builder.poll() is None:
            assert (root / "node").exists()
            find(tmp_path, languages=LANGUAGES)
            looked += 1

    assert builder.returncode == 0
    assert looked > 10
    assert find(tmp_path, languages=LANGUAGES).manifest.node != "another"


def test_two_who_build_at_once_build_one(tmp_path: Path) -> None:
    builders = [starting(tmp_path) for _ in range(3)]
    said = sorted(builder.communicate()[0].strip() for builder in builders)

    assert said == ["False", "False", "True"]
    assert sorted(path.name[:5] for path in tmp_path.iterdir()) == [".lock", "jail-", "jail-"]
    verify(tmp_path, languages=LANGUAGES)


def test_a_build_that_is_killed_leaves_no_jail_and_no_hindrance(tmp_path: Path) -> None:
    with starting(tmp_path) as builder:
        until = time.monotonic() + 60
        while not list(tmp_path.glob(".new-*/node")):
            assert time.monotonic() < until
            assert builder.poll() is None
        builder.send_signal(signal.SIGKILL)
    left = list(tmp_path.glob(".new-*"))

    with pytest.raises(BackendError, match="there is no jail in"):
        find(tmp_path, languages=LANGUAGES)
    assert build(tmp_path, languages=LANGUAGES).fresh

    assert left
    assert list(tmp_path.glob(".new-*")) == []
    verify(tmp_path, languages=LANGUAGES)


def test_a_tree_whose_manifest_was_not_written_any_more_is_built_again(tmp_path: Path) -> None:
    root = build(tmp_path, languages=LANGUAGES).jail.root
    manifest_of(root).unlink()

    assert build(tmp_path, languages=LANGUAGES).fresh

    verify(tmp_path, languages=LANGUAGES)


def test_versions_have_jails_of_their_own_and_those_that_nobody_uses_are_pruned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = build_of_another_version(tmp_path, monkeypatch)
    root = build(tmp_path, languages=LANGUAGES).jail.root
    both = other.is_dir() and root.is_dir()

    with inhabited(other):
        assert prune(tmp_path, languages=LANGUAGES) == []
    holder = Hold(manifest_of(other))
    assert prune(tmp_path, languages=LANGUAGES) == []
    holder.close()
    holder.close()

    assert both
    assert prune(tmp_path, languages=LANGUAGES) == [other.name]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", root.name, f"{root.name}.json"]
    verify(tmp_path, languages=LANGUAGES)


def test_who_holds_a_jail_and_dies_holds_it_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = build_of_another_version(tmp_path, monkeypatch)
    script = (
        "import sys, os, signal; from pathlib import Path; from turnout_ecs.jail.tree import Hold\n"
        "hold = Hold(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read(1)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(manifest_of(other))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert out_of(holder).readline() == "held\n"
        assert prune(tmp_path, languages=LANGUAGES) == []
        holder.kill()

    assert prune(tmp_path, languages=LANGUAGES) == [other.name]


def test_who_comes_to_hold_a_jail_that_is_being_pruned_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = build_of_another_version(tmp_path, monkeypatch)
    script = (
        "import sys; from pathlib import Path; from turnout_ecs.jail.tree import Hold\n"
        "import fcntl; lock = fcntl.flock; fcntl.flock = lambda *given: (print('opened', flush=True), lock(*given))\n"
        "try: Hold(Path(sys.argv[1]))\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    pruning = os.open(manifest_of(other), os.O_RDONLY)
    fcntl.flock(pruning, fcntl.LOCK_EX)
    with subprocess.Popen(
        [sys.executable, "-c", script, str(manifest_of(other))], stdout=subprocess.PIPE, text=True
    ) as comer:
        assert out_of(comer).readline() == "opened\n"
        manifest_of(other).unlink()
        os.close(pruning)
        told = out_of(comer).read()

    assert told.startswith(f"BackendError the jail of {manifest_of(other)} was removed")
    with pytest.raises(BackendError, match="was removed or built again"):
        Hold(manifest_of(other))


def test_what_somebody_else_keeps_in_the_directory_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    (tmp_path / "jailer").mkdir()
    build(tmp_path, languages=LANGUAGES)

    prune(tmp_path, languages=LANGUAGES)

    assert (tmp_path / "notes").read_text() == "mine"
    assert (tmp_path / "jailer").is_dir()


def test_the_umask_of_who_builds_changes_nothing(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        closed = build(tmp_path / "closed", languages=LANGUAGES).jail.root
        os.umask(0)
        open_ = build(tmp_path / "open", languages=LANGUAGES).jail.root
    finally:
        os.umask(before)

    assert {oct(manifest_of(root).stat().st_mode) for root in (closed, open_)} == {"0o100444"}
    assert open_.parent.stat().st_mode & 0o022 == 0
    verify(tmp_path / "closed", languages=LANGUAGES)
    verify(tmp_path / "open", languages=LANGUAGES)
