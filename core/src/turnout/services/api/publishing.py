"""Publishing over the API: an integration's files as text by their paths, in one JSON document.

Not as an archive: text by path has no links, no devices, no modes, and no size but its own. The files lie in a directory of the
request's own while the version is built, and nothing of them runs: a definition in Python is a program, and packages are fetched
from where a lockfile says, so both are published by the command line, by whoever may do such things where the files are.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Final

import msgspec

from turnout.definition.loader import load_yaml
from turnout.definition.validation import validate
from turnout.errors import DefinitionError, Problem
from turnout.interfaces.connector import Connector
from turnout.model.definition import Integration
from turnout.services.api.bodies import wrong_values
from turnout.services.api.endpoint import PREFIX, Answer, Call, Endpoint, Nothing
from turnout.services.api.integrations import VersionView, version_view
from turnout.services.api.parts import Parts
from turnout.services.api.problems import ProblemError
from turnout.services.api_keys import Role

__all__ = ["ENDPOINTS"]

_BODY_BYTES: Final = 8 * 1000 * 1000
_MOST_FILES: Final = 2000
_LONGEST_PATH: Final = 300
_DEFINITIONS: Final = ("integration.yaml", "integration.yml")
_HOW: Final = "publish it with `turnout integrations publish`, where its files are"


class Publish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The files of one integration: `integration.yaml`, and the code beside it."""

    files: Annotated[
        dict[str, str],
        msgspec.Meta(
            min_length=1, max_length=_MOST_FILES, description="Text by path, with / between: `steps/total.mjs`."
        ),
    ]


class PublishedView(VersionView, frozen=True, kw_only=True):
    """A version that is published. `new` is false where the same content had been published under it before; `warnings` are what
    may be meant otherwise."""

    new: bool
    warnings: list[str]


async def publish(parts: Parts, call: Call[Nothing, Publish]) -> Answer:
    files = call.body.files
    definition = _definition(files)
    with tempfile.TemporaryDirectory(prefix="turnout-publish-") as folder:
        try:
            integration = await asyncio.to_thread(_loaded, Path(folder), files, definition)
            warnings = [str(_told(problem, folder)) for problem in _require_valid(integration, parts.connectors)]
            with wrong_values(call, status=409):
                made = await parts.versions.publish(integration)
        except DefinitionError as error:
            raise DefinitionError([_told(problem, folder) for problem in error.problems]) from None
    version = made.version
    where = f"{PREFIX}/integrations/{version.integration}/versions/{version.version}"
    return Answer(
        body={**version_view(version), "new": made.new, "warnings": warnings},
        status=201 if made.new else 200,
        headers={"location": where} if made.new else {},
    )


def _definition(files: Mapping[str, str]) -> str:
    """The path of the definition, once all paths are known to be harmless."""
    for path in files:
        if why := _fault(path):
            raise ProblemError(400, f"body: `files`: {path[:100]!r} {why}")
    folders = {str(folder) for path in files for folder in PurePosixPath(path).parents}
    if both := sorted(folders & set(files)):
        raise ProblemError(400, f"body: `files`: {both[0]!r} is a file and a directory")
    found = [name for name in _DEFINITIONS if name in files]
    if not found and "integration.py" in files:
        raise ProblemError(400, f"body: `files`: a definition in Python is a program, which does not run here: {_HOW}")
    if len(found) != 1:
        raise ProblemError(400, f"body: `files`: one of {' and '.join(_DEFINITIONS)} has to be there")
    return found[0]


def _fault(path: str) -> str:
    parts = path.split("/")
    if not path.isprintable() or "\\" in path or len(path) > _LONGEST_PATH:
        return f"is no path: at most {_LONGEST_PATH} printable characters, with / between"
    if any(part.startswith(".") or not part.strip() or len(part.encode()) > 200 for part in parts):
        return "is no path below the definition: no part may be empty, too long, or begin with a dot"
    return ""


def _loaded(folder: Path, files: Mapping[str, str], definition: str) -> Integration:
    for path, text in files.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8", newline="")
    return load_yaml(folder / definition)


def _require_valid(integration: Integration, connectors: Mapping[str, Connector]) -> list[Problem]:
    """The warnings. `DefinitionError` with all errors; 400 where packages would have to be fetched."""
    problems = validate(integration, connectors)
    if errors := [problem for problem in problems if problem.severity == "error"]:
        raise DefinitionError(errors)
    if integration.code.dependencies or integration.code.python.requirements:
        raise ProblemError(400, f"body: `files`: packages of a lockfile are not fetched over HTTP: {_HOW}")
    return problems


def _told(problem: Problem, folder: str) -> Problem:
    """By the paths that were sent, and not by where they lay for a moment."""
    message, file = (text.replace(f"{folder}/", "") for text in (problem.message, problem.file))
    return replace(problem, message=message, file="" if file == Path(folder).name else file)


ENDPOINTS: Final[tuple[Endpoint[Any, Any], ...]] = (
    Endpoint(
        method="POST",
        path="/integrations",
        name="publishVersion",
        summary="Publish an integration, as the version that its definition says",
        description="What is published never changes: 200 where the same content is there, 409 where other content is. "
        "Definitions in Python, and code with packages, are published by the command line.",
        handle=publish,
        body=Publish,
        body_bytes=_BODY_BYTES,
        answer=PublishedView,
        statuses=(200, 201),
        refusals=(409,),
        role=Role.ADMIN,
        organisation=True,
        tag="integrations",
    ),
)
