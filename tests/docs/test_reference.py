"""The reference is what the code says: current, and without gaps."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from turnout import hookspecs
from turnout.cli.program import COMMANDS
from turnout.config import SETTINGS
from turnout.definition import grammar
from turnout.expressions.functions import FUNCTIONS
from turnout.services.api.endpoint import PREFIX
from turnout.services.api.service import ENDPOINTS

from tools.generate_reference import INTERFACES, connectors, pages

ROOT = Path(__file__).parent.parent.parent
REFERENCE = ROOT / "docs" / "reference"
_KIND = re.compile(r"""kind(?:: str)? ?= ?"([a-z][a-z0-9_]+)\"""")


def _shown(path: str) -> str:
    return PREFIX + path.replace("{", "<").replace("}", ">")


def text(name: str) -> str:
    return (REFERENCE / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", sorted(pages()), ids=lambda page: page.name)
def test_a_page_is_current(page: Path) -> None:
    assert page.read_text(encoding="utf-8") == pages()[page], "run `make docs`"


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("hooks.md", [name for name in vars(hookspecs) if name.startswith("turnout_")]),
        ("settings.md", [setting.name for setting in SETTINGS]),
        ("cli.md", [f"## turnout {name}" for name in COMMANDS]),
        ("api.md", [f"### {one.method} {_shown(one.path)}\n" for one in ENDPOINTS]),
        ("expressions.md", [f"`{function.signature}`" for function in FUNCTIONS.values()]),
        ("interfaces.md", [f"## {name}" for name in INTERFACES]),
        ("definition.md", [f"`{name}`" for name in (*grammar.KINDS, *grammar.TRIGGERS)]),
    ],
)
def test_nothing_is_left_out(page: str, names: list[str]) -> None:
    shown = text(page)

    assert names
    assert [name for name in names if name not in shown] == []


@pytest.mark.parametrize("name", sorted(connectors()))
def test_every_action_and_connection_of_a_connector_has_its_place(name: str) -> None:
    shown, connector = text(f"connectors/{name}.md"), connectors()[name]

    assert [action for action in connector.actions if f"### {name}.{action}\n" not in shown] == []
    assert [connection for connection in connector.connections if f"### {connection}\n" not in shown] == []


def test_every_kind_of_error_that_a_step_can_have_is_explained() -> None:
    sources = [
        ROOT / "core/src/turnout" / area
        for area in ("engine", "services", "expressions", "values.py", "errors.py", "local")
    ]
    sources.append(ROOT / "plugins/connectors/src")
    files = [file for source in sources for file in (source.rglob("*.py") if source.is_dir() else [source])]
    raised = {
        kind
        for file in files
        if "standins" not in file.parts
        for line in file.read_text().split("StepError(")[1:]
        for kind in _KIND.findall(line[:400])
    }

    assert len(raised) > 15
    assert sorted(kind for kind in raised - {"item", "wait"} if f"`{kind}`" not in text("errors.md")) == []
