"""JMESPath's parser with two things that people write and JMESPath has no use for.

Bare numbers (`[?total > 100]`, `default(x, 0)`) are errors of syntax in JMESPath, so nothing else can be meant by them; in
brackets (`orders[0]`, `orders[:3]`) they are what they always were. `!a.b` is `!(a.b)`, not the field `b` of a boolean.
"""

from __future__ import annotations

import json
import re
from typing import Any, ClassVar, Final, cast

from jmespath import ast
from jmespath.exceptions import ParseError
from jmespath.parser import Parser

__all__ = ["parse"]

_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?(?![0-9A-Za-z_.])")


def parse(text: str) -> dict[str, Any]:
    """The syntax tree. Raises what `jmespath.compile` does."""
    return cast("dict[str, Any]", _Parser(text).parse(text).parsed)


class _Parser(Parser):
    _CACHE: ClassVar[dict[str, Any]] = {}

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def _token_nud_number(self, token: Any) -> Any:
        """The tokens of a fraction and an exponent, which the lexer takes for fields, belong to the number."""
        found = _NUMBER.match(self._text, token["start"])
        if found is None:
            raise ParseError(token["start"], token["value"], token["type"], "not a number")
        parser: Any = self
        while parser._lookahead_token(0)["type"] != "eof" and parser._lookahead_token(0)["start"] < found.end():
            parser._advance()
        return ast.literal(json.loads(found[0]))

    def _token_nud_not(self, token: Any) -> Any:
        """All that binds at least as a flattening does belongs to what is negated; comparisons do not."""
        parser: Any = self
        return ast.not_expression(parser._expression(self.BINDING_POWER["flatten"] - 1))
