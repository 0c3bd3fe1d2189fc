"""In CI a skip is a failure; elsewhere it is a skip."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TESTS = """
import pytest

def test_that_skips():
    pytest.skip("no database here")

@pytest.mark.skip(reason="not today")
def test_marked(): ...

@pytest.mark.may_skip("the profile is not ours to ship")
def test_that_may_skip():
    pytest.skip("no profile here")

@pytest.mark.xfail(reason="known", strict=True)
def test_known():
    raise AssertionError
"""


WORKERS = ("0", "2")


def run(directory: Path, *, ci: str, workers: str = "0") -> str:
    (directory / "conftest.py").write_text((ROOT / "conftest.py").read_text())
    ran = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            "-q",
            "-n",
            workers,
            "--dist",
            "loadfile",
            str(directory),
        ],
        env={**os.environ, "CI": ci},
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )
    return ran.stdout


@pytest.mark.parametrize("workers", WORKERS)
def test_a_skip_fails_in_ci_unless_the_test_may_skip(tmp_path: Path, workers: str) -> None:
    (tmp_path / "test_some.py").write_text(TESTS)

    in_ci = run(tmp_path, ci="true", workers=workers)

    assert "1 failed, 1 skipped, 1 xfailed, 1 error" in in_ci
    assert "no database here" in in_ci
    assert "3 skipped, 1 xfailed" in run(tmp_path, ci="", workers=workers)


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize(("ci", "said"), [("true", "1 error"), ("", "1 skipped")])
def test_a_module_that_skips_whole_fails_in_ci_too(tmp_path: Path, ci: str, said: str, workers: str) -> None:
    (tmp_path / "test_none.py").write_text("import pytest\npytest.importorskip('a_module_that_is_missing')\n")

    assert said in run(tmp_path, ci=ci, workers=workers)
