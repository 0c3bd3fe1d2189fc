"""Templates of messages: a small part of Jinja, of which every piece is known to take little time and little room.

A sandbox keeps a template from what is around it. It does not keep it from asking for gigabytes (`'x' * 3000000000`, a width of a
filter, loops in loops), and a list of what is forbidden is never whole. So what is not on the lists below is refused when the
settings are read, and what remains cannot grow: there are no loops, no variables of its own, no calls, and no operator or
filter whose result is longer than what goes in, a word written in the template aside. A message is then at most as long
as the template times the longest word.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from jinja2 import Environment, Template, nodes

__all__ = ["FILTERS", "LONGEST_TEMPLATE", "checked_template", "rendered"]

LONGEST_TEMPLATE: Final = 20_000
"""Characters."""
_LARGEST_NUMBER: Final = 1_000_000_000
FILTERS: Final = frozenset(
    ["capitalize", "default", "first", "last", "length", "lower", "title", "trim", "truncate", "upper"]
)
"""Filters that a template may use: none makes text longer than it is, or takes more than one look at it."""
_TESTS: Final = frozenset(["defined", "eq", "ge", "gt", "in", "le", "lt", "ne", "undefined"])
_NODES: Final[Mapping[str, str]] = {
    "For": "loops",
    "Call": "calls",
    "CallBlock": "calls",
    "FilterBlock": "filters over a block",
    "Macro": "macros",
    "Assign": "variables of its own",
    "AssignBlock": "variables of its own",
    "With": "variables of its own",
    "Include": "other templates",
    "Import": "other templates",
    "FromImport": "other templates",
    "Extends": "other templates",
    "Block": "blocks",
    "Getattr": "attributes",
    "Mul": "`*`",
    "Pow": "`**`",
    "Mod": "`%`",
    "Div": "`/`",
    "FloorDiv": "`//`",
    "List": "lists",
    "Tuple": "lists",
    "Dict": "tables",
}
"""What people may try, in their words. Anything else that is not allowed is named as Jinja names it."""
_ALLOWED: Final = frozenset(
    [
        "Template",
        "Output",
        "TemplateData",
        "Name",
        "Const",
        "If",
        "CondExpr",
        "And",
        "Or",
        "Not",
        "Compare",
        "Operand",
        "Filter",
        "Test",
        "Keyword",
        "Getitem",
        "Slice",
        "Concat",
        "Add",
        "Sub",
        "Neg",
        "Pos",
    ]
)


def checked_template(written: str, names: Collection[str]) -> None:
    """`ValueError` says what is wrong with a template that may name `names`, and what there is instead."""
    if len(written) > LONGEST_TEMPLATE:
        raise ValueError(f"a template of at most {LONGEST_TEMPLATE} characters is expected")
    _compiled(written, frozenset(names))


def rendered(written: str, words: Mapping[str, str | int], *, most: int) -> str:
    """The text, of which `most` characters and no more are made. `ValueError` as `checked_template`, or if it fails."""
    template, made, length = _compiled(written, frozenset(words)), [], 0
    try:
        for part in template.generate(words):
            made.append(part[: most - length])
            length += len(made[-1])
            if length >= most:
                break
    except Exception as error:  # of what people write, anything may be raised: a type that does not fit, an index
        raise ValueError(f"the template fails: {type(error).__name__}") from error
    return "".join(made)


@lru_cache(maxsize=200)
def _compiled(written: str, names: frozenset[str]) -> Template:
    from jinja2 import TemplateSyntaxError, nodes

    environment = _environment()
    try:
        tree = environment.parse(written)
    except TemplateSyntaxError as error:
        raise ValueError(f"a template of Jinja is expected: {error.message} (its line {error.lineno})") from None
    except RecursionError:
        raise ValueError("a template is expected that is less deeply nested") from None
    except ValueError:  # Python reads no number of so many digits
        raise ValueError(f"a template has no numbers above {_LARGEST_NUMBER}") from None
    _check(tree)
    if unknown := sorted({node.name for node in tree.find_all(nodes.Name)} - names):
        raise ValueError(f"a message has no {unknown[0]!r}; there are {', '.join(sorted(names))}")
    try:
        return environment.from_string(tree)
    except (SyntaxError, RecursionError, MemoryError):  # of Python's own compiler: a hundred levels are too many for it
        raise ValueError("a template is expected that is less deeply nested") from None


def _environment() -> Environment:
    """In a sandbox all the same, should a piece that is allowed lead further than it seems. What it renders is plain text: each
    channel escapes it for what it sends."""
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(autoescape=False, optimized=False)
    environment.globals.clear()
    return environment


def _check(tree: nodes.Template) -> None:
    from jinja2 import nodes

    for node in tree.find_all(nodes.Node):
        fault = _fault(node)
        if fault:
            raise ValueError(f"a template has no {fault} (its line {node.lineno})")


def _fault(node: nodes.Node) -> str:
    from jinja2 import nodes

    kind = type(node).__name__
    match node:
        case nodes.Filter() if node.name not in FILTERS:
            return f"filter {node.name!r}: there are {', '.join(sorted(FILTERS))}"
        case nodes.Test() if node.name not in _TESTS:
            return f"test {node.name!r}: there are {', '.join(sorted(_TESTS))}"
        case nodes.Const() if isinstance(node.value, int | float) and not abs(node.value) <= _LARGEST_NUMBER:
            return f"numbers above {_LARGEST_NUMBER}"
        case nodes.Getitem(node=nodes.Const()):
            return "items of what is written out"
        case _ if kind not in _ALLOWED:
            return _NODES.get(kind, f"{kind!r}")
        case _:
            return ""
