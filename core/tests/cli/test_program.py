"""The command line as a program: quick help, errors as text and exit statuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable

import click
import pytest
from turnout.cli.program import COMMANDS, RESERVED, Program, main
from turnout.errors import (
    BackendError,
    DefinitionError,
    Fenced,
    NotFound,
    PluginError,
    Problem,
    SettingsError,
    StepError,
    Unsupported,
)
from turnout.hookspecs import hookimpl
from turnout.plugins import load_plugins


class Commands:
    """A plugin with one command, which does what the test says."""

    def __init__(self, function: Callable[[], object]) -> None:
        self.function = function

    @hookimpl
    def turnout_commands(self) -> dict[str, click.Command]:
        options: list[click.Parameter] = [click.Option(["--json"], is_flag=True, expose_value=False)]
        return {"act": click.Command("act", callback=self.function, params=options, short_help="Act.")}


@pytest.fixture
def act(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run `turnout act` with a command that calls the function."""
    monkeypatch.delenv("TURNOUT_DEBUG", raising=False)

    def run(function: Callable[[], object], *arguments: str) -> int:
        registry = load_plugins(extra=[Commands(function)])
        monkeypatch.setattr(Program, "_plugins", lambda self: registry)
        return main([*arguments, "act"] if "--debug" in arguments else ["act", *arguments])

    return run


def raises(error: BaseException) -> Callable[[], object]:
    def function() -> object:
        raise error

    return function


PROBLEMS = DefinitionError(
    [
        Problem(message="unknown step 'prase'", file="a.yaml", line=3, column=7, hint="did you mean 'parse'?"),
        Problem(message="no trigger", file="a.yaml", line=9, column=1),
    ]
)


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (PROBLEMS, 2, "a.yaml:3:7: unknown step 'prase' (did you mean 'parse'?)\na.yaml:9:1: no trigger\n"),
        (SettingsError("turnout.toml:2: wrong"), 2, "turnout: turnout.toml:2: wrong\n"),
        (NotFound("execution", "x1"), 2, "turnout: no execution 'x1'\n"),
        (Unsupported("MemoryQueue", "fairness"), 2, "turnout: MemoryQueue does not support 'fairness'\n"),
        (StepError("refused"), 1, "turnout: refused\n"),
        (BackendError("the disk is full"), 3, "turnout: the disk is full\n"),
        (PluginError("broken"), 3, "turnout: broken\n"),
        (PermissionError(13, "Permission denied", "/x"), 3, "turnout: Permission denied: /x\n"),
        (ExceptionGroup("tasks", [ExceptionGroup("more", [BackendError("inner")])]), 3, "turnout: inner\n"),
        (click.UsageError("pick one"), 2, "turnout: pick one\nUsage: turnout act [OPTIONS]\n"),
        (KeyboardInterrupt(), 130, ""),
        (click.Abort(), 130, ""),
        (SystemExit(5), 5, ""),
        (click.exceptions.Exit(4), 4, ""),
    ],
)
def test_an_error_becomes_text_and_an_exit_status(
    act: Callable[..., int], capsys: pytest.CaptureFixture[str], error: BaseException, status: int, said: str
) -> None:
    assert act(raises(error)) == status

    assert capsys.readouterr() == ("", said)


def test_a_commands_return_value_is_the_exit_status(act: Callable[..., int]) -> None:
    assert act(lambda: 1) == 1
    assert act(lambda: None) == 0


def test_with_json_errors_are_json_too(act: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    act(raises(PROBLEMS), "--json")

    told = json.loads(capsys.readouterr().err)
    assert told["exit_status"] == 2
    assert told["error"]["type"] == "DefinitionError"
    assert told["error"]["problems"][0] == {
        "message": "unknown step 'prase'",
        "file": "a.yaml",
        "line": 3,
        "column": 7,
        "hint": "did you mean 'parse'?",
        "severity": "error",
    }


def test_with_json_wrong_arguments_are_told_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version", "--jsn", "--json"]) == 2

    assert "--jsn" in json.loads(capsys.readouterr().err)["error"]["message"]


def test_a_fault_of_our_own_is_short_and_says_how_to_see_more(
    act: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert act(raises(ValueError("odd"))) == 70

    told = capsys.readouterr().err
    assert told.startswith("turnout: internal error, ValueError: odd\n")
    assert "--debug" in told
    assert "Traceback" not in told


@pytest.mark.parametrize("error", [ValueError("odd"), SettingsError("wrong")])
def test_debug_shows_the_traceback_of_any_error(
    act: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    act(raises(error), "--debug")
    assert "Traceback (most recent call last)" in capsys.readouterr().err

    monkeypatch.setenv("TURNOUT_DEBUG", "1")
    act(raises(error))
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_what_hostile_text_says_to_the_terminal_is_escaped(
    act: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    act(raises(Fenced("\x1b[2J\r", token=1, current=2)))

    assert "execution \\x1b[2J\\r: token 1" in capsys.readouterr().err


def test_an_unknown_command_is_answered_with_the_nearest_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugin"]) == 2
    assert "no command 'plugin': did you mean 'plugins'?" in capsys.readouterr().err


def test_help_lists_every_command_and_the_plugins_beside(
    act: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    act(lambda: None)
    assert main(["--help"]) == 0

    shown = " ".join(capsys.readouterr().out.split())
    for name, entry in COMMANDS.items():
        assert f"{name} {entry.help}" in shown
    assert "Commands of plugins: act Act." in shown


def test_the_table_says_what_each_command_says_of_itself() -> None:
    program = Program()
    context = click.Context(program)

    for name, entry in COMMANDS.items():
        command = program.get_command(context, name)
        assert command is not None
        assert command.name == name
        assert command.get_short_help_str(200) == entry.help
    assert set(COMMANDS) <= RESERVED


HEAVY = {"pydantic", "rich", "msgspec", "yaml", "starlette", "uvicorn", "asyncio", "sqlite3", "jinja2", "cryptography"}


@pytest.mark.parametrize("arguments", ["--help", "--version"])
def test_help_imports_nothing_heavy(arguments: str) -> None:
    code = f"import sys; from turnout.cli import main; main([{arguments!r}]); print(*sys.modules, file=sys.stderr)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ran.stdout
    assert HEAVY & set(ran.stderr.split()) == set()


def test_a_reader_that_has_gone_is_met_in_silence() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    code = "import sys; from turnout.cli import main; sys.exit(main(['version']))"

    ran = subprocess.run([sys.executable, "-c", code], stdout=writing, stderr=subprocess.PIPE, check=False)

    os.close(writing)
    assert (ran.returncode, ran.stderr) == (141, b"")


def test_a_shell_completes_commands() -> None:
    environment = {**os.environ, "_TURNOUT_COMPLETE": "bash_complete", "COMP_WORDS": "turnout plu", "COMP_CWORD": "1"}
    code = "import sys; from turnout.cli import main; sys.exit(main())"

    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)

    assert ran.stdout == "plain,plugins\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0

    assert f"_TURNOUT_COMPLETE={shell}_complete" in capsys.readouterr().out
