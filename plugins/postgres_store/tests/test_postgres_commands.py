"""`turnout postgres`, as people and scripts run it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from turnout.cli import main
from turnout_postgres.standins.server import PostgresServer

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(
    server: PostgresServer,
    schema: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Runs the command in a project whose settings name the server by a variable."""
    settings = f'[backends.postgres]\nurl = "env:DATABASE_URL"\nschema = "{schema}"\n'
    (tmp_path / "turnout.toml").write_text(settings)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", server.url)

    def run(*arguments: str) -> tuple[int, str, str]:
        status = main(["postgres", *arguments])
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run


def test_tables_are_made_once_and_shown(run: Run, schema: str) -> None:
    before = run("status")
    migrated = run("migrate")
    again = run("migrate")
    after = run("status")

    assert before[1].splitlines()[1:] == [
        "pending  0001 records",
        "pending  0002 journal",
        "pending  0003 state",
        "pending  0004 sandboxes",
        "pending  0005 catalog",
        "pending  0006 record_events",
        "Apply them with: turnout postgres migrate",
    ]
    names = ("records", "journal", "state", "sandboxes", "catalog", "record_events")
    assert migrated == (0, "".join(f"applied {n:04} {name}\n" for n, name in enumerate(names, start=1)), "")
    assert again == (0, "nothing to apply: the tables are up to date\n", "")
    assert after[1].splitlines() == [
        f"schema {schema}, durability host",
        "applied  0001 records",
        "applied  0002 journal",
        "applied  0003 state",
        "applied  0004 sandboxes",
        "applied  0005 catalog",
        "applied  0006 record_events",
    ]


def test_a_dry_run_changes_nothing(run: Run) -> None:
    status, printed, _ = run("migrate", "--dry-run")

    assert status == 0
    assert "CREATE TABLE executions" in printed
    assert len(json.loads(run("migrate", "--dry-run", "--json")[1])) == 6
    assert json.loads(run("status", "--json")[1])["applied"] == []


def test_partitions_are_listed_and_made_ahead(run: Run) -> None:
    run("migrate")

    _, printed, _ = run("partitions", "--ahead", "3", "--json")

    listed = json.loads(printed)
    assert len(listed) == 4
    assert [one["until"] for one in listed[:-1]] == [one["since"] for one in listed[1:]]
    assert len(run("partitions")[1].splitlines()) == 4


def test_partitions_of_tables_that_are_not_there_say_what_to_run(run: Run) -> None:
    status, _, told = run("partitions")

    assert status == 3
    assert "Run: turnout postgres migrate" in told


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("env:NOT_SET", "the variable NOT_SET is not set"),
        ("secret:database", "give --url env:DATABASE_URL"),
        ("nonsense", "backends.postgres.url"),
    ],
)
def test_a_reference_that_leads_nowhere_is_told(run: Run, url: str, told: str) -> None:
    status, _, error = run("status", "--url", url)

    assert status == 2
    assert told in error


def test_its_line_in_the_help_loads_no_driver() -> None:
    code = "import sys; from turnout.cli import main; main(['--help']); print(*sys.modules, file=sys.stderr)"

    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "Look after Turnout's tables in PostgreSQL." in ran.stdout
    assert {"psycopg", "turnout_postgres.commands"} & set(ran.stderr.split()) == set()
