"""What was raised, as plain data: the other side makes the customer's stack of it."""

from __future__ import annotations

from types import CodeType, TracebackType

__all__ = ["describe"]

_LONGEST = 64 * 1024
_DEEPEST = 4
_MOST_ERRORS = 10
_MOST_FRAMES = 100
_SHORTENED = "…"
_positions = CodeType.co_positions


def describe(error: BaseException, depth: int = 0) -> dict[str, object]:
    """`{name, message, stack, cause?, errors?}` of an exception; never raises."""
    described: dict[str, object] = {
        "name": _text(type(error).__name__),
        "message": _message(error),
        "stack": _stack(error),
    }
    if depth >= _DEEPEST:
        return described
    cause = error.__cause__ if error.__suppress_context__ else error.__context__
    if cause is not None and cause is not error:
        described["cause"] = describe(cause, depth + 1)
    if isinstance(error, BaseExceptionGroup):
        described["errors"] = [describe(inner, depth + 1) for inner in error.exceptions[:_MOST_ERRORS]]
    return described


def _text(value: object) -> str:
    """Text of a bounded length, without what UTF-8 cannot hold."""
    text = value if type(value) is str else ""
    if len(text) > _LONGEST:
        text = text[:_LONGEST] + _SHORTENED
    return text.encode("utf-8", "replace").decode()


def _message(error: BaseException) -> str:
    """What the exception says of itself, by code that may be the customer's; a syntax error's without its place."""
    try:
        message = error.msg if isinstance(error, SyntaxError) else str(error)
        notes = getattr(error, "__notes__", ())
        return _text("\n".join((str(message), *(str(note) for note in notes))))
    except BaseException:
        return "an exception that cannot be shown"


def _stack(error: BaseException) -> str:
    """Its frames, innermost first, one a line, as `stacks.py` reads them; above them the place of a syntax error."""
    lines = []
    if isinstance(error, SyntaxError) and isinstance(error.filename, str):
        lines.append(f"{error.filename}:{error.lineno or 1}")
    frames = []
    at = error.__traceback__
    while at is not None:
        frames.append(_frame(at))
        del frames[:-_MOST_FRAMES]
        at = at.tb_next
    return _text("\n".join((*lines, "", *reversed(frames))))


def _frame(at: TracebackType) -> str:
    code = at.tb_frame.f_code
    column = 1
    for number, (_, _, start, _) in enumerate(_positions(code)):
        if number == at.tb_lasti // 2:
            column = 1 if start is None else start + 1
            break
    return f"    at {code.co_qualname} ({code.co_filename}:{at.tb_lineno}:{column})"
