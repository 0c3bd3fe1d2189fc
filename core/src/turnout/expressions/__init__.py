"""Expressions: JMESPath in `${{ }}`, over what an execution knows. Nothing here runs code that a definition brings."""

from __future__ import annotations

from turnout.expressions.functions import FUNCTIONS, STANDARD_ARITY, Function
from turnout.expressions.scope import ContentNeeded, Scope
from turnout.expressions.template import Condition, Template, compile_condition, compile_template

__all__ = [
    "FUNCTIONS",
    "STANDARD_ARITY",
    "Condition",
    "ContentNeeded",
    "Function",
    "Scope",
    "Template",
    "compile_condition",
    "compile_template",
]
