"""Runs one test of a contract suite by its name: what the tests that check the suites themselves share."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

__all__ = ["run_contract"]


async def run_contract(contract: type, name: str, fixtures: Callable[..., Mapping[str, Any]]) -> None:
    """Run `test_<name>` of the contract, once for each of its parameters, on the fixtures that a function makes anew; it
    is given those parameters that it has a name for."""
    test = getattr(contract(), f"test_{name}")
    wanted = inspect.signature(fixtures).parameters
    for parameters in _parameters(test):
        given = {**fixtures(**{name: parameters[name] for name in wanted if name in parameters}), **parameters}
        result = test(**{name: given[name] for name in inspect.signature(test).parameters})
        if inspect.isawaitable(result):
            await result


def _parameters(test: Any) -> Iterator[dict[str, Any]]:
    """Every combination of the values that the test is parametrized with."""
    marks = [mark for mark in getattr(test, "pytestmark", []) if mark.name == "parametrize"]
    for values in itertools.product(*(mark.args[1] for mark in marks)):
        case: dict[str, Any] = {}
        for mark, value in zip(marks, values, strict=True):
            names = mark.args[0]
            case.update({names: value} if isinstance(names, str) else dict(zip(names, value, strict=True)))
        yield case
