"""Evaluation of an analysed tree by JMESPath's own interpreter, on a budget of work.

Corrected where Python shows through (ordering text against numbers, `to_string` of anything), with files that answer
fields, and with a count of the work done: no expression can keep the process busy for long or fill its memory.
"""

from __future__ import annotations

import math
from typing import Any, Final

from jmespath import functions as standard
from jmespath.functions import signature
from jmespath.visitor import TreeInterpreter

from turnout.errors import StepError
from turnout.expressions.faults import Refusal
from turnout.expressions.files import file_field
from turnout.expressions.functions import FUNCTIONS, MAX_TEXT, bounded, call, json_text, too_long
from turnout.expressions.paths import follow
from turnout.expressions.scope import Scope
from turnout.model.payload import File
from turnout.values import Value

__all__ = ["MAX_WORK", "Interpreter"]

MAX_WORK: Final = 3_000_000
"""Nodes of the tree visited plus items handled, in one evaluation: a second or two."""

_CHARACTERS_A_UNIT: Final = 64


class Interpreter(TreeInterpreter):
    """Of one evaluation."""

    def __init__(self, scope: Scope) -> None:
        super().__init__()
        self._scope = scope
        self._left = MAX_WORK
        self._functions = _Standard(self)

    def visit(self, node: Any, *args: Any, **kwargs: Any) -> Any:
        self._left -= 1
        if self._left < 0:
            raise _too_much()
        return super().visit(node, *args, **kwargs)

    def spend(self, units: int) -> None:
        """Count work that one visit does not show. `Refusal` once there was too much."""
        self._left -= units
        if self._left < 0:
            raise _too_much()

    def weigh(self, data: Any) -> None:
        """Spend what it costs to walk through all of `data`. The same list named twice is walked twice, as it would be
        when it is written or compared, so that doubling a list thirty times is found here."""
        waiting = [data]
        while waiting:
            item = waiting.pop()
            if isinstance(item, str):
                self.spend(1 + len(item) // _CHARACTERS_A_UNIT)
            elif isinstance(item, list):
                self.spend(1 + len(item))
                waiting.extend(inner for inner in item if isinstance(inner, str | list | dict))
            elif isinstance(item, dict):
                self.spend(1 + len(item))
                waiting.extend(inner for inner in item.values() if isinstance(inner, str | list | dict))

    def visit_reference(self, node: Any, value: Any) -> Any:
        return follow(node["path"], self._scope).load()

    def visit_field(self, node: Any, value: Any) -> Any:
        if isinstance(value, dict):
            return value.get(node["value"])
        return file_field(value, node["value"], self._scope).load() if isinstance(value, File) else None

    def visit_comparator(self, node: Any, value: Any) -> Any:
        left, right = (self.visit(child, value) for child in node["children"])
        name = node["value"]
        if name in ("eq", "ne"):
            return _equal(self, left, right) == (name == "eq")
        if (_is_number(left) and _is_number(right)) or (isinstance(left, str) and isinstance(right, str)):
            return self.COMPARATOR_FUNC[name](left, right)
        return None

    def visit_flatten(self, node: Any, value: Any) -> Any:
        base = self.visit(node["children"][0], value)
        if not isinstance(base, list):
            return None
        flat: list[Any] = []
        for element in base:
            self.spend(len(element) if isinstance(element, list) else 1)
            if isinstance(element, list):
                flat.extend(element)
            else:
                flat.append(element)
        return flat

    def visit_slice(self, node: Any, value: Any) -> Any:
        if node["children"][2] == 0:
            raise Refusal("the step of a slice is 0")
        if isinstance(value, list):
            self.spend(len(value))
        return super().visit_slice(node, value)

    def visit_function_expression(self, node: Any, value: Any) -> Any:
        arguments = [self.visit(child, value) for child in node["children"]]
        self.spend(
            sum(len(item) for item in arguments if isinstance(item, list | dict))
            + sum(len(item) for item in arguments if isinstance(item, str)) // _CHARACTERS_A_UNIT
        )
        name = node["value"]
        if name == "to_json":
            self.weigh(arguments[0])
        ours = name in FUNCTIONS
        result = call(name, self._scope, arguments) if ours else self._functions.call_function(name, arguments)
        if isinstance(result, float) and not math.isfinite(result):
            raise Refusal(f"{name}(): the number is too large")
        return result


def _equal(interpreter: Interpreter, left: Any, right: Any) -> bool:
    """JSON's equality: true and 1 differ."""
    if isinstance(left, list | dict) and isinstance(right, list | dict):
        interpreter.weigh(left)
        if type(left) is not type(right) or len(left) != len(right):
            return False
        if isinstance(left, dict):
            assert isinstance(right, dict)
            return left.keys() == right.keys() and all(_equal(interpreter, left[key], right[key]) for key in left)
        return all(_equal(interpreter, one, other) for one, other in zip(left, right, strict=True))
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)


def _is_number(data: Any) -> bool:
    return isinstance(data, int | float) and not isinstance(data, bool)


def _too_much() -> Refusal:
    return Refusal("it takes too much work", hint=f"an expression may take {MAX_WORK:,} steps: use a code step")


class _Standard(standard.Functions):
    """JMESPath's functions, those corrected that would otherwise behave as Python does."""

    def __init__(self, interpreter: Interpreter) -> None:
        self._interpreter = interpreter

    @signature({"types": ["array", "string"]}, {"types": []})
    def _func_contains(self, subject: Any, search: Any) -> bool:
        if isinstance(subject, str):
            return isinstance(search, str) and search in subject
        return any(_equal(self._interpreter, item, search) for item in subject)

    @signature({"types": ["string"]}, {"types": ["array-string"]})
    def _func_join(self, separator: str, array: list[str]) -> str:
        size = sum(map(len, array)) + len(separator) * len(array)
        if size > MAX_TEXT:
            raise too_long()
        self._interpreter.spend(size // _CHARACTERS_A_UNIT)
        return separator.join(array)

    @signature({"types": []})
    def _func_to_string(self, arg: Any) -> str:
        if isinstance(arg, str):
            return arg
        self._interpreter.weigh(arg)
        return json_text(arg)

    @signature({"types": []})
    def _func_to_number(self, arg: Any) -> Any:
        if _is_number(arg):
            return arg
        try:
            number = Value.parse(bounded(arg)).load() if isinstance(arg, str) else None
        except StepError:
            return None
        return number if _is_number(number) else None

    @signature({"types": []})
    def _func_type(self, arg: Any) -> Any:
        kinds = {bool: "boolean", str: "string", list: "array", dict: "object", File: "file", type(None): "null"}
        return kinds.get(type(arg), "number")
