"""What `turnout package` wrote, read again and checked: nothing is deployed that is not what was packaged."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from turnout.deploy.contents import digest_of_directory
from turnout.deploy.packaging import MANIFEST, TEMPLATE
from turnout.errors import UserError

__all__ = ["Artefact", "Image", "PackageFiles", "read_packages", "stack_name"]

_LONGEST_NAME: Final = 128
_AGAIN: Final = "run `turnout package` again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Artefact:
    """A file, and the parameter of the template that takes the key it is uploaded to."""

    parameter: str
    path: Path
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A directory that an image is built from, for a platform (`linux/amd64`), and the parameter of the template that takes the
    image's address."""

    parameter: str
    directory: Path
    platform: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageFiles:
    """`digest` is of the template, all artefacts and all images. `services` are the names of those that it runs."""

    project: str
    environment: str
    target: str
    template: Mapping[str, Any]
    artefacts: tuple[Artefact, ...]
    digest: str
    images: tuple[Image, ...] = ()
    services: tuple[str, ...] = ()


def read_packages(directory: Path, *, project: str, environment: str) -> list[PackageFiles]:
    """The packages in `directory`, by their targets' names, none where there is no directory. `UserError` where a file is
    not what the manifest says, or a package was made for something else."""
    found = [_read(manifest) for manifest in sorted(directory.glob(f"*/{MANIFEST}"))]
    for one in found:
        if (one.project, one.environment) != (project, environment):
            raise UserError(
                f"{directory / one.target}: it was packaged for {_words(one.project, one.environment)}, and not for "
                f"{_words(project, environment)}: name the same `--env`, or {_AGAIN}"
            )
    return found


def stack_name(project: str, environment: str, target: str) -> str:
    """CloudFormation takes letters, digits and hyphens, a letter first, 128 of them."""
    name = "-".join(part for part in (project, environment, target) if part)
    name = re.sub(r"[^A-Za-z0-9-]", "-", name)
    return (name if name[0].isalpha() else f"t-{name}")[:_LONGEST_NAME]


def _words(project: str, environment: str) -> str:
    return f"{project!r} in {f'the environment {environment!r}' if environment else 'no environment'}"


def _read(manifest: Path) -> PackageFiles:
    directory = manifest.parent
    if not (directory / TEMPLATE).exists() and any(directory.glob("*.tf.json")):
        raise UserError(
            f"{directory}: it was packaged for Terraform, which deploys it itself: {_AGAIN} without `--target-format`"
        )
    try:
        told = json.loads(manifest.read_bytes())
        raw = (directory / TEMPLATE).read_bytes()
        artefacts = tuple(
            Artefact(parameter=parameter, path=directory / one["path"], sha256=one["sha256"])
            for parameter, one in sorted(told["artefacts"].items())
        )
        for one in artefacts:
            with one.path.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != one.sha256:
                    raise UserError(f"{one.path}: it is not what was packaged (its digest is another): {_AGAIN}")
        images = _images(directory, told.get("images", {}))
        digests = [*(one.sha256 for one in artefacts), *(one.sha256 for one in images)]
        digest = hashlib.sha256(raw + "".join(digests).encode()).hexdigest()
        return PackageFiles(
            project=told["project"],
            environment=told["environment"],
            target=told["target"],
            template=json.loads(raw),
            artefacts=artefacts,
            digest=digest,
            images=images,
            services=tuple(told.get("services", ())),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{directory}: this is no package, or a part of one: {_AGAIN}") from error
    except OSError as error:
        raise UserError(f"{error.filename}: {error.strerror}: {_AGAIN}") from error


def _images(directory: Path, told: Mapping[str, Mapping[str, str]]) -> tuple[Image, ...]:
    found = tuple(
        Image(
            parameter=parameter,
            directory=directory / one["path"],
            platform=one["platform"],
            sha256=one["sha256"],
        )
        for parameter, one in sorted(told.items())
    )
    for one in found:
        if digest_of_directory(one.directory) != one.sha256:
            raise UserError(f"{one.directory}: it is not what was packaged (its digest is another): {_AGAIN}")
    return found
