"""Errors as text and exit statuses: one place, so that every command fails alike."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click

from turnout.errors import DefinitionError, StepError, TurnoutError, Unsupported, UserError

__all__ = ["FAILED", "WRONG", "Reporter", "printable", "status"]

FAILED, WRONG, BACKEND, INTERNAL, INTERRUPTED, NO_READER = 1, 2, 3, 70, 130, 141


def status(error: TurnoutError) -> int:
    """The exit status that an error of ours has."""
    match error:
        case UserError() | Unsupported():
            return WRONG
        case StepError():
            return FAILED
        case _:
            return BACKEND


def printable(text: str) -> str:
    """Text that a terminal shows and does not obey: control characters, of which hostile input may be full, escaped."""
    return "".join(
        character if character.isprintable() or character in "\n\t" else character.encode("unicode_escape").decode()
        for character in text
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reporter:
    """How errors are told: as JSON where the command's output is, with their traceback where that is asked for."""

    as_json: bool
    debug: bool

    @classmethod
    def of(cls, arguments: Sequence[str]) -> Reporter:
        """From the arguments, unparsed: parsing may be what fails."""
        options = arguments[: arguments.index("--")] if "--" in arguments else arguments
        wanted = os.environ.get("TURNOUT_DEBUG", "") not in {"", "0"}
        return cls(as_json="--json" in options, debug=wanted or "--debug" in options)

    def status_of(self, error: BaseException) -> int:
        """Tell the error on stderr; the exit status it has."""
        match _inner(error):
            case SystemExit() | click.exceptions.Exit() as leaving:
                code = leaving.code if isinstance(leaving, SystemExit) else leaving.exit_code
                return code if isinstance(code, int) else int(code is not None)
            case KeyboardInterrupt() | click.Abort():
                return INTERRUPTED
            case BrokenPipeError():
                _forget_reader()
                return NO_READER
            case click.exceptions.NoArgsIsHelpError() as fault:
                click.echo(fault.format_message(), err=True)
                return fault.exit_code
            case click.ClickException() as fault:
                return self._told(fault, fault.exit_code, _usage(fault))
            case TurnoutError() as fault:
                return self._told(fault, status(fault), str(fault))
            case OSError() as fault:
                return self._told(fault, BACKEND, f"{fault.strerror or fault}: {fault.filename or 'no file'}")
            case fault:
                return self._told(
                    fault,
                    INTERNAL,
                    f"internal error, {type(fault).__name__}: {fault}\n"
                    "This is a fault in Turnout or a plugin. Run it again with `turnout --debug …` for the traceback.",
                )

    def _told(self, error: BaseException, code: int, text: str) -> int:
        if self.debug:
            import traceback

            click.echo(printable("".join(traceback.format_exception(error))), err=True)
        if self.as_json:
            import json

            click.echo(json.dumps({"error": _as_data(error, text), "exit_status": code}), err=True)
        else:
            click.echo(printable(text if isinstance(error, DefinitionError) else f"turnout: {text}"), err=True)
        return code


def _inner(error: BaseException) -> BaseException:
    """The one error in a task group's, which only says how the work was divided."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _usage(fault: click.ClickException) -> str:
    text = fault.format_message()
    context = getattr(fault, "ctx", None)
    return f"{text}\n{context.get_usage()}" if context is not None else text


def _as_data(error: BaseException, text: str) -> dict[str, Any]:
    data: dict[str, Any] = {"type": type(error).__name__, "message": text}
    if isinstance(error, DefinitionError):
        from dataclasses import asdict

        data["problems"] = [asdict(problem) for problem in error.problems]
    return data


def _forget_reader() -> None:
    """Let the interpreter's last flush go nowhere, where it would complain about the pipe once more."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
