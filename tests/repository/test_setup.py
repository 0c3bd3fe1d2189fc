"""`make setup`: nothing is done when nothing changed, and a machine that cannot do it is told why."""

from __future__ import annotations

import importlib.util
import stat
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "tools" / "setup.py"


@pytest.fixture
def setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, at work on a small workspace of its own."""
    spec = importlib.util.spec_from_file_location("turnout_setup", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in ("uv.lock", "pyproject.toml", "core/pyproject.toml", "plugins/one/pyproject.toml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    for name, value in {"ROOT": tmp_path, "VENV": tmp_path / ".venv", "STAMP": tmp_path / ".venv" / "stamp"}.items():
        monkeypatch.setattr(module, name, value)
    return module


def program(path: Path, text: str) -> Path:
    """An executable script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.mark.parametrize("changed", ["uv.lock", "pyproject.toml", "core/pyproject.toml", "plugins/one/pyproject.toml"])
def test_a_change_of_what_the_environment_is_made_from_is_noticed(
    setup: ModuleType, tmp_path: Path, changed: str
) -> None:
    before = setup.fingerprint()
    assert setup.fingerprint() == before

    (tmp_path / changed).write_text("other")

    assert setup.fingerprint() != before


def test_nothing_is_done_when_nothing_changed(
    setup: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path / ".venv" / "bin" / "python", "exit 0")
    (tmp_path / ".venv" / "stamp").write_text(setup.fingerprint())
    monkeypatch.setattr(setup, "run", lambda *arguments: pytest.fail("it did something"))

    setup.main()


def test_an_environment_that_no_longer_works_is_made_again(setup: ModuleType, tmp_path: Path) -> None:
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "stamp").write_text(setup.fingerprint())

    assert not setup.is_current(setup.fingerprint())


def test_a_newer_python_on_the_path_is_used_where_the_first_is_too_old(
    setup: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = program(tmp_path / "old" / "python3", "exit 1")
    program(tmp_path / "bin" / "python3.13", "exit 127")
    newer = program(tmp_path / "bin" / "python3.12", "exit 0")
    monkeypatch.setattr(sys, "executable", str(old))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))

    assert setup.find_python() == str(newer)


def test_a_machine_with_old_pythons_alone_is_told_what_to_do(
    setup: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(program(tmp_path / "old" / "python3", "exit 1")))
    monkeypatch.setenv("PATH", str(tmp_path / "old"))

    with pytest.raises(SystemExit, match=r"needs Python 3\.11 or newer.*\n.*make setup PYTHON="):
        setup.find_python()


def test_a_python_without_pip_and_venv_is_told_which_package_to_install(setup: ModuleType, tmp_path: Path) -> None:
    bare = program(tmp_path / "bare" / "python3", "exit 1")

    with pytest.raises(SystemExit, match="apt-get install python3-venv"):
        setup.find_uv(str(bare))


def test_a_python_without_pip_uses_a_virtual_environments(setup: ModuleType, tmp_path: Path) -> None:
    log = tmp_path / "log"
    venv = f'mkdir -p "$3/bin"; printf "#!/bin/sh\\necho pip of venv: \\$@ >> {log}" > "$3/bin/python"; chmod +x "$3/bin/python"'
    python = program(
        tmp_path / "bare" / "python3", f'[ "$2" = pip ] && exit 1; [ "$2" = venv ] && {{ {venv}; }}; exit 0'
    )

    uv = setup.find_uv(str(python))

    assert uv == str(tmp_path / ".tools" / f"uv-{setup.UV}" / "bin" / "uv")
    assert log.read_text() == f"pip of venv: -m pip install --quiet uv=={setup.UV}\n"


def test_a_failure_of_pip_is_told_as_such(setup: ModuleType, tmp_path: Path) -> None:
    python = program(tmp_path / "bin" / "python3", '[ "$3" = install ] && exit 1; exit 0')

    with pytest.raises(SystemExit, match="pip could not install uv=="):
        setup.find_uv(str(python))
