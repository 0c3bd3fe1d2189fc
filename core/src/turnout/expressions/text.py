"""Finding `${{ … }}` in text. A brace inside a string, a literal or a multiselect hash does not end the expression."""

from __future__ import annotations

from dataclasses import dataclass

from turnout.expressions.faults import Refusal

__all__ = ["Piece", "check_nesting", "split", "string_end"]

_OPEN = "${{"
_CLOSERS = {"{": "}", "[": "]", "(": ")"}
MAX_NESTING = 50
"""Brackets within brackets within one expression."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of literal text, or an expression without its delimiters; `start` is where it begins in the text."""

    text: str
    start: int
    is_expression: bool


def split(text: str) -> list[Piece]:
    """The pieces of `text` in order. `$${{` stands for a literal `${{`. `Refusal` (`at` in `text`) if one has no end."""
    pieces: list[Piece] = []
    literal: list[str] = []
    position = 0
    while (found := text.find(_OPEN, position)) >= 0:
        if found > position and text[found - 1] == "$":
            literal.append(text[position : found - 1] + _OPEN)
            position = found + len(_OPEN)
            continue
        literal.append(text[position:found])
        _add_literal(pieces, literal, found)
        start = found + len(_OPEN)
        end = _expression_end(text, start)
        if end is None:
            raise Refusal(
                "`${{` has no matching `}}`", at=found, hint="close it, or write `$${{` where the text itself is meant"
            )
        pieces.append(Piece(text[start:end], start, is_expression=True))
        position = end + 2
    literal.append(text[position:])
    _add_literal(pieces, literal, position)
    return pieces


def _add_literal(pieces: list[Piece], literal: list[str], start: int) -> None:
    joined = "".join(literal)
    literal.clear()
    if joined:
        pieces.append(Piece(joined, start, is_expression=False))


def _expression_end(text: str, start: int) -> int | None:
    """Where the `}}` of the expression that begins at `start` is; None if there is none."""
    position, depth, size = start, 0, len(text)
    while position < size:
        char = text[position]
        if char in "'\"`":
            end = string_end(text, position)
            if end is None:
                return None
            position = end
        elif char == "{":
            depth += 1
        elif char == "}":
            if depth == 0:
                return position if text.startswith("}}", position) else None
            depth -= 1
        position += 1
    return None


def string_end(text: str, start: int) -> int | None:
    """Where the quote that closes the one at `start` is, backslashes heeded; None if it is missing."""
    quote, position = text[start], start + 1
    while position < len(text):
        if text[position] == "\\":
            position += 1
        elif text[position] == quote:
            return position
        position += 1
    return None


def check_nesting(expression: str) -> None:
    """`Refusal` if brackets nest too deep for the parser to follow; unbalanced ones are the parser's to tell."""
    position, depth = 0, 0
    while position < len(expression):
        char = expression[position]
        if char in "'\"`":
            position = string_end(expression, position) or len(expression)
        elif char in _CLOSERS:
            depth += 1
            if depth > MAX_NESTING:
                raise Refusal(f"brackets nest deeper than {MAX_NESTING} levels", at=position)
        elif char in _CLOSERS.values():
            depth -= 1
        position += 1
