"""Every page does what it says: its fences run from top to bottom, as a reader would run them, and print what it shows."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tools.pages import difference, fences, run_page

ROOT = Path(__file__).parent.parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
SKIPPED = {
    "needs-a-provider": 1,
    "needs-a-cluster": 1,
    "needs-an-engine": 1,
    "needs-an-account": 3,
    "needs-the-index": 6,
    "needs-the-registry": 3,
    "changes-the-checkout": 8,
    "needs-pip": 3,
    "a-picture": 5,
    "a-listing": 1,
    "a-sketch": 1,
}
"""How many fences are for reading alone, and why. Each is one that no test holds to the truth."""

_LINK = re.compile(r"\]\(([^)#\s]+)(#[\w-]+)?\)")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", [page for page in PAGES if fences(page)], ids=name_of)
def test_a_page_does_what_it_says(page: Path, tmp_path: Path) -> None:
    if os.geteuid() != 0 and any("root" in fence.options for fence in fences(page)):
        pytest.skip(
            f"{page.name} has commands that are root's: run the tests as root (`sudo make test`) to see this one"
        )
    for fence, printed in run_page(page, tmp_path):
        told = difference(fence.output, printed) if fence.output is not None else ""
        assert not told, f"{fence} prints something else; `make docs-record` writes it there\n{told}"


def test_pages_run_on_machines_without_curl(tmp_path: Path) -> None:
    for fence, printed in run_page(ROOT / "docs" / "reference" / "http-api.md", tmp_path, own_curl=True):
        assert fence.output is None or not difference(fence.output, printed)


def test_fences_that_do_not_run_are_few_and_say_why() -> None:
    reasons = [reason for page in PAGES for fence in fences(page) if (reason := fence.option("skip"))]

    assert {reason: reasons.count(reason) for reason in reasons} == SKIPPED


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_to_files_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = [target for target, _ in _LINK.findall(text) if "://" not in target]

    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_every_page_is_in_the_index() -> None:
    docs = ROOT / "docs"
    index = (docs / "README.md").read_text(encoding="utf-8")
    pages = [page.relative_to(docs) for page in docs.rglob("*.md") if page.parent.name != "connectors"]

    assert [str(page) for page in pages if str(page) != "README.md" and f"({page})" not in index] == []


@pytest.mark.parametrize(
    ("expected", "printed"),
    [
        ("done", "failed"),
        ("one\n...\nfour", "one\ntwo\nthree"),
        ("went on with 1 execution", "went on with 2 executions"),
        ("✓ greet succeeded 3 ms", "✗ greet failed 3 ms"),
    ],
)
def test_another_output_is_noticed(expected: str, printed: str) -> None:
    assert difference(expected, printed)


@pytest.mark.parametrize(
    ("expected", "printed"),
    [
        ("took 3 ms", "took 1.52 s"),
        ("one\n...\nthree", "one\ntwo\nthree"),
        ("execution 01m84y98e633z6nh66hmc81hqm", "execution 01m84z98e633z6nh66hmc81xyz"),
        ("✓ greet  succeeded  34 ms  ████", "✓ greet  succeeded   3 ms       █"),
    ],
)
def test_ids_times_and_bars_may_differ(expected: str, printed: str) -> None:
    assert not difference(expected, printed)
