"""Templates and conditions: what definitions hold, compiled once, rendered for every step and item."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

from turnout.errors import ExpressionError
from turnout.expressions.compiled import Expression
from turnout.expressions.faults import Refusal, fault
from turnout.expressions.functions import MAX_TEXT, json_text
from turnout.expressions.scope import Scope
from turnout.expressions.text import Piece, split
from turnout.model.payload import File
from turnout.values import MAX_DEPTH, Value

__all__ = ["Condition", "Template", "compile_condition", "compile_template"]

_CACHED: Final = 2048
_CACHED_CHARACTERS: Final = 16 * 1024
"""Longer texts are compiled each time, so that the cache stays small."""

Render = Callable[[Scope], Any]


class Template:
    """Data with expressions in it. Equal for equal data, so it may be compiled once for all executions."""

    __slots__ = ("_render", "_value", "constant", "expressions", "of_elements", "references", "volatile")

    def __init__(self, render: Render, expressions: tuple[Expression, ...], *, literal: Any) -> None:
        self._render = render
        self.expressions = expressions
        self.references: frozenset[tuple[str, ...]] = frozenset().union(*(one.references for one in expressions))
        """The paths that it begins from, as far as they are certain: `("steps", "fetch", "text")`."""
        self.of_elements: frozenset[tuple[str, ...]] = frozenset().union(*(one.of_elements for one in expressions))
        """The paths inside filters, which begin from each element."""
        self.volatile = any(one.volatile for one in expressions)
        """It asks for the time: another evaluation may give another value."""
        self.constant = all(one.constant for one in expressions)
        """It is the same in every scope."""
        self._value = None if expressions else Value(literal)

    def render(self, scope: Scope) -> Value:
        """Its value in the scope. Raises `ExpressionError`; `ContentNeeded` where the content of a file is asked for
        that the scope does not have: add it, and render again."""
        if self._value is not None:
            return self._value
        made = self._render(scope)
        return made if isinstance(made, Value) else Value(made)


class Condition:
    """An expression whose truth is asked for, as JMESPath has it: null, false, "", [] and {} are false, 0 is true."""

    __slots__ = ("_expression", "_fixed", "constant", "of_elements", "references", "volatile")

    def __init__(self, expression: Expression | bool) -> None:
        self._expression = expression if isinstance(expression, Expression) else None
        self._fixed = expression if isinstance(expression, bool) else False
        self.references: frozenset[tuple[str, ...]] = self._expression.references if self._expression else frozenset()
        self.of_elements: frozenset[tuple[str, ...]] = self._expression.of_elements if self._expression else frozenset()
        self.volatile = self._expression.volatile if self._expression else False
        self.constant = self._expression.constant if self._expression else True

    def holds(self, scope: Scope) -> bool:
        """Whether it is true in the scope. Raises as `Template.render` does."""
        return self._fixed if self._expression is None else self._expression.evaluate(scope).truthy


def compile_template(data: Any) -> Template:
    """Of JSON-like data whose texts may hold `${{ … }}`; keys stay as they are, `$${{` stands for `${{` itself.

    A text that is one expression and nothing else (a line break at its end does not count) has the expression's value,
    of any type. In other texts values are written out: texts as they are, null as nothing, whole numbers without a
    fraction, everything else as JSON. `ExpressionError` tells the first fault, its `offset` counting in the text.
    """
    found: list[Expression] = []
    literal, render = _compile(data, found, 0)
    return Template(render or (lambda scope: literal), tuple(found), literal=literal)


def compile_condition(text: str | bool) -> Condition:
    """Of `${{ expression }}`, a bare expression, or a boolean. `ExpressionError` if it is none of them."""
    if isinstance(text, bool):
        return Condition(text)
    stripped = text.strip()
    if stripped in ("true", "false"):
        return Condition(stripped == "true")
    if "${{" not in text:
        return Condition(Expression(text))
    pieces = _pieces(text)
    expressions = [piece for piece in pieces if isinstance(piece, Expression)]
    if len(expressions) != 1 or any(isinstance(piece, str) and piece.strip() for piece in pieces):
        raise fault(
            Refusal("a condition is one expression", hint="join two of them inside: ${{ a && b }}"), expression=stripped
        )
    return Condition(expressions[0])


def _compile(data: Any, found: list[Expression], depth: int) -> tuple[Any, Render | None]:
    """The data with escapes undone, and how to render it, or None where nothing in it varies."""
    if depth > MAX_DEPTH:
        raise ExpressionError(f"nested deeper than {MAX_DEPTH} levels")
    match data:
        case str() if "${{" in data:
            return _compile_text(data, found)
        case dict():
            return _compile_dict(data, found, depth)
        case list() | tuple():
            parts = [_compile(item, found, depth + 1) for item in data]
            literal = [part for part, _ in parts]
            if all(render is None for _, render in parts):
                return literal, None
            return literal, lambda scope: [part if render is None else render(scope) for part, render in parts]
        case _:
            return data, None


def _compile_dict(data: dict[str, Any], found: list[Expression], depth: int) -> tuple[Any, Render | None]:
    parts = {key: _compile(item, found, depth + 1) for key, item in data.items()}
    literal = {key: part for key, (part, _) in parts.items()}
    varying = [(key, render) for key, (_, render) in parts.items() if render is not None]
    if not varying:
        return literal, None

    def render_dict(scope: Scope) -> dict[str, Any]:
        made = literal.copy()
        for key, render in varying:
            made[key] = render(scope)
        return made

    return literal, render_dict


def _compile_text(text: str, found: list[Expression]) -> tuple[Any, Render | None]:
    pieces = _pieces(text)
    expressions = [piece for piece in pieces if isinstance(piece, Expression)]
    found.extend(expressions)
    if not expressions:
        return "".join(str(piece) for piece in pieces), None
    if isinstance(pieces[0], Expression) and pieces[1:] in ((), ("\n",)):
        return None, pieces[0].evaluate
    return None, lambda scope: _interpolate(pieces, scope)


def _pieces(text: str) -> tuple[str | Expression, ...]:
    return _cached_pieces(text) if len(text) <= _CACHED_CHARACTERS else _read_pieces(text)


def _read_pieces(text: str) -> tuple[str | Expression, ...]:
    try:
        pieces: list[Piece] = split(text)
    except Refusal as refusal:
        raise fault(refusal, expression=text) from None
    return tuple(Expression(piece.text, piece.start) if piece.is_expression else piece.text for piece in pieces)


_cached_pieces = lru_cache(maxsize=_CACHED)(_read_pieces)


def _interpolate(pieces: tuple[str | Expression, ...], scope: Scope) -> str:
    texts: list[str] = []
    size = 0
    for piece in pieces:
        texts.append(piece if isinstance(piece, str) else _written(piece, scope))
        size += len(texts[-1])
        if size > MAX_TEXT:
            raise ExpressionError(
                f"the text would be longer than {MAX_TEXT:,} characters: pass the values to a step instead"
            )
    return "".join(texts)


def _written(expression: Expression, scope: Scope) -> str:
    """A value inside text."""
    data = expression.evaluate(scope).load()
    match data:
        case None:
            return ""
        case str():
            return data
        case bool() | int():
            return json.dumps(data)
        case float() if data.is_integer() and abs(data) < 1e15:
            return str(int(data))
    try:
        return json_text(data)
    except Refusal as refusal:
        name = expression.text if isinstance(data, File) and len(expression.text) < 60 else ""
        hint = (
            f"write ${{{{ {name}.text }}}}, or ask for its `base64`, `name` or another field" if name else refusal.hint
        )
        raise fault(Refusal(refusal.reason, hint=hint), expression=expression.text, start=expression.start) from refusal
