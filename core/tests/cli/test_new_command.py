"""`turnout new`: names that would do, nothing overwritten, nothing left behind. That what it makes works is tested in
`tests/repository`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from turnout.cli import main


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("My Shop", "'my-shop' would do"),
        ("../evil", "'evil' would do"),
        ("shop_2", "'shop-2' would do"),
        ("-", "lower-case letters"),
        ("a" * 51, "at most 50"),
        ("2nd", "'nd' would do"),
        ("café", "'caf' would do"),
    ],
)
@pytest.mark.parametrize("kind", ["project", "integration", "connector"])
def test_a_name_that_files_cannot_have_is_refused_with_one_that_would_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, name: str, said: str
) -> None:
    assert main(["new", kind, "--", name]) == 2

    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_not_touched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "mine.txt").write_text("mine")

    assert main(["new", "project", "shop"]) == 2

    assert "is there already and is not empty" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "shop").iterdir()] == ["mine.txt"]


def test_an_empty_directory_is_filled(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()

    assert main(["new", "project", "shop"]) == 0

    assert (tmp_path / "shop" / "integrations" / "hello" / "integration.yaml").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["shop"]


def test_a_place_that_is_a_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()

    assert main(["new", "project", "shop", "--directory", "file/inside"]) == 2

    assert "cannot be made: Not a directory" in capsys.readouterr().err


def test_it_says_what_it_made_and_what_to_do_next(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", "integration", "orders", "--directory", "elsewhere"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert "made elsewhere/orders/integration.yaml" in lines
    assert "  cd elsewhere/orders" in lines


def test_the_next_commands_work_where_turnout_is_not_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/nowhere")

    assert main(["new", "project", "shop"]) == 0

    assert f'export PATH="{Path(sys.executable).parent}:$PATH"' in capsys.readouterr().out
