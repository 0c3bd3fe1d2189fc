"""Which installed distributions a service needs elsewhere: Turnout, what provides its plugins here, and what these require."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution, distributions
from typing import TYPE_CHECKING, Final

from turnout.errors import BackendError

if TYPE_CHECKING:
    from packaging.requirements import Requirement

__all__ = ["Distributions", "installed", "normalized", "required"]

_GROUP: Final = "turnout"


@dataclass(frozen=True, slots=True, kw_only=True)
class Distributions:
    """`pins` come from an index, `name==version`; `sources` are those that were installed from elsewhere, a directory or an
    address, by their names."""

    pins: tuple[str, ...]
    sources: dict[str, str]


def installed(*, without: Set[str] = frozenset(), extras: Mapping[str, Sequence[str]] | None = None) -> Distributions:
    """Those of this environment, but not those named in `without`, nor what only they require. Which `extras` were asked for
    is written down nowhere: those named here, by their distribution, are taken where all that they require is installed.
    `BackendError` names a requirement that is not installed."""
    roots = {normalized(one.metadata["Name"]) for one in distributions() if one.entry_points.select(group=_GROUP)}
    asked = {name: tuple(one for one in names if _whole(name, one)) for name, names in (extras or {}).items()}
    return required({name: asked.get(name, ()) for name in roots}, without=without)


def required(roots: Mapping[str, Sequence[str]], *, without: Set[str] = frozenset()) -> Distributions:
    """The distributions `roots`, by their normalized names with the extras that are asked for, and all that they require."""
    found: dict[str, Distribution] = {}
    waiting = [(name, tuple(extras)) for name, extras in sorted(roots.items())]
    while waiting:
        name, asked_for = waiting.pop()
        if name in without:
            continue
        seen = name in found
        found.setdefault(name, _found(name))
        if not seen or asked_for:
            waiting += [
                (normalized(one.name), tuple(sorted(one.extras))) for one in _requirements(found[name], asked_for)
            ]
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


def _whole(name: str, extra: str) -> bool:
    """Whether all that the extra adds is installed."""
    base = {one.name for one in _requirements(_found(name), ())}
    try:
        added = [one.name for one in _requirements(_found(name), (extra,)) if one.name not in base]
        for required in added:
            distribution(required)
    except PackageNotFoundError:
        return False
    return bool(added)


def _requirements(one: Distribution, extras: Sequence[str]) -> Iterator[Requirement]:
    try:
        from packaging.requirements import Requirement
    except ImportError:
        raise BackendError("what is required is read by `packaging`: install it, then package again") from None
    for line in one.requires or ():
        requirement = Requirement(line)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield requirement


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
