"""One expression: JMESPath, compiled and analysed, evaluated against a scope."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from jmespath.exceptions import JMESPathError, JMESPathTypeError, ParseError

from turnout.errors import ExpressionError, StepError
from turnout.expressions.analysis import Analysis, analyse
from turnout.expressions.faults import Refusal, fault
from turnout.expressions.interpreter import Interpreter
from turnout.expressions.paths import follow
from turnout.expressions.scope import Scope
from turnout.expressions.syntax import parse
from turnout.expressions.text import check_nesting, string_end
from turnout.values import Value

__all__ = ["MAX_CHARACTERS", "Expression"]

MAX_CHARACTERS: Final = 8192
"""Length of one expression."""

_SCOPE: Final = object()
"""What the tree is evaluated against: nothing reads it, but for JMESPath it must not be null."""

_BUILDING: Final = frozenset({"multi_select_list", "multi_select_dict", "function_expression"})


class Expression:
    """A compiled expression; `text` is as written, `start` where it begins in the text that it stands in."""

    __slots__ = ("_analysis", "_builds", "_path", "start", "text")

    def __init__(self, text: str, start: int = 0) -> None:
        """`ExpressionError` if it cannot be read, calls an unknown function, or is larger than what is allowed."""
        self.text = text.strip()
        self.start = start + len(text) - len(text.lstrip())
        try:
            self._analysis: Analysis = analyse(_parse(self.text))
        except Refusal as refusal:
            raise fault(refusal, expression=self.text, start=self.start) from None
        except RecursionError:
            raise fault(Refusal("it nests too deeply"), expression=self.text, start=self.start) from None
        self._path = self._analysis.path
        self._builds = _any_node(self._analysis.tree, _BUILDING)

    @property
    def references(self) -> frozenset[tuple[str, ...]]:
        return self._analysis.references

    @property
    def of_elements(self) -> frozenset[tuple[str, ...]]:
        return self._analysis.of_elements

    @property
    def volatile(self) -> bool:
        return self._analysis.volatile

    @property
    def constant(self) -> bool:
        return self._analysis.constant

    def evaluate(self, scope: Scope) -> Value:
        """Its value. Raises `ExpressionError`, or `ContentNeeded` for the content of a file."""
        try:
            if self._path is not None:
                return follow(self._path, scope)
            interpreter = Interpreter(scope)
            result = interpreter.visit(self._analysis.tree, _SCOPE)
            if self._builds:
                interpreter.weigh(result)
            return Value(result)
        except Refusal as refusal:
            raise fault(refusal, expression=self.text, start=self.start) from refusal
        except ExpressionError:
            raise
        except StepError as error:
            raise fault(Refusal(error.message), expression=self.text, start=self.start) from error
        except (JMESPathError, ArithmeticError, RecursionError, ValueError, TypeError) as error:
            raise fault(_evaluation_refusal(error), expression=self.text, start=self.start) from None


def _any_node(node: dict[str, Any], kinds: frozenset[str]) -> bool:
    if node["type"] in kinds:
        return True
    return any(isinstance(child, dict) and _any_node(child, kinds) for child in node["children"])


def _parse(text: str) -> dict[str, Any]:
    if not text:
        raise Refusal("an empty expression", hint="write what it stands for, such as `steps.fetch`")
    if len(text) > MAX_CHARACTERS:
        raise Refusal(f"it is longer than {MAX_CHARACTERS} characters", hint="do this in a code step")
    check_nesting(text)
    _check_literals(text)
    try:
        return parse(text)
    except ParseError as error:
        raise _syntax_refusal(text, error) from None
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        # The library's parser fails in these ways on some broken expressions, `[` for example.
        raise Refusal("it cannot be read") from error


def _check_literals(text: str) -> None:
    """Literals in backticks must be JSON. The library would take other text as a string, with a warning."""
    position = 0
    while position < len(text):
        if text[position] in "'\"`":
            end = string_end(text, position)
            if end is None:
                raise Refusal(f"a {text[position]} without its end", at=position)
            if text[position] == "`":
                _check_literal(text[position + 1 : end].replace("\\`", "`"), position)
            position = end
        position += 1


def _check_literal(literal: str, at: int) -> None:
    try:
        json.loads(literal)
    except ValueError:
        hint = (
            f"text is written in single quotes: '{literal}'"
            if len(literal) < 40
            else "text is written in single quotes"
        )
        raise Refusal("what stands in backticks is not JSON", at=at, hint=hint) from None


def _syntax_refusal(text: str, error: ParseError) -> Refusal:
    at = min(max(error.lex_position or 0, 0), len(text))
    if at == len(text):
        return Refusal("it ends too early", at=at)
    return Refusal(f"unexpected {text[at : at + 1]!r} at column {at + 1}", at=at, hint=_syntax_hint(text, at))


_MEANT: Final = (
    (r"\[\s*", r"['\"]", 'a field is written with a dot: trigger.body."my field"'),
    (r"\w", r"-", 'a name with a dash stands in double quotes: steps."my-step"'),
    (r"\.", r"[0-9]", "an item of a list is taken by its number: orders[0]"),
    (r"", r"-?[0-9]*[.0-9A-Za-z]*[0-9]", "a number is written as in JSON: 100, -1.5"),
    (r"", r"=", "equality is written =="),
    (r"", r"[-+*/%]", "JMESPath has no arithmetic: do this in a code step"),
    (r"", r"\?", "a choice is written `condition && this || that`"),
    (r"", r"\$", "names begin without a sign: steps, trigger, config"),
    (r"", r"and\b", "`and` is written &&"),
    (r"", r"or\b", "`or` is written ||"),
    (r"\bnot\s+", r"", "`not` is written !"),
    (r"", r"[^\W\d_a-zA-Z]", 'a name beyond ASCII letters stands in double quotes: trigger.body."größe"'),
)
"""What people mean who write what JMESPath does not have: what stands before the place, what begins there, what to do."""


def _syntax_hint(text: str, at: int) -> str:
    before, after = text[:at], text[at:]
    for left, right, hint in _MEANT:
        if re.search(f"(?:{left})\\Z", before) and re.match(right, after):
            return hint
    return ""


def _evaluation_refusal(error: Exception) -> Refusal:
    """Without the values, which may be secret."""
    match error:
        case JMESPathTypeError():
            wanted = " or ".join(str(kind) for kind in error.expected_types)
            return Refusal(f"{error.function_name}() takes {wanted}, not {error.actual_type}")
        case OverflowError():
            return Refusal("a number is too large for this")
        case RecursionError():
            return Refusal("the value nests too deeply for this")
        case _:
            return Refusal(f"it cannot be evaluated ({type(error).__name__})")
