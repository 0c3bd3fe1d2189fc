"""Publishing over HTTP: an integration's files in one document, none of which gets anywhere it should not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.tests.api.town import ORDERS, Town

CODE = """
integration: sums
version: 1.0.0
flows:
  main:
    steps:
      - {id: total, code: steps/total.mjs}
"""
FILES = {"integration.yaml": CODE, "steps/total.mjs": "export default () => 1;\n"}


async def test_a_version_is_published_once_and_never_changes(town: Town) -> None:
    made = await town.ask("POST", "/integrations", json={"files": FILES})
    again = await town.ask("POST", "/integrations", json={"files": FILES})
    other = await town.ask("POST", "/integrations", json={"files": {**FILES, "steps/total.mjs": "export default 2"}})

    assert (made.status_code, made.json()["new"]) == (201, True)
    assert (again.status_code, again.json()["new"]) == (200, False)
    assert (other.status_code, "raise `version`" in other.json()["detail"]) == (409, True)
    shown = await town.ask("GET", made.headers["location"].removeprefix("/api/v1"))
    assert (shown.json()["bundle"], shown.json()["flows"][0]["name"]) == (made.json()["bundle"], "main")
    bundle = await town.platform.stores.bundles.load(made.json()["bundle"])
    assert (Path(bundle.code.directory) / "steps/total.mjs").read_text() == FILES["steps/total.mjs"]


async def test_what_is_published_is_deployed(town: Town) -> None:
    await town.ask("POST", "/integrations", json={"files": {"integration.yml": ORDERS}})
    await town.connect("acme")

    assert (await town.deploy("acme")).status_code == 201


async def test_faults_of_a_definition_have_their_place(town: Town) -> None:
    text = CODE.replace("steps/total.mjs", "steps/other.mjs")
    answers = [
        await town.ask("POST", "/integrations", json={"files": {"integration.yaml": wrong}})
        for wrong in (text, CODE.replace("flows:", "folws:"), "a: &a [*a]", "integration: [")
    ]

    assert [answer.status_code for answer in answers] == [400] * 4
    places = [(fault["file"], fault["line"]) for fault in answers[1].json()["faults"] if "folws" in fault["detail"]]
    assert places == [("integration.yaml", 4)]
    assert not [answer.text for answer in answers if "/tmp" in answer.text or "turnout-publish" in answer.text]


@pytest.mark.parametrize(
    "path",
    [
        "../out.mjs",
        "a/../../out.mjs",
        "/etc/cron.d/x",
        "a//b.mjs",
        "./a.mjs",
        "",
        ".npmrc",
        "a\\..\\b",
        "a\n.mjs",
        "a/b/",
        "x" * 301,
        f"{'x' * 201}.mjs",
        "integration.yaml/x.mjs",
    ],
)
async def test_a_path_leads_nowhere_but_below_the_definition(town: Town, path: str, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))

    answer = await town.ask("POST", "/integrations", json={"files": {**FILES, path: "x"}})

    assert (answer.status_code, "`files`" in answer.json()["detail"]) == (400, True), answer.text
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"integration.py": "raise SystemExit"}, "a program"),
        ({"main.mjs": "x"}, "has to be there"),
        ({"integration.yaml": CODE, "integration.yml": CODE}, "has to be there"),
        ({}, "$.files"),
        ({"integration.yaml": 5}, "$.files"),
        (
            {
                **FILES,
                "integration.yaml": f"{CODE}code: {{dependencies: package-lock.json}}\n",
                "package-lock.json": "{}",
            },
            "not fetched",
        ),
    ],
)
async def test_what_is_not_published_over_http_is_told(town: Town, files: dict[str, Any], said: str) -> None:
    answer = await town.ask("POST", "/integrations", json={"files": files})

    assert (answer.status_code, said in answer.json()["detail"]) == (400, True), answer.text
    assert (await town.ask("GET", "/integrations")).json()["items"] == []


async def test_files_have_room_and_not_without_end(town: Town) -> None:
    large = {**FILES, "notes.txt": "x" * 2_000_000}
    too_large = {**FILES, "notes.txt": "x" * 8_000_000}

    assert (await town.ask("POST", "/integrations", json={"files": large})).status_code == 201
    assert (await town.ask("POST", "/integrations", json={"files": too_large})).status_code == 413
