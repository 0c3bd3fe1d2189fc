"""A directory that is root's alone, from `/` down: each way in which somebody else could put something in its place."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from turnout.errors import SettingsError
from turnout_ecs.jail.places import private

SETTING: Final = "backends.chroot.jail"
SOMEBODY: Final = 70000

pytestmark = pytest.mark.usefixtures("needs_root")


def test_a_directory_is_made_with_its_parents_and_closed_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        made = private(tmp_path / "a" / "b", setting=SETTING, make=True)
    finally:
        os.umask(before)

    assert made == tmp_path / "a" / "b"
    assert [oct((tmp_path / name).stat().st_mode & 0o7777) for name in ("a", "a/b")] == ["0o755", "0o755"]
    assert private(made, setting=SETTING, make=False) == made


def test_links_of_roots_are_followed_and_what_they_lead_to_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "real" / "deep").mkdir(parents=True)
    (tmp_path / "absolute").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "relative").symlink_to("../absolute/deep")

    assert private(tmp_path / "absolute" / "relative", setting=SETTING, make=False) == tmp_path / "real" / "deep"
    (tmp_path / "real").chmod(0o757)
    with pytest.raises(SettingsError, match=f"others than root may write to {tmp_path / 'real'}"):
        private(tmp_path / "absolute" / "deep", setting=SETTING, make=False)


def test_a_sticky_directory_may_be_on_the_way_and_not_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "sticky").mkdir()
    (tmp_path / "sticky").chmod(0o1777)

    assert private(tmp_path / "sticky" / "own", setting=SETTING, make=True) == tmp_path / "sticky" / "own"
    with pytest.raises(SettingsError, match="choose a directory in it"):
        private(tmp_path / "sticky", setting=SETTING, make=True)


def _linked_by_somebody(path: Path) -> None:
    (path.parent / "elsewhere").mkdir()
    path.rmdir()
    path.symlink_to(path.parent / "elsewhere")
    os.lchown(path, SOMEBODY, 0)


def _made_a_file(path: Path) -> None:
    path.rmdir()
    path.touch()


def _linked_to_itself(path: Path) -> None:
    path.rmdir()
    path.symlink_to(path)


def _given_to_a_group(path: Path) -> None:
    os.chown(path, 0, SOMEBODY)
    path.chmod(0o775)


SPOILT: Final[list[tuple[str, Callable[[Path], object], str]]] = [
    ("anybody writes", lambda path: path.chmod(0o757), "others than root may write to {path}, .*chmod go-w {path}"),
    ("a group writes", _given_to_a_group, "others than root may write to {path}"),
    ("somebody owns it", lambda path: os.chown(path, SOMEBODY, 0), "{path} belongs to the user 70000"),
    ("somebody's link", _linked_by_somebody, "{path} belongs to the user 70000"),
    ("a file", _made_a_file, "{path}.* is no directory|cannot be made"),
    ("a link to itself", _linked_to_itself, "behind too many symbolic links"),
]


@pytest.mark.parametrize(("spoil", "told"), [one[1:] for one in SPOILT], ids=[one[0] for one in SPOILT])
@pytest.mark.parametrize("make", [False, True])
def test_what_somebody_else_could_replace_is_refused(
    tmp_path: Path, spoil: Callable[[Path], object], told: str, *, make: bool
) -> None:
    (tmp_path / "way" / "end").mkdir(parents=True)
    private(tmp_path / "way" / "end", setting=SETTING, make=make)  # it is fine as long as it is not spoilt
    (tmp_path / "way" / "end").rmdir()
    spoil(tmp_path / "way")

    with pytest.raises(SettingsError, match=told.format(path=tmp_path / "way")) as refused:
        private(tmp_path / "way" / "end", setting=SETTING, make=make)

    assert refused.value.setting == SETTING
    assert str(refused.value).startswith(f"{SETTING}: ")


def test_what_roots_own_group_may_write_to_is_roots(tmp_path: Path) -> None:
    tmp_path.chmod(0o775)

    assert private(tmp_path, setting=SETTING, make=False) == tmp_path


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=f"{tmp_path / 'gone'} is not there"):
        private(tmp_path / "gone" / "too", setting=SETTING, make=False)
