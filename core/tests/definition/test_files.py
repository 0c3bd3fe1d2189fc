"""From a path to integrations: files, directories, projects, and what is none of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from turnout.definition import find_integrations, load_integration
from turnout.errors import DefinitionError, NotFound

MINIMAL = "integration: x\nflows: {a: {steps: [{id: a, stop: }]}}\n"
PYTHON = (
    "from turnout import Integration, flow, stop\nmine = Integration(name='x', flows=[flow('a', steps=[stop('a')])])\n"
)


def project(root: Path) -> Path:
    (root / "turnout.toml").touch()
    for name, file in (("b", "integration.yaml"), ("a", "integration.yml"), ("c", "integration.py")):
        (root / "integrations" / name).mkdir(parents=True)
        (root / "integrations" / name / file).write_text(PYTHON if file.endswith("py") else MINIMAL)
    (root / "integrations" / "notes").mkdir()
    (root / "integrations" / "README.md").touch()
    (root / "integrations" / "notes" / "deep").mkdir()
    (root / "integrations" / "notes" / "deep" / "integration.yaml").write_text(MINIMAL)
    return root


def test_a_project_gives_its_integrations_one_level_deep_in_order(tmp_path: Path) -> None:
    found = find_integrations(project(tmp_path))

    assert [file.parent.name for file in found] == ["a", "b", "c"]
    assert {load_integration(file).name for file in found} == {"x"}


def test_a_directory_with_a_definition_is_its_own_project(orders: Path) -> None:
    assert find_integrations(orders) == [orders / "integration.yaml"]
    assert find_integrations(orders / "integration.yaml") == [orders / "integration.yaml"]


def test_an_empty_project_has_no_integrations(tmp_path: Path) -> None:
    (tmp_path / "turnout.toml").touch()

    assert find_integrations(tmp_path) == []


def test_a_path_that_is_neither_is_refused_with_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "definition.json").touch()

    for path in (tmp_path, tmp_path / "absent", tmp_path / "absent.yaml", tmp_path / "definition.json"):
        with pytest.raises(NotFound):
            load_integration(path)
    with pytest.raises(NotFound, match=r"integration\.yaml"):
        find_integrations(tmp_path)
    with pytest.raises(NotFound, match="no such file or directory"):
        find_integrations(tmp_path / "absent")


def test_two_definitions_in_one_directory_are_refused(orders: Path) -> None:
    (orders / "integration.py").write_text(PYTHON)

    with pytest.raises(DefinitionError, match="keep one"):
        load_integration(orders)


def test_problems_name_the_file_as_it_lies_below_the_working_directory(
    orders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (orders / "integration.yaml").write_text("integration: x\n")
    monkeypatch.chdir(orders.parent)

    with pytest.raises(DefinitionError) as caught:
        load_integration(orders)

    assert caught.value.problems[0].file == "orders/integration.yaml"


@pytest.mark.parametrize(
    ("source", "message", "line"),
    [
        ("x = (", "this is not Python", 1),
        ("\n1 / 0\n", "ZeroDivisionError", 2),
        ("\n\nraise SystemExit(3)\n", "SystemExit", 3),
        ("import absent_module_of_nobody\n", "ModuleNotFoundError", 1),
        ("open('/absent/file')\n", "FileNotFoundError", 1),
        ("x = 1\n", "defines no integration", 0),
        (PYTHON + "other = Integration(name='y', flows=mine.flows)\n", "2 integrations", 0),
        ("from turnout import stop\n\nstop('a', timeout='x')\n", "not a duration", 3),
        (
            "from turnout import Integration, flow\nf = flow('a', steps=[])\nIntegration(name='x', flows=[f, f])\n",
            "two of flow 'a'",
            3,
        ),
    ],
)
def test_a_python_definition_that_fails_is_told_with_its_line(
    tmp_path: Path, source: str, message: str, line: int
) -> None:
    file = tmp_path / "integration.py"
    file.write_text(source)

    with pytest.raises(DefinitionError, match=message) as caught:
        load_integration(file)

    assert caught.value.problems[0].file.endswith("integration.py")
    assert caught.value.problems[0].line == line


def test_a_python_definition_may_import_its_neighbours_and_is_read_anew_each_time(tmp_path: Path) -> None:
    (tmp_path / "neighbour_of_a_definition.py").write_text("NAME = 'near'\n")
    file = tmp_path / "integration.py"
    file.write_text(PYTHON + "from neighbour_of_a_definition import NAME\nintegration = Integration(name=NAME)\n")
    first = load_integration(file)
    file.write_text(PYTHON)

    second = load_integration(file)

    assert (first.name, second.name) == ("near", "x")
    assert not list(tmp_path.glob("__pycache__/integration*"))
