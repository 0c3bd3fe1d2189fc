"""`make demo`, as somebody who tries Turnout for the first time runs it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
STEPS = ("fetch", "parse", "large", "batch", "post", "result")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    ignored = shutil.ignore_patterns(".turnout", "__pycache__")
    return Path(shutil.copytree(ROOT / "examples" / "orders", tmp_path / "orders", ignore=ignored))


def demo(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "examples.orders.demo", "--project", str(project), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=90, check=False)


def test_the_demo_shows_six_steps_their_logs_and_what_the_erp_received(project: Path) -> None:
    done = demo(project)

    assert done.returncode == 0, done.stderr
    lines = re.findall(r"^  ✓ (\w+) +\w+ +[\d.]+ ms  █+", done.stdout, re.MULTILINE)
    assert tuple(lines) == STEPS
    assert "info: parsed 200 orders" in done.stdout
    assert re.search(r"POST /orders  batch 1, \d+ orders, [\d,.]+ in all → R-00001", done.stdout)
    assert "Ävä & Söhne" in done.stdout
    assert "turnout executions show" in done.stdout


def test_a_second_demo_takes_less_than_ten_seconds_and_counts_on(project: Path) -> None:
    assert demo(project).returncode == 0

    took_s: list[float] = []
    while len(took_s) < 3 and (not took_s or took_s[-1] >= 10):  # a busy machine is tried again
        start = time.monotonic()
        another = demo(project)
        took_s.append(time.monotonic() - start)
        assert f"batch {1 + len(took_s)}" in another.stdout

    assert took_s[-1] < 10, took_s


def test_an_erp_that_is_down_at_first_is_tried_again(project: Path) -> None:
    done = demo(project, "--fail-first", "1")

    assert done.returncode == 0, done.stderr
    assert re.search(r"✓ post .* 2 attempts", done.stdout)
    assert done.stdout.count("POST /orders  batch") == 1


def test_a_demo_that_cannot_run_says_why_and_fails(project: Path) -> None:
    (project / "integration.yaml").write_text("integration: orders-to-erp\nflows: {}\n")

    done = demo(project)

    assert done.returncode == 1
    assert "turnout dev ended with status 2" in done.stderr
    assert "integration.yaml" in done.stderr
