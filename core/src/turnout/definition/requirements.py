"""The requirements of Python code steps: every package pinned to one version and to the hashes of its files.

The form is pip's own, as `pip-compile --generate-hashes` and `uv pip compile --generate-hashes` write it, and nothing more: no
options, no other files, no URLs, no ranges. What is pinned like that is the same wherever and whenever it is installed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from turnout.errors import Problem

__all__ = ["Pin", "read_requirements"]

_LARGEST_CHARACTERS: Final = 4 * 1024 * 1024
_COMMENT: Final = re.compile(r"(^|\s)#.*$")
_PIN: Final = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:\[[A-Za-z0-9._,\s-]*\])?"
    r"\s*==\s*(?P<version>[0-9A-Za-z.!+_-]+)\s*(?:;\s*(?P<marker>[^#]*?))?"
)
_HASH: Final = re.compile(r"\s--hash[=\s]\s*(\S+)")
_SHA256: Final = re.compile(r"sha256:[0-9a-f]{64}")
_COMPILE: Final = "`uv pip compile --generate-hashes requirements.in -o requirements.txt` writes it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """One package: `text` is the canonical line for pip, hashes in order, extras left out (what they need is pinned itself)."""

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]
    line: int

    @property
    def text(self) -> str:
        marker = f" ; {self.marker}" if self.marker else ""
        return f"{self.name}=={self.version}{marker} {' '.join(f'--hash={digest}' for digest in self.hashes)}"


def read_requirements(text: str, name: str) -> tuple[tuple[Pin, ...], tuple[Problem, ...]]:
    """The pins of a file, by name, and all that is wrong with it; `name` is how problems call the file."""
    if len(text) > _LARGEST_CHARACTERS:
        return (), (Problem(file=name, message="this is too large for a list of requirements"),)
    pins: dict[tuple[str, str], Pin] = {}
    problems: list[Problem] = []
    for line, content in _logical_lines(text):
        pin = _pin(content, line, name)
        if isinstance(pin, Problem):
            problems.append(pin)
            continue
        first = pins.setdefault((pin.name, pin.marker), pin)
        if first is not pin:
            problems.append(_problem(name, line, f"{pin.name} is pinned a second time, first in line {first.line}"))
    return tuple(pins[key] for key in sorted(pins)), tuple(problems)


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Number and content of each line, those that end in a backslash joined with the next, comments left out."""
    start, gathered = 0, ""
    for number, raw in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        if not gathered:
            start = number
        line = _COMMENT.sub("", raw).rstrip()
        if line.endswith("\\"):
            gathered += line[:-1] + " "
            continue
        if whole := (gathered + line).strip():
            yield start, whole
        gathered = ""
    if gathered.strip():
        yield start, gathered.strip()


def _pin(content: str, line: int, file: str) -> Pin | Problem:
    requirement = content.partition(" --")[0].strip()
    found = _PIN.fullmatch(requirement)
    if found is None:
        return _problem(file, line, *_not_a_pin(content, requirement))
    hashes = _HASH.findall(content)
    what = f"{found['name']}=={found['version']}"
    if rest := _HASH.sub("", content).removeprefix(requirement).strip():
        return _problem(file, line, f"{what}: {rest!r} has no place here", "only `--hash=sha256:…` may follow")
    if not hashes:
        return _problem(file, line, f"{what} has no hash", _COMPILE)
    if wrong := next((digest for digest in hashes if not _SHA256.fullmatch(digest)), None):
        return _problem(file, line, f"{what}: {wrong[:40]!r} is no hash", "it is `sha256:` and 64 characters")
    return Pin(
        name=re.sub(r"[-_.]+", "-", found["name"]).lower(),
        version=found["version"],
        marker=" ".join((found["marker"] or "").split()),
        hashes=tuple(sorted(set(hashes))),
        line=line,
    )


def _not_a_pin(content: str, requirement: str) -> tuple[str, str]:
    if content.startswith("-"):
        return (
            f"{content.split(maxsplit=1)[0]!r} has no place here",
            "every line pins one package: name==version --hash=sha256:…",
        )
    if "@" in requirement or "://" in requirement or requirement.startswith((".", "/")):
        return (
            f"{requirement[:80]!r} is not from the package index",
            "only its packages can be pinned; copy the source instead",
        )
    return f"{requirement[:80]!r} is not pinned: write name==version --hash=sha256:…", _COMPILE


def _problem(file: str, line: int, message: str, hint: str = "") -> Problem:
    return Problem(file=file, line=line, column=1, message=message, hint=hint)
