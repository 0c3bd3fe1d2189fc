"""`make test-images` and CI know whether what is tested in containers is what passed there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tools import images

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Inputs of which one is a file and one a directory, as they passed."""
    (tmp_path / "jail" / "bin").mkdir(parents=True)
    (tmp_path / "jail" / "room.py").write_text("room")
    (tmp_path / "lock").write_text("lock")
    monkeypatch.setattr(images, "ROOT", tmp_path)
    monkeypatch.setattr(images, "INPUTS", ("jail", "lock"))
    monkeypatch.setattr(images, "PASSED", tmp_path / "jail" / "passed.json")
    images.PASSED.write_text(json.dumps({"digest": images.digest(), "date": "2026-01-01"}))
    return tmp_path


def compared(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr("sys.argv", ["images", "--passed"])
    return images.main()


def test_what_passed_is_not_run_again(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tree / "jail" / "bin" / "launch-x86_64").write_text("what was compiled of what is compared")
    (tree / "jail" / "__pycache__").mkdir()
    (tree / "jail" / "__pycache__" / "room.pyc").write_text("x")

    assert compared(monkeypatch) == 0


@pytest.mark.parametrize("change", ["content", "name", "more", "less", "nothing passed"])
def test_whatever_changed_since_is(change: str, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    match change:
        case "content":
            (tree / "lock").write_text("other")
        case "name":
            (tree / "jail" / "room.py").rename(tree / "jail" / "rooms.py")
        case "more":
            (tree / "jail" / "more.py").write_text("")
        case "less":
            (tree / "jail" / "room.py").unlink()
        case _:
            images.PASSED.unlink()

    assert compared(monkeypatch) == 3


def test_an_input_that_is_gone_is_no_input(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tree / "lock").unlink()

    with pytest.raises(SystemExit, match="lock: an input that is not there"):
        compared(monkeypatch)


def test_all_that_is_named_is_there_and_ci_compares() -> None:
    assert [name for name in images.INPUTS if not (ROOT / name).exists()] == []
    assert re.fullmatch(r"[0-9a-f]{64}", images.digest())
    assert "tools.images --passed || make test-images" in (ROOT / ".ci" / "run").read_text()


def test_make_test_leaves_containers_out(request: pytest.FixtureRequest) -> None:
    assert "tests/images" in request.config.getini("norecursedirs")
