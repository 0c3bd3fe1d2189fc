"""`turnout connectors add` and `search`, with a real document."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from turnout.cli.declaring import name_of_description
from turnout.cli.program import main

DOCUMENT = {
    "openapi": "3.1.0",
    "info": {"title": "Pets", "version": "1"},
    "servers": [{"url": "https://pets.example.com"}],
    "paths": {
        "/pets": {"get": {"summary": "List all pets"}, "post": {"summary": "Take a pet in"}},
        "/pets/{id}": {"get": {"summary": "Look at a pet"}},
    },
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "shop"
    root.mkdir()
    (tmp_path / "PetStore-v3.json").write_text(json.dumps(DOCUMENT))
    monkeypatch.chdir(root)
    return root


def test_a_connector_is_added_shown_found_and_used(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "turnout.toml").write_text('[project]\nname = "shop"  # ours')

    assert main(["connectors", "add", "openapi", "../PetStore-v3.json", "--name", "pets"]) == 0
    assert "pets: 3 actions, `turnout connectors show pets` lists them" in capsys.readouterr().out
    assert (project / "turnout.toml").read_text() == (
        '[project]\nname = "shop"  # ours\n\n[connectors.pets]\nsource = "openapi"\ndocument = "connectors/pets.json"\n'
    )

    assert main(["connectors", "show", "pets.get_pet", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "Look at a pet"
    assert main(["connectors", "search", "PET", "all"]) == 0
    assert "pets.list_pets  List all pets" in capsys.readouterr().out
    (project / "integrations").mkdir()
    (project / "integrations" / "look.yaml").write_text(
        "integration: look\nversion: 1.0.0\nflows:\n  main:\n    trigger: {webhook: {}}\n"
        "    steps: [{id: all, action: pets.lst_pets}]\n"
    )
    assert main(["validate", "integrations/look.yaml"]) == 2
    told = capsys.readouterr().err
    assert "pets has no action 'lst_pets'" in told
    assert "'list_pets'" in told


def test_a_project_without_settings_gets_some(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["connectors", "add", "openapi", "../PetStore-v3.json", "--json"]) == 0

    assert json.loads(capsys.readouterr().out) == {
        "name": "pet_store_v3",
        "actions": ["create_pet", "get_pet", "list_pets"],
    }
    assert (project / "turnout.toml").read_text().startswith("[connectors.pet_store_v3]\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["openapi", "../PetStore-v3.json", "--name", "http"],
            "there is a connector 'http' already: choose another by --name",
        ),
        (["openapi", "../PetStore-v3.json", "--name", "Pets!"], "'Pets!' is no connector's name"),
        (["openapi", "gone.json"], "gone.json: it cannot be read"),
        (["opnapi", "../PetStore-v3.json"], "no connector source 'opnapi': did you mean 'openapi'?"),
    ],
)
def test_what_cannot_be_added_leaves_the_project_as_it_was(
    project: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert main(["connectors", "add", *arguments]) == 2

    assert said in capsys.readouterr().err
    assert list(project.iterdir()) == []


def test_nothing_found_says_so(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["connectors", "search", "hovercraft"]) == 2

    assert "no action or trigger 'hovercraft'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("description", "name"),
    [("a/PetStore-v3.json", "pet_store_v3"), ("api.github.com.json", "api"), ("../x y.yaml", "x_y")],
)
def test_a_connector_is_called_like_its_description(description: str, name: str) -> None:
    assert name_of_description(description) == name
